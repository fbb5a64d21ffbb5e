from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.metrics import accuracy_score, cohen_kappa_score

from hsi_diffusion import FeatureClassifierModule, SimulatedSceneDataModule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.types import PatchBatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L

    from hsi_diffusion.classifiers import Ensemble

SMALL: dict[str, Any] = {
    "classifier_options": {"dim": 16, "heads": 2, "head_dim": 8, "depth": 1},
    "lr_schedule": "cosine",
    "augmentation": {"dihedral": 1.0},
}


@pytest.fixture
def data(small_scene: Callable[..., SimulatedSceneDataModule]) -> SimulatedSceneDataModule:
    return small_scene(transform="standardise", split="20")


def build(**settings: Any) -> FeatureClassifierModule:
    torch.manual_seed(0)
    return FeatureClassifierModule(16, 4, 5, **{**SMALL, **settings})


def test_learns_and_agrees_with_scikit_learn(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = build(class_names=data.info.class_names)
    trainer = quiet_trainer(max_epochs=15)
    trainer.fit(module, data)
    (figures,) = trainer.test(module, data, verbose=False)

    batches = cast("list[dict[str, torch.Tensor]]", trainer.predict(module, data))
    predicted = torch.cat([batch["prediction"] for batch in batches]).numpy()
    index = torch.cat([batch["index"] for batch in batches]).numpy()
    assert index.tolist() == list(range(40 * 36))
    test = data.require_split().test
    truth = data.labels.ravel()[test] - 1
    assert figures["test/overall_accuracy"] == pytest.approx(accuracy_score(truth, predicted[test]))
    assert figures["test/kappa"] == pytest.approx(cohen_kappa_score(truth, predicted[test]))
    assert figures["test/overall_accuracy"] > 0.6
    assert int(module.test_metrics.confusion_matrix.sum()) == len(test)
    first = data.info.class_names[0]
    share = (predicted[test] == 0)[truth == 0].mean()
    assert figures[f"test/accuracy/{first}"] == pytest.approx(share)
    probability = torch.cat([batch["probability"] for batch in batches])
    assert ((probability > 0.25 - 1e-6) & (probability <= 1)).all()
    shares = torch.cat([batch["probabilities"] for batch in batches])
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(len(shares)))
    assert torch.equal(shares.max(dim=1).values, probability)
    assert shares.argmax(dim=1).tolist() == predicted.tolist()


def test_validation_loss_is_the_mean_over_pixels(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    module = build()
    data.eval_batch_size = 5  # the last batch is smaller
    (figures,) = quiet_trainer().validate(module, data, verbose=False)
    module.eval()
    losses = []
    for batch in data.val_dataloader():
        with torch.no_grad():
            logits = module(batch["image"])
        losses.append(
            torch.nn.functional.cross_entropy(logits, batch["label"], reduction="none").numpy()
        )
    assert figures["val/loss"] == pytest.approx(np.concatenate(losses).mean(), rel=1e-5)


def test_averaged_views_do_not_see_the_orientation() -> None:
    module = build(average_views=True).eval()
    image = torch.randn(6, 16, 5, 5)
    batch = PatchBatch(image=image, index=torch.arange(6))
    turned = PatchBatch(image=image.flip(2).rot90(1, (2, 3)), index=torch.arange(6))
    with torch.no_grad():
        found = module.predict_step(batch, 0)["probability"]
        torch.testing.assert_close(module.predict_step(turned, 0)["probability"], found)
        plain = torch.stack(
            [
                module(view.rot90(quarter, (2, 3))).softmax(dim=1)
                for view in (image, image.transpose(2, 3))
                for quarter in range(4)
            ]
        )
    torch.testing.assert_close(found, plain.mean(dim=0).max(dim=1).values)


def test_averaged_views_of_a_certain_network_stay_finite(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = build(average_views=True)
    logits = torch.tensor([[400.0, 0.0, -400.0, 3.0]])
    monkeypatch.setattr(module, "forward", lambda _: logits)
    (found,) = module._averaged(torch.zeros(1, 16, 5, 5))
    torch.testing.assert_close(found, torch.tensor([0.0, -400.0, -800.0, -397.0]))


def test_members_have_losses_of_their_own_and_answer_together(
    data: SimulatedSceneDataModule,
) -> None:
    data.setup()
    batch = next(iter(data.train_dataloader()))
    options = {**SMALL["classifier_options"], "head_dropout": 0.0}
    module = build(members=3, augmentation=None, classifier_options=options)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    members = list(cast("Ensemble", module.classifier).members)
    loss = module.training_step(batch, 0)
    alone = [
        torch.nn.functional.cross_entropy(member(batch["image"]), batch["label"])
        for member in members
    ]
    torch.testing.assert_close(loss, torch.stack(alone).mean())
    assert len({round(value.item(), 4) for value in alone}) == 3  # other initial weights
    module.eval()
    with torch.no_grad():
        found = module.predict_step(batch, 0)["probability"]
        mean = torch.stack([member(batch["image"]).softmax(dim=1) for member in members])
    torch.testing.assert_close(found, mean.mean(dim=0).max(dim=1).values)


def test_a_prior_is_joined_by_the_weighted_geometric_mean(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    data.setup()
    prior = np.random.default_rng(0).dirichlet(np.ones(4), (40, 36)).astype(np.float32)
    joined = data.with_features(data.cube, prior=prior)
    module = build(prior_weight=0.25).eval()
    batch = next(iter(joined.predict_dataloader()))
    with torch.no_grad():
        found = module.predict_step(batch, 0)
        own = module(batch["image"]).softmax(dim=1)
    expected = own**0.75 * torch.from_numpy(prior).flatten(0, 1)[batch["index"]] ** 0.25
    expected /= expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(found["probability"], expected.max(dim=1).values)
    assert torch.equal(found["prediction"], expected.argmax(dim=1))

    # a prior that knows everything, and nothing else: the figures are those of the prior
    certain = np.eye(4, dtype=np.float32)[np.maximum(data.labels, 1) - 1]
    trainer = quiet_trainer()
    known = data.with_features(data.cube, prior=certain)
    (figures,) = trainer.test(build(prior_weight=1.0), known, verbose=False)
    assert figures["test/overall_accuracy"] == 1

    # it plays no part in the training
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    labelled = next(iter(joined.train_dataloader()))
    loss = module.training_step(labelled, 0)
    del labelled["prior"]
    assert torch.equal(module.training_step(labelled, 0), loss)


def test_resume_is_bit_exact_with_dropout(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    options = {**SMALL["classifier_options"], "dropout": 0.2}
    whole = build(classifier_options=options)
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=1)
    quiet_trainer(max_epochs=3, callbacks=[keep], enable_checkpointing=True).fit(whole, data)
    torch.manual_seed(99)
    resumed = build(classifier_options=options)
    torch.randn(7)
    quiet_trainer(max_epochs=3).fit(
        resumed, data, ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True
    )
    pairs = zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(value, other) for (_, value), other in pairs)


def test_checkpoint_loads_with_weights_only(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    module = build(class_names=tuple(data.info.class_names))
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "classifier.ckpt")
    loaded = FeatureClassifierModule.load_from_checkpoint(
        tmp_path / "classifier.ckpt", weights_only=True
    )
    module.eval()
    image = torch.randn(3, 16, 5, 5)
    assert torch.equal(loaded.eval()(image), module(image))
    assert loaded.class_names == list(data.info.class_names)


def test_training_leaves_the_global_generator_alone(
    data: SimulatedSceneDataModule,
) -> None:
    data.setup()
    module = build(classifier_options={**SMALL["classifier_options"], "dropout": 0.5})
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    batch = next(iter(data.train_dataloader()))
    state = torch.get_rng_state()
    first = module.training_step(batch, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(3)
    assert torch.equal(module.training_step(batch, 0), first)
    assert not torch.equal(module.training_step(batch, 1), first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classifier": "forest"}, "spectral_transformer"),
        (
            {"classifier_options": {"colour": 1}},
            r"unknown setting classifier_options\.colour; allowed are .*depth, heads",
        ),
        ({"classifier_options": {"dim": "wide"}}, r"options\.dim must be of type int, got 'wide'"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"class_names": ["a", "b"]}, "4 classes, got 2"),
        ({"lr_schedule": "step"}, "lr_schedule"),
        ({"members": 0}, "members"),
        ({"prior_weight": 1.5}, "prior_weight"),
        ({"augmentation": {"blur": 1.0}}, "blur"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**settings)
