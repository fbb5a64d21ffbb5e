"""A reduction that was fitted on one image, applied to its tiles and to other images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch

from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.features import (
    FeatureSettings,
    FeatureStore,
    FittedReduction,
    Reduction,
    compute_features,
)
from tests.features.networks import BANDS, unet

if TYPE_CHECKING:
    from pathlib import Path

    from hsi_diffusion.features import FeatureCube

SETTINGS = FeatureSettings(timesteps=(10, 40), levels=(0, 1), tile=5)
REDUCTIONS = [
    Reduction(3, whiten=True),
    Reduction(2, scale="standard", per_timestep=True),
    Reduction(4, scale="none"),
]


def image(number: int = 0, height: int = 12, width: int = 13) -> torch.Tensor:
    return torch.randn(height, width, BANDS, generator=torch.Generator().manual_seed(number))


def compute(
    cube: torch.Tensor,
    reduction: Reduction | FittedReduction | None,
    store: FeatureStore | None = None,
) -> FeatureCube:
    return compute_features(
        unet(), NoiseSchedule(50), cube, SETTINGS, reduction=reduction, store=store
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_tiles_of_the_image_give_what_the_fit_gave(
    reduction: Reduction, on_disk: bool, tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path) if on_disk else None
    first = compute(image(), reduction, store)
    assert first.reduction is not None
    saved = FittedReduction.from_tensors(reduction, first.reduction.tensors())
    for fitted in (first.reduction, saved):
        again = compute(image(), fitted)
        np.testing.assert_array_equal(again.array, first.array)
        assert again.description == first.description


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_another_image_is_projected_onto_the_same_components(reduction: Reduction) -> None:
    fitted = compute(image(), reduction).reduction
    assert fitted is not None
    raw, other = compute(image(), None).array, compute(image(1, 7, 9), None).array
    found = compute(image(1, 7, 9), fitted)
    expected = []
    parts = 2 if reduction.per_timestep else 1
    for learned, given in zip(
        np.split(raw, parts, axis=2), np.split(other, parts, axis=2), strict=True
    ):
        rows, asked = (x.reshape(-1, x.shape[2]).astype(float) for x in (learned, given))
        scale = {"standard": rows.std(axis=0, ddof=1), "none": np.ones(rows.shape[1])}.get(
            reduction.scale, rows.max(axis=0) - rows.min(axis=0)
        )
        mean = rows.mean(axis=0)
        _, values, axes = np.linalg.svd((rows - mean) / scale, full_matrices=False)
        projected = ((asked - mean) / scale) @ axes[: reduction.components].T
        if reduction.whiten:
            projected /= values[: reduction.components] / np.sqrt(len(rows) - 1)
        expected.append(projected)
    wanted = np.concatenate(expected, axis=1)
    values_found = found.array.reshape(wanted.shape)
    signs = np.sign((wanted * values_found).sum(axis=0))  # of an axis, any sign will do
    np.testing.assert_allclose(values_found, wanted * signs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_the_store_gives_the_reduction_back(reduction: Reduction, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    first, second = (compute(image(), reduction, store) for _ in range(2))
    assert first.reduction is not None
    assert second.reduction is not None
    assert second.reduction.settings == reduction
    raw = compute(image(1), None).array
    np.testing.assert_array_equal(second.reduction(raw), first.reduction(raw))
    # features by a fitted reduction have a file of their own, those of another one another file
    compute(image(), first.reduction, store)
    other = compute(image(1), reduction).reduction
    compute(image(), other, store)
    assert len(list(tmp_path.glob("*.h5"))) == 3


def test_a_file_without_its_reduction_is_computed_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    first = compute(image(), REDUCTIONS[0], store)
    (path,) = tmp_path.glob("*.h5")
    for damage in ("reduction", "reduction/0.mean"):
        with h5py.File(path, "a") as file:
            del file[damage]
            if damage == "reduction":
                file.create_group("reduction")
        with pytest.warns(RuntimeWarning, match="computed again"):
            again = compute(image(), REDUCTIONS[0], store)
        np.testing.assert_array_equal(again.array, first.array)
        assert again.reduction is not None


def test_impossible_statistics_and_features_are_refused() -> None:
    fitted = compute(image(), REDUCTIONS[0]).reduction
    assert fitted is not None
    tensors = fitted.tensors()
    with pytest.raises(CheckpointError, match="no statistics"):
        FittedReduction.from_tensors(REDUCTIONS[0], {})
    with pytest.raises(CheckpointError, match="directions in state must have shape"):
        FittedReduction.from_tensors(Reduction(5), tensors)
    with pytest.raises(CheckpointError, match="lacks 'mean'"):
        FittedReduction.from_tensors(REDUCTIONS[0], {"0.directions": tensors["0.directions"]})
    with pytest.raises(ConfigurationError, match="block must be"):
        fitted(np.zeros((2, 2, 3), dtype=np.float32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"components": 0}, "components must be at least 1"), ({"scale": "log"}, "scale must be one")],
)
def test_an_impossible_reduction_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Reduction(**{"components": 3, **settings})


def test_a_reduction_keeps_variances_and_takes_all_channels_together() -> None:
    assert Reduction(3) == Reduction(3, scale="minmax", whiten=False, per_timestep=False)
