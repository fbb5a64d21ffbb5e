"""What holds for every band transform."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import (
    CheckpointError,
    ConfigurationError,
    NotFittedError,
    SceneError,
)
from hsi_diffusion.patches.transforms import (
    MNF,
    PCA,
    BandTransform,
    Identity,
    MinMax,
    RelevantComponents,
    Standardise,
    base,
    transform_from_state,
)
from hsi_diffusion.scenes import Raster, fill_nodata

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

MAKERS: list[Callable[[], BandTransform]] = [
    Identity,
    MinMax,
    lambda: MinMax(low=0, high=2),
    Standardise,
    lambda: PCA(4),
    lambda: PCA(whiten=True),
    lambda: MNF(4),
    lambda: MNF(scale="noise", keep=0.8),
    lambda: RelevantComponents(4, superpixels=12, normalise=False),
]

every_transform = pytest.mark.parametrize("make", MAKERS)
lossless_transform = pytest.mark.parametrize(
    "make", [m for m in MAKERS if m().__dict__.get("components") is None]
)


def make_cube(height: int = 14, width: int = 11, bands: int = 6) -> NDArray[np.int16]:
    """Smooth fields with noise, whole numbers."""
    random = np.random.default_rng(0)
    fields = np.repeat(np.repeat(random.normal(size=(4, 4, 3)), 4, axis=0), 4, axis=1)
    clean = fields[:height, :width] @ random.normal(size=(3, bands)) * 100
    noise = random.normal(size=(height, width, bands)) * np.linspace(3, 12, bands)
    return (clean + noise).round().astype(np.int16)


@every_transform
def test_result_is_float32_and_works_on_scenes_and_lists_of_spectra(
    make: Callable[[], BandTransform],
) -> None:
    cube = make_cube()
    transform = make().fit(cube)
    components = transform.transform(cube)
    assert components.dtype == np.float32
    assert components.shape == (14, 11, transform.num_components)
    spectra = transform.transform(cube.reshape(-1, 6)[3:8])
    np.testing.assert_allclose(spectra, components.reshape(154, -1)[3:8], rtol=1e-6, atol=1e-6)


@lossless_transform
def test_inverse_undoes_a_transform_that_keeps_everything(
    make: Callable[[], BandTransform],
) -> None:
    cube = make_cube()
    transform = make().fit(cube)
    np.testing.assert_allclose(transform.inverse(transform.transform(cube)), cube, atol=2e-3)


@every_transform
def test_size_of_the_blocks_does_not_matter(
    make: Callable[[], BandTransform], monkeypatch: pytest.MonkeyPatch
) -> None:
    cube = make_cube()
    whole = make().fit(cube)
    monkeypatch.setattr(base, "BLOCK_BYTES", 1)  # one row at a time
    rows = make().fit(cube)
    np.testing.assert_allclose(rows.transform(cube), whole.transform(cube), rtol=1e-4, atol=1e-4)


@every_transform
@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_dtype_and_layout_of_the_cube_do_not_matter(
    make: Callable[[], BandTransform], dtype: type[Any]
) -> None:
    cube = make_cube()
    other = np.asfortranarray(cube.astype(dtype))
    expected = make().fit(cube).transform(cube)
    np.testing.assert_array_equal(make().fit(other).transform(other), expected)


@every_transform
def test_mask_chooses_the_pixels_to_learn_from(make: Callable[[], BandTransform]) -> None:
    cube = make_cube()
    mask = np.ones(cube.shape[:2], dtype=bool)
    mask[10:] = False
    spoilt = cube.astype(np.float32)
    spoilt[10:] = np.nan
    transform = make().fit(spoilt, mask)
    expected = make().fit(cube[:10]).transform(cube[:10])
    np.testing.assert_array_equal(transform.transform(spoilt[:10]), expected)
    assert transform.fitted_on == "110 pixels (mask over 154 pixels)"


@every_transform
def test_a_raster_read_in_strips_gives_the_same_bits(
    make: Callable[[], BandTransform], monkeypatch: pytest.MonkeyPatch
) -> None:
    cube, valid = make_cube(), np.ones((14, 11), dtype=bool)
    valid[:2] = valid[9, 4:] = False
    filled = fill_nodata(cube, valid)
    expected = make().fit(filled, valid).state_dict()
    monkeypatch.setattr(base, "READ_BYTES", 3 * cube[0].nbytes)
    found = make().fit(Raster.of(filled, valid)).state_dict()
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(torch.as_tensor(found[key]), value)


def test_a_strip_of_a_raster_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cube, read = make_cube(), list[tuple[int, int]]()
    usual = Raster.read

    def noting(raster: Raster, rows: slice, *given: Any) -> Any:
        read.append((rows.start, rows.stop))
        return usual(raster, rows, *given)

    monkeypatch.setattr(Raster, "read", noting)
    monkeypatch.setattr(base, "READ_BYTES", 4 * cube[0].nbytes)
    rows = base.RasterRows(Raster.of(cube))
    for start in range(14):
        np.testing.assert_array_equal(rows[start : start + 1], cube[start : start + 1])
    assert read == [(0, 4), (4, 8), (8, 12), (12, 14)]


def test_fitted_on_tells_the_source() -> None:
    cube = make_cube()
    assert MinMax().fit(cube).fitted_on == "154 pixels (all pixels)"
    source = "all pixels of a test scene"
    assert MinMax().fit(cube, source=source).fitted_on == f"154 pixels ({source})"


@every_transform
def test_state_survives_a_weights_only_file(
    make: Callable[[], BandTransform], tmp_path: Path
) -> None:
    cube = make_cube()
    transform = make().fit(cube, source="all pixels of a test scene")
    torch.save(transform.state_dict(), tmp_path / "state.pt")
    again = transform_from_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert type(again) is type(transform)
    assert again.fitted_on == transform.fitted_on
    assert (again.num_bands, again.num_components) == (6, transform.num_components)
    components = transform.transform(cube)
    np.testing.assert_array_equal(again.transform(cube), components)
    np.testing.assert_array_equal(again.inverse(components), transform.inverse(components))
    state = again.state_dict()
    assert state.keys() == transform.state_dict().keys()
    assert all(
        isinstance(value, str | int | float | bool | torch.Tensor) for value in state.values()
    )


def test_state_is_a_copy() -> None:
    transform = Standardise().fit(make_cube())
    mean = transform.mean.copy()
    state = transform.state_dict()
    assert isinstance(state["mean"], torch.Tensor)
    state["mean"].zero_()
    np.testing.assert_array_equal(transform.mean, mean)


def test_incomplete_state_is_named() -> None:
    state = PCA(2).fit(make_cube()).state_dict()
    del state["projection"]
    with pytest.raises(CheckpointError, match=r"lacks \['projection'\]"):
        transform_from_state(state)


@every_transform
def test_constant_bands_stay_finite(make: Callable[[], BandTransform]) -> None:
    cube = make_cube().astype(np.float64)
    cube[..., 2] = 0.1  # its mean is not exact in binary
    cube[..., 5] = 31_234.567
    transform = make().fit(cube)
    components = transform.transform(cube)
    assert np.isfinite(components).all()
    assert np.abs(components).max() < 1e5
    np.testing.assert_allclose(transform.inverse(components)[..., 2], 0.1, atol=1e-4)
    np.testing.assert_allclose(transform.inverse(components)[..., 5], 31_234.567, rtol=1e-6)


@every_transform
def test_before_fitting_nothing_else_works(make: Callable[[], BandTransform]) -> None:
    transform = make()
    for use in (
        lambda: transform.transform(make_cube()),
        lambda: transform.inverse(make_cube()),
        transform.state_dict,
        lambda: transform.fitted_on,
        lambda: transform.num_bands,
        lambda: transform.num_components,
    ):
        with pytest.raises(NotFittedError, match=r"call fit\(cube\) first"):
            use()


@every_transform
def test_wrong_arrays_are_named(make: Callable[[], BandTransform]) -> None:
    cube = make_cube()
    with pytest.raises(SceneError, match=r"shape \(H, W, bands\), got int16 in shape \(14, 11\)"):
        make().fit(cube[..., 0])
    with pytest.raises(SceneError, match="got complex128"):
        make().fit(cube.astype(complex))
    with pytest.raises(SceneError, match="mask must hold booleans"):
        make().fit(cube, np.ones((11, 14), dtype=bool))
    with pytest.raises(SceneError, match="at least one pixel"):
        make().fit(cube, np.zeros((14, 11), dtype=bool))
    with pytest.raises(SceneError, match="all 154 of them hold the same spectrum"):
        make().fit(np.broadcast_to(cube[0, 0], cube.shape))
    transform = make().fit(cube)
    with pytest.raises(SceneError, match=r"expected shape \(H, W, 6\) or \(N, 6\)"):
        transform.transform(cube[..., :5])
    with pytest.raises(SceneError, match="got"):
        transform.inverse(np.zeros(transform.num_components))


@pytest.mark.parametrize("make", MAKERS[1:])
def test_values_that_are_not_finite_are_named(make: Callable[[], BandTransform]) -> None:
    cube = make_cube().astype(np.float32)
    cube[4, 5, 3] = np.inf
    with pytest.raises(SceneError, match="band 3 holds nan or inf in rows"):
        make().fit(cube)


@pytest.mark.parametrize("make", MAKERS[:-1])  # superpixels are cut in the whole scene
def test_memory_stays_small(
    make: Callable[[], BandTransform], monkeypatch: pytest.MonkeyPatch
) -> None:
    block = 64 * 1024
    monkeypatch.setattr(base, "BLOCK_BYTES", block)
    cube = np.random.default_rng(0).integers(0, 255, (200, 150, 12), dtype=np.uint8)
    make().fit(cube[:20])  # what is imported on first use does not count
    tracemalloc.start()
    try:
        transform = make().fit(cube)
        _, fitting = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        components = transform.transform(cube)
        _, transforming = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # a float64 copy would be 2880 kB; MNF holds two float32 numbers per pixel, and sorts them once
    assert fitting < 10 * block + 6 * 4 * 200 * 150
    assert transforming < components.nbytes + 10 * block


def test_an_own_transform_that_forgets_an_argument_is_told_before_it_learns() -> None:
    class Forgetful(Identity):
        def __init__(self, count: int = 3) -> None:
            super().__init__()
            self.kept = count

    with pytest.raises(ConfigurationError, match=r"Forgetful must keep .* \(self\.count = count\)"):
        Forgetful().fit(np.random.default_rng(0).random((4, 5, 6)))
