"""Loaders of a user's own: what they may give, and what is told of what they may not."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from hsi_diffusion import DiffusionPretrainModule, FeatureClassifierModule, UNet2D
from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lightning as L

BATCHES = 3


class Endless(IterableDataset[dict[str, torch.Tensor]]):
    """Batches of which nobody knows how many there are."""

    def __init__(self, batch: dict[str, torch.Tensor]) -> None:
        self.batch = batch

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for _ in range(BATCHES):
            yield self.batch


def batch(size: int = 4, **changes: Any) -> dict[str, torch.Tensor]:
    image = torch.randn(size, 6, 3, 3, generator=torch.Generator().manual_seed(0))
    return {"image": image, "index": torch.arange(size), "label": torch.arange(size) % 3, **changes}


def loader(given: dict[str, torch.Tensor]) -> DataLoader[Any]:
    return DataLoader(Endless(given), batch_size=None)


def pretraining(**settings: Any) -> DiffusionPretrainModule:
    torch.manual_seed(0)
    return DiffusionPretrainModule(6, denoiser=partial(UNet2D, channels=4), **settings)


def classification(**settings: Any) -> FeatureClassifierModule:
    torch.manual_seed(0)
    return FeatureClassifierModule(6, 3, 3, **{"classifier": "CNN2D", **settings})


both = pytest.mark.parametrize("build", [pretraining, classification])


@both
@pytest.mark.parametrize("settings", [{"lr_schedule": "cosine"}, {"warmup": 0.1}])
def test_a_schedule_needs_a_loader_with_a_length_or_a_number_of_steps(
    build: Callable[..., Any], settings: dict[str, Any], quiet_trainer: Callable[..., L.Trainer]
) -> None:
    with pytest.raises(ConfigurationError, match=r"needs to know when training ends.* max_steps"):
        quiet_trainer(max_epochs=2).fit(build(**settings), loader(batch()))
    trainer = quiet_trainer(max_epochs=2, max_steps=2 * BATCHES)
    trainer.fit(build(**settings), loader(batch()))
    assert trainer.global_step == 2 * BATCHES
    constant = quiet_trainer(max_epochs=2)
    constant.fit(module := build(), loader(batch()))
    assert constant.optimizers[0].param_groups[0]["lr"] == module.learning_rate


@both
@pytest.mark.parametrize("dtype", [torch.float64, torch.int16, torch.uint8])
def test_patches_of_any_dtype(
    build: Callable[..., Any], dtype: torch.dtype, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    image = (10 * batch()["image"]).abs().floor()
    settings: dict[str, Any] = {"enable_checkpointing": False}
    weights = []
    for given in (image, image.to(dtype)):
        data = loader(batch(image=given))
        module, trainer = build(), quiet_trainer(max_steps=2, max_epochs=-1, **settings)
        trainer.fit(module, data, data)
        trainer.test(module, data, verbose=False)
        found, *_ = cast("list[dict[str, torch.Tensor]]", trainer.predict(module, data))
        weights.append((module.state_dict(), found))
    (first, predicted), (second, again) = weights
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(torch.equal(value, again[name]) for name, value in predicted.items())


@both
@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_batches_of_another_kind_are_told(
    build: Callable[..., Any], command: str, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    given = batch()
    tuples = DataLoader(TensorDataset(given["image"], given["label"]), batch_size=4)
    with pytest.raises(ConfigurationError, match=r'a batch must be a dict .*"image".*got a list'):
        getattr(quiet_trainer(max_steps=1), command)(build(), tuples)
    unnamed = loader({"x": given["image"], "y": given["label"]})
    with pytest.raises(ConfigurationError, match=r'a batch must be a dict .*"image".*got a dict'):
        getattr(quiet_trainer(max_steps=1, max_epochs=-1), command)(build(), unnamed)


def test_a_batch_of_a_single_patch_is_told(quiet_trainer: Callable[..., L.Trainer]) -> None:
    with pytest.raises(ConfigurationError, match=r"a training batch of 1 patch .* drop_last=True"):
        quiet_trainer(max_steps=1, max_epochs=-1).fit(
            classification(classifier="SpectralTransformer"), loader(batch(1))
        )
    # 3 x 3 pixels are enough
    quiet_trainer(max_steps=1, max_epochs=-1).fit(classification(), loader(batch(1)))


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
@pytest.mark.parametrize(
    ("classes", "members", "found"),
    [(5, 1, r"shape \(4, 5\)"), (5, 2, r"shape \(4, 5\)"), (0, 1, "tuple")],
)
def test_logits_that_do_not_fit_are_told(
    classes: int,
    members: int,
    found: str,
    command: str,
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    class Wrong(torch.nn.Module):
        def __init__(self, *sizes: int) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(54, classes or 3))

        def forward(self, image: torch.Tensor) -> Any:
            logits = self.layers(image)
            return logits if classes else (logits, image)

    module = classification(classifier=Wrong, members=members)
    with pytest.raises(ConfigurationError, match=rf"logits of shape \(4, 3\) .* gave {found}"):
        getattr(quiet_trainer(max_steps=1, max_epochs=-1), command)(module, loader(batch()))


class Copies(torch.nn.Module):
    """Logits that are channels of the centre pixel."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :3, 1, 1]


@pytest.mark.parametrize(
    "module",
    [pretraining(losses={"l1": 1.0, "l2": 1.0}), classification(classifier=Copies)],
    ids=["pretraining", "classification"],
)
def test_a_loss_of_one_batch_that_is_nan_is_not_left_out(
    module: L.LightningModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    bad = batch()
    bad["image"][2, 1] = torch.inf
    (found,) = quiet_trainer().validate(module, loader(batch()), verbose=False)
    assert all(math.isfinite(value) for value in found.values())
    mixed: Any = DataLoader([batch(), bad, batch()], batch_size=None)  # type: ignore[arg-type]
    (found,) = quiet_trainer().validate(module, mixed, verbose=False)
    losses = {name: value for name, value in found.items() if name[4:] in {"loss", "l1", "l2"}}
    assert losses
    assert all(math.isnan(value) for value in losses.values())
