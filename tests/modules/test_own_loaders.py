"""Loaders of a user's own: what they may give, and what is told of what they may not."""

from __future__ import annotations

import math
import re
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


LACKING = [
    (pretraining, "validate", "index"),
    (pretraining, "test", "index"),
    (pretraining, "predict", "index"),
    (classification, "predict", "index"),
    (classification, "fit", "label"),
    (classification, "validate", "label"),
    (classification, "test", "label"),
]


@pytest.mark.parametrize(("build", "command", "key"), LACKING)
def test_what_a_batch_lacks_is_told(
    build: Callable[..., Any], command: str, key: str, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    given = batch()
    del given[key]
    held = ", ".join(f"{name} (Tensor)" for name in given)
    message = rf"got a dict of {re.escape(held)} without {key}: have the dataset"
    with pytest.raises(ConfigurationError, match=message):
        getattr(quiet_trainer(max_steps=1, max_epochs=-1), command)(build(), loader(given))


def test_nothing_more_is_asked_than_is_needed(quiet_trainer: Callable[..., L.Trainer]) -> None:
    for build, keys in ((pretraining, ["image"]), (classification, ["image", "label"])):
        few = loader({key: batch()[key] for key in keys})
        trainer = quiet_trainer(max_steps=2, max_epochs=-1)
        trainer.fit(build(), few)
        assert trainer.global_step == 2
    labelled = loader({key: batch()[key] for key in ("image", "label")})
    (found,) = quiet_trainer().test(classification(), labelled, verbose=False)
    assert 0 <= found["test/overall_accuracy"] <= 1


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (torch.arange(4), r'"label" .* class from 0 to 2, or -1 .* got 3: subtract 1'),
        (torch.tensor([0, -2, 1, 2]), r"got -2: subtract 1"),
        (torch.arange(4) / 2, r"integers of shape \(4,\).*got torch\.float32 of shape \(4,\)"),
        (torch.zeros(4, 1, dtype=torch.int64), r"got torch\.int64 of shape \(4, 1\): have"),
    ],
)
def test_labels_that_are_no_classes_are_told(
    label: torch.Tensor, message: str, command: str, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    trainer = quiet_trainer(max_steps=1, max_epochs=-1)
    with pytest.raises(ConfigurationError, match=message):
        getattr(trainer, command)(classification(), loader(batch(label=label)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_labels_of_any_integer(dtype: torch.dtype, quiet_trainer: Callable[..., L.Trainer]) -> None:
    losses = []
    for label in (batch()["label"], batch()["label"].to(dtype)):
        trainer = quiet_trainer(max_steps=2, max_epochs=-1)
        data = loader(batch(label=label))
        trainer.fit(classification(), data, data)
        losses.append({name: value.item() for name, value in trainer.callback_metrics.items()})
    assert losses[0] == losses[1]
    assert losses[0]["train/loss"] > 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("members", [1, 2])
def test_a_batch_without_labels_has_a_loss_of_0(
    members: int, smoothing: float, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = classification(
        members=members, label_smoothing=smoothing, optimizer=partial(torch.optim.SGD, lr=0.1)
    )
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    partly = batch(label=torch.tensor([0, -1, 2, -1]))
    loss = module.training_step(cast("Any", partly), 0)
    logits = (
        torch.stack([module.classifier(partly["image"])])
        if members == 1
        else cast("Any", module.classifier).member_logits(partly["image"])
    )
    expected = torch.nn.functional.cross_entropy(
        logits[:, [0, 2]].flatten(0, 1), torch.tensor([0, 2] * members), label_smoothing=smoothing
    )
    torch.testing.assert_close(loss, expected)
    del module.log
    before = [weight.clone() for weight in module.parameters()]
    trainer = quiet_trainer(max_steps=2, max_epochs=-1)
    trainer.fit(module, loader(batch(label=torch.full((4,), -1))))
    assert trainer.callback_metrics["train/loss"] == 0
    for old, weight in zip(before, module.parameters(), strict=True):
        assert torch.equal(old, weight)
        assert weight.grad is not None  # every process joins its gradients, of zeros too


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
