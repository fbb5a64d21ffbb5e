"""From a denoiser to a feature cube: with and without files, with and without a reduction."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import MinMaxScaler

from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import (
    FeatureCube,
    FeatureSettings,
    FeatureStore,
    Reduction,
    compute_features,
    compute_together,
    restored_scenes,
    spectral_angle,
)
from tests.features.networks import BANDS, Scaled, extract_features, unet

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

SCHEDULE = NoiseSchedule(timesteps=50)
SETTINGS = FeatureSettings(timesteps=(5, 20), levels=(0, 1), tile=6)


def scene(height: int = 10, width: int = 13) -> Tensor:
    return torch.rand(height, width, BANDS, generator=torch.Generator().manual_seed(2))


def apart(features: FeatureCube) -> NDArray[np.float32]:
    """The features of each timestep, (T, H, W, d), without angles."""
    channels = sum(features.description["channels"])
    return np.stack(np.split(features.array[..., :channels], features.timesteps, axis=2))


def raw_features() -> NDArray[np.float32]:
    return extract_features(unet(), SCHEDULE, scene(), SETTINGS).numpy()


def compute(**options: Any) -> Any:
    return compute_features(unet(), SCHEDULE, scene(), SETTINGS, **options)


def reduced_by_scikit_learn(raw: NDArray[np.float32], components: int) -> NDArray[np.float64]:
    scaled = MinMaxScaler().fit_transform(raw.reshape(-1, raw.shape[-1]).astype(np.float64))
    found: NDArray[np.float64] = PCA(components, svd_solver="full").fit_transform(scaled)
    return found.reshape(*raw.shape[:-1], components)


def assert_same_up_to_sign(found: NDArray[Any], expected: NDArray[Any]) -> None:
    assert found.shape == expected.shape
    signs = np.sign((found * expected).sum(axis=(0, 1)))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FeatureStore | None:
    return FeatureStore(tmp_path / "features") if request.param == "disk" else None


def test_without_reduction(store: FeatureStore | None) -> None:
    features = compute(store=store)
    assert isinstance(features.array, np.ndarray)
    assert features.array.dtype == np.float32
    assert np.array_equal(features.array, raw_features())
    net = unet()
    widths = [net.feature_info[level].channels for level in (0, 1)]
    assert features.description == {
        "timesteps": [5, 20],
        "levels": ["up0", "up1"],
        "noise": "none",
        "channels": widths * 2,
        "reduction": None,
        "explained_variance": None,
        "angles": False,
    }
    expected = extract_features(net, SCHEDULE, scene(), FeatureSettings((20,), (0, 1), tile=6))
    assert np.array_equal(apart(features)[1], expected)


def test_reduction_of_all_channels_together(store: FeatureStore | None) -> None:
    features = compute(store=store, reduction=Reduction(3))
    assert_same_up_to_sign(features.array, reduced_by_scikit_learn(raw_features(), 3))
    assert features.description["channels"] == [3]
    assert features.description["reduction"] == {
        "components": 3,
        "scale": "minmax",
        "whiten": False,
        "per_timestep": False,
    }
    (explained,) = features.description["explained_variance"]
    assert 0 < explained <= 1


def test_reduction_per_timestep(store: FeatureStore | None) -> None:
    features = compute(store=store, reduction=Reduction(3, per_timestep=True))
    assert features.array.shape == (10, 13, 6)
    assert features.description["channels"] == [3, 3]
    raw = raw_features()
    for found, part in zip(apart(features), np.split(raw, 2, axis=2), strict=True):
        assert_same_up_to_sign(found, reduced_by_scikit_learn(part, 3))


@pytest.mark.parametrize("reduction", [None, Reduction(3)])
def test_second_call_reads_the_file(
    tmp_path: Path, reduction: Reduction | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    first = compute(store=store, reduction=reduction)
    with monkeypatch.context() as patch:
        patch.setattr(
            "hsi_diffusion.features.compute.iter_feature_tiles",
            lambda *_, **__: pytest.fail("computed for nothing"),
        )
        second = compute(store=store, reduction=reduction)
    assert np.array_equal(first.array, second.array)
    assert first.description == second.description
    (path,) = tmp_path.iterdir()

    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(RuntimeWarning, match="computed again"):
        third = compute(store=store, reduction=reduction)
    assert np.array_equal(first.array, third.array)


def test_other_requests_get_other_files(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for components in (2, 3):
        assert compute(store=store, reduction=Reduction(components)).array.shape[2] == components
    assert len(list(tmp_path.iterdir())) == 2


def test_memory_on_the_way_to_a_reduction_is_bounded(tmp_path: Path) -> None:
    """The raw features, 17 MB, are 8 times what may be held."""
    height, width, bands = 150, 120, 240
    cube = torch.zeros(height, width, bands)
    cube[:, :, :] = torch.randn(1, width, bands)
    cube += torch.arange(height)[:, None, None]
    tracemalloc.start()
    try:
        features = compute_features(
            Scaled(bands),
            SCHEDULE,
            cube,
            FeatureSettings(tile=10),
            reduction=Reduction(2),
            store=FeatureStore(tmp_path),
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert features.array.shape == (height, width, 2)
    assert peak < height * width * bands * 4 / 8 + 2**20


@pytest.mark.parametrize(
    ("shape", "reduction"),
    [
        ((10, 13), Reduction(10_000)),
        ((10, 13), Reduction(100, per_timestep=True)),
        ((3, 3), Reduction(10)),
    ],
)
def test_refuses_too_many_components_before_computing(
    shape: tuple[int, int], reduction: Reduction
) -> None:
    net = Scaled(40)
    with pytest.raises(ConfigurationError, match="components must be at most"):
        compute_features(
            net, SCHEDULE, torch.zeros(*shape, 40), FeatureSettings((1, 2)), reduction=reduction
        )
    assert net.asked == []


def test_network_is_left_as_it_was_after_an_error() -> None:
    net = unet().train()
    with torch.no_grad():
        net.conv0.weight[0] = torch.nan
    with pytest.raises(ConfigurationError, match="has the network diverged") as caught:
        compute_features(net, SCHEDULE, scene(), SETTINGS, reduction=Reduction(2))
    assert caught.tb is not None, "the frames of the failed call are still there"
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("reduction", [None, Reduction(2)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_no_numbers_are_refused(value: float, reduction: Reduction | None) -> None:
    cube = scene()
    cube[3, 7, 1] = cube[4, 2, 0] = value
    with pytest.raises(
        ConfigurationError, match=r"2 of its pixels hold nan or infinity.*row 3, column 7"
    ):
        compute_features(unet(), SCHEDULE, cube, SETTINGS, reduction=reduction)
    valid = np.ones((10, 13), dtype=np.bool_)
    valid[4] = False
    with pytest.raises(ConfigurationError, match="1 of its pixels"):
        compute_features(unet(), SCHEDULE, cube, SETTINGS, reduction=reduction, valid=valid)
    valid[3] = False  # pixels that hold no data may hold anything
    features = compute_features(Scaled(), SCHEDULE, cube, SETTINGS, valid=valid)
    assert np.isfinite(features.array[valid]).all()
    # nor do they spoil what the network sees of them from valid pixels around
    filled = cube.clone()
    filled[3, 7], filled[4, 2] = 0, 0
    given: dict[str, Any] = {"reduction": reduction, "valid": valid}
    found = compute_features(unet(), SCHEDULE, cube, SETTINGS, **given)
    assert np.isfinite(found.array).all()
    expected = compute_features(unet(), SCHEDULE, filled, SETTINGS, **given)
    np.testing.assert_array_equal(found.array, expected.array)
    assert cube.isnan().any() or cube.isinf().any(), "the caller's cube stays as it is"


@pytest.mark.parametrize(
    ("valid", "message"),
    [(np.ones((13, 10), dtype=bool), r"booleans in shape \(10, 13\), got bool in shape \(13, 10\)"),
     (np.ones((10, 13)), "got float64"),
     (np.zeros((10, 13), dtype=bool), "at least one pixel, on which the reduction is fitted, got")],
)  # fmt: skip
def test_impossible_masks_are_refused(valid: NDArray[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        compute_features(unet(), SCHEDULE, scene(), SETTINGS, reduction=Reduction(2), valid=valid)


def test_arrays_of_any_layout_are_taken() -> None:
    cube = scene().numpy()
    expected = compute_features(unet(), SCHEDULE, cube[::-1].copy(), SETTINGS).array
    for given in (cube[::-1], cube[::-1].astype(">f4"), np.asfortranarray(cube[::-1])):
        found = compute_features(unet(), SCHEDULE, given, SETTINGS).array
        np.testing.assert_array_equal(found, expected)


def test_spectral_angles_stand_behind_the_features(store: FeatureStore | None) -> None:
    reduction = Reduction(3, per_timestep=True)
    plain = compute(reduction=reduction, store=store)
    found = compute(reduction=reduction, angles="x0", store=store)
    restored = restored_scenes(unet(), SCHEDULE, scene(), SETTINGS, prediction="x0")
    expected = spectral_angle(scene()[None], restored).permute(1, 2, 0)
    np.testing.assert_array_equal(found.array[..., :6], plain.array)
    np.testing.assert_allclose(found.array[..., 6:], expected, atol=1e-6)
    assert (plain.angles, found.angles) == (False, True)
    assert found.timesteps == 2
    np.testing.assert_array_equal(apart(found), apart(plain))
    again = compute(reduction=reduction, angles="x0", store=store)
    np.testing.assert_array_equal(again.array, found.array)
    assert again.angles


def test_levels_share_the_passes_of_a_timestep(
    store: FeatureStore | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser = unet()
    one_tile = replace(SETTINGS, tile=16)
    wanted = [
        (replace(one_tile, levels=levels), reduction)
        for levels, reduction in (((1,), None), ((0,), Reduction(3)), ((1, 0), None))
    ]
    apart = [
        compute_features(denoiser, SCHEDULE, scene(), settings, reduction=reduction)
        for settings, reduction in wanted
    ]
    passes: list[None] = []
    usual = denoiser.forward_intermediates

    def counting(*given: Any) -> Any:
        passes.append(None)
        return usual(*given)

    monkeypatch.setattr(denoiser, "forward_intermediates", counting)
    found = compute_together(denoiser, SCHEDULE, scene(), wanted, store=store)
    assert len(passes) == len(SETTINGS.timesteps)
    for together, alone in zip(found, apart, strict=True):
        np.testing.assert_allclose(together.array, alone.array, atol=1e-5)
        assert together.description["levels"] == alone.description["levels"]
    if store is not None:
        compute_together(denoiser, SCHEDULE, scene(), wanted, store=store)
        assert len(passes) == len(SETTINGS.timesteps), "the second time they lie in files"
    with pytest.raises(ConfigurationError, match="differ in their levels only"):
        compute_together(
            denoiser, SCHEDULE, scene(), [wanted[0], (replace(SETTINGS, noise="fixed"), None)]
        )
