"""The band transform of a data module: given, fitted, stored and read again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from hsi_diffusion.errors import ConfigurationError, NotFittedError, SceneError
from hsi_diffusion.patches import MNF, PCA, BandTransform, MinMax

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from hsi_diffusion import SimulatedSceneDataModule


def test_features_take_the_place_of_bands(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene(task="pretrain")
    features = torch.randn(40, 36, 5)
    other = data.with_features(features, patch_size=3, batch_size=8)
    assert (other.task, other.num_bands, other.num_classes) == ("classify", 5, 4)
    assert other.require_split() is data.require_split()
    batch = next(iter(other.train_dataloader()))
    assert batch["image"].shape == (8, 5, 3, 3)
    assert other.cube.data_ptr() == features.data_ptr()
    with pytest.raises(SceneError, match=r"\(40, 36, 'D'\)"):
        data.with_features(torch.zeros(36, 40, 5))
    with pytest.raises(SceneError, match=r"float32, got torch\.float64"):
        data.with_features(torch.zeros(40, 36, 5, dtype=torch.float64))


def test_the_transform_travels_with_the_state(
    small_scene: Callable[..., SimulatedSceneDataModule], tmp_path: Path
) -> None:
    data = small_scene(transform=MNF(3))
    data.setup()
    assert "1440 pixels" in data.transform.fitted_on
    torch.save(data.state_dict(), tmp_path / "state.pt")
    other = small_scene(transform=MNF(3), scene_seed=1)
    other.setup()
    assert not torch.allclose(other.cube, data.cube)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    expected = torch.from_numpy(data.transform.transform(other.scene.cube))
    assert torch.equal(other.cube, expected)


def test_a_state_that_comes_before_setup_leaves_nothing_to_fit(
    small_scene: Callable[..., SimulatedSceneDataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_scene(transform=MNF(3))
    data.setup()
    other = small_scene(transform=MNF(3))
    with monkeypatch.context() as patch:
        patch.setattr(MNF, "fit", lambda *_, **__: pytest.fail("fitted for nothing"))
        other.load_state_dict(data.state_dict())
        other.setup()
    assert torch.equal(other.cube, data.cube)
    assert other.require_split().train.tolist() == data.require_split().train.tolist()


def test_a_checkpoint_with_other_components_changes_the_channels(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene(transform=PCA(3))
    data.setup()
    other = small_scene(transform=MinMax)
    other.load_state_dict(data.state_dict())
    assert other.num_bands == other.cube.shape[2] == 3


def test_fit_on_train_says_so(small_scene: Callable[..., SimulatedSceneDataModule]) -> None:
    data = small_scene(fit_on="train", transform="Standardise")
    data.setup()
    train = data.require_split().train
    assert f"{len(train)} pixels (training pixels" in data.transform.fitted_on
    spectra = data.cube.view(-1, data.num_bands)[torch.from_numpy(train)]
    assert spectra.mean(0).abs().max() < 1e-4


def test_a_fitted_transform_is_used_as_it_is(
    small_scene: Callable[..., SimulatedSceneDataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = small_scene(transform=MNF(3))
    data.setup()
    other = small_scene(transform=MinMax, scene_seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(MinMax, "fit", lambda *_, **__: pytest.fail("fitted for nothing"))
        other.use_transform(data.transform)
        other.setup()
    assert other.transform is data.transform
    assert other.num_bands == 3
    expected = torch.from_numpy(data.transform.transform(other.scene.cube))
    assert torch.equal(other.cube, expected)
    with pytest.raises(ConfigurationError, match=r"fitted on 16 bands \(1440 pixels .*has 8; take"):
        small_scene(bands=8).use_transform(data.transform)
    with pytest.raises(NotFittedError):
        other.use_transform(MinMax())


@pytest.mark.parametrize(
    "given",
    [
        MNF(4, scale="noise"),
        partial(MNF, 4, scale="noise"),
        lambda: MNF(4, scale="noise"),
        {"class_path": "MNF", "init_args": {"components": 4, "scale": "noise"}},
    ],
)
def test_a_transform_may_be_an_object_a_factory_or_plain(
    given: Any, small_scene: Callable[..., SimulatedSceneDataModule]
) -> None:
    data, other = small_scene(transform=given), small_scene(transform=given, scene_seed=1)
    assert data.num_bands == 4
    data.setup()
    other.setup()  # an object that was given is copied, so each scene has a transform of its own
    expected = MNF(4, scale="noise").fit(other.scene.cube).transform(other.scene.cube)
    assert torch.equal(other.cube, torch.from_numpy(expected))
    assert not torch.equal(other.cube, data.cube)
    noted = {"class_path": "MNF", "init_args": {"components": 4, "scale": "noise"}}
    assert data.hparams["transform"] == noted

    again = small_scene(transform=data.transform, scene_seed=1)
    again.setup()
    assert again.transform is data.transform


class Halved(BandTransform):
    """Every second band: a transform of a user's own."""

    name = "halved"

    def _fit(self, cube: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        del mask
        self.components = (cube.shape[2] + 1) // 2

    @property
    def num_components(self) -> int:
        return (self.num_bands + 1) // 2

    def _forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[..., ::2]

    def _backward(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        return components.repeat(2, axis=-1)[..., : self.num_bands]


def test_a_transform_of_ones_own(small_scene: Callable[..., SimulatedSceneDataModule]) -> None:
    data = small_scene(transform=Halved)
    data.setup()
    cube = data.scene.cube.astype(np.float32)
    np.testing.assert_array_equal(data.cube, cube[..., ::2])
    other = small_scene()
    other.load_state_dict(data.state_dict())
    assert torch.equal(other.cube, data.cube)
    with pytest.raises(ConfigurationError, match=r"class .*Halved, .* give the object, transform="):
        small_scene(transform=data.hparams["transform"])
