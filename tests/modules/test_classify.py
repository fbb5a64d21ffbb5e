from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from sklearn.metrics import accuracy_score, cohen_kappa_score

from hsi_diffusion import (
    CustomSceneDataModule,
    FeatureClassifierModule,
    SimulatedSceneDataModule,
)
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import CNN1D, FusionClassifier, SpectralTransformer
from hsi_diffusion.patches import Compose, Dihedral

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L

    from hsi_diffusion.networks import Ensemble

NETWORK = partial(SpectralTransformer, dim=16, heads=2, head_dim=8, depth=1)
SMALL: dict[str, Any] = {
    "classifier": NETWORK,
    "lr_schedule": "cosine",
    "augmentation": {"dihedral": 1.0},
}


@pytest.fixture
def data(small_scene: Callable[..., SimulatedSceneDataModule]) -> SimulatedSceneDataModule:
    return small_scene(transform="Standardise", split="20")


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


def test_members_have_losses_of_their_own_and_predict_together(
    data: SimulatedSceneDataModule,
) -> None:
    data.setup()
    batch = next(iter(data.train_dataloader()))
    network = partial(NETWORK, head_dropout=0.0)
    module = build(members=3, augmentation=None, classifier=network)
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


def test_resume_is_bit_exact_with_dropout(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    network = partial(NETWORK, dropout=0.2)
    whole = build(classifier=network)
    keep = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, every_n_epochs=1)
    quiet_trainer(max_epochs=3, callbacks=[keep], enable_checkpointing=True).fit(whole, data)
    torch.manual_seed(99)
    resumed = build(classifier=network)
    torch.randn(7)
    quiet_trainer(max_epochs=3).fit(
        resumed, data, ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True
    )
    pairs = zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(value, other) for (_, value), other in pairs)


def without_class(data: SimulatedSceneDataModule, label: int, **settings: Any) -> Any:
    scene = data.scene
    labels = np.where(scene.labels == label, 0, scene.labels)
    return CustomSceneDataModule(scene.cube, labels, split="10", patch_size=5, **settings)


@pytest.mark.parametrize("command", ["validate", "test", "fit"])
def test_a_scene_of_other_classes_is_refused(
    command: str, data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    names = list(data.info.class_names)
    one, two, three, four = names

    def check(given: list[str] | None, other: Any) -> None:
        getattr(quiet_trainer(max_steps=1, num_sanity_val_steps=1), command)(
            build(class_names=given), other
        )

    same = without_class(data, 0, class_names=names)
    for given in (names, None, ["Class 1", "Class 2", "Class 3", "Class 4"]):
        check(given, same)
    check(names, without_class(data, 0))  # nobody named its classes: as many are enough
    message = (
        rf"in its order \(class_names=.*{three}.*{four}.*\), got \['{two}', '{three}', '{four}'\] "
        r"\(values \[2, 3, 4\] of .* make the module with num_classes=data\.num_classes"
    )
    with pytest.raises(ConfigurationError, match=message):
        check(names, without_class(data, 1, class_names=names))
    with pytest.raises(ConfigurationError, match=rf"got \['{two}', '{one}', "):
        check(names, without_class(data, 0, class_names=[two, one, three, four]))
    lacking = r"\(num_classes=4.*\), got \['Class 1', 'Class 2', 'Class 4'\]"
    for given in (names, None):
        with pytest.raises(ConfigurationError, match=lacking):
            check(given, without_class(data, 3))
    numbered = ["Class 1", "Class 2", "Class 4", "Class 7"]
    with pytest.raises(ConfigurationError, match=r"class_names=\['Class 1', .* got \['Class 1', "):
        check(numbered, without_class(data, 0))


def test_a_map_of_a_scene_of_other_classes(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    batches = quiet_trainer().predict(
        build(class_names=data.info.class_names), without_class(data, 3)
    )
    found = cast("Any", batches)
    assert sum(len(batch["prediction"]) for batch in found) == 40 * 36


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
    module = build(classifier=partial(NETWORK, dropout=0.5))
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
        ({"classifier": "forest"}, "classifier must be one of CNN1D, .*SpectralTransformer"),
        (
            {"classifier": {"class_path": "CNN2D", "init_args": {"colour": 1}}},
            r"unknown setting classifier\.colour; allowed are ",
        ),
        (
            {"classifier": {"class_path": "SpectralTransformer", "init_args": {"dim": "wide"}}},
            r"classifier\.dim must be of type int, got 'wide'",
        ),
        ({"classifier": CNN1D(16, 4, 5), "members": 2}, "members=2 networks .* got an object"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"class_names": ["a", "b"]}, "4 classes, got 2"),
        ({"lr_schedule": "step"}, "lr_schedule"),
        ({"members": 0}, "members"),
        ({"augmentation": {"blur": 1.0}}, "blur"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**settings)


def test_patches_of_even_side_are_not_turned() -> None:
    """The pixel to classify, in row and column 3 of 6, would move."""
    turned: list[Any] = [{"dihedral": 0.5}, Dihedral(), Compose((Dihedral(),))]
    for augmentation in turned:
        with pytest.raises(ConfigurationError, match=r"patch_size must be odd .*, got 6"):
            FeatureClassifierModule(16, 4, 6, augmentation=augmentation)
    FeatureClassifierModule(16, 4, 6, augmentation={"dihedral": 0.0, "gain": 0.1})


@pytest.mark.parametrize(
    "given",
    [
        "CNN1D",
        {"class_path": "CNN1D", "init_args": {}},
        CNN1D,
        lambda *sizes: CNN1D(*sizes, kernel_size=3),
        CNN1D(16, 4, 5),
    ],
)
def test_every_form_gives_the_same_network_and_plain_hyperparameters(given: Any) -> None:
    module = build(classifier=given)
    assert isinstance(module.classifier, CNN1D)
    assert module.hparams["classifier"]["class_path"] == "CNN1D"
    again = FeatureClassifierModule(**module.hparams)
    assert isinstance(again.classifier, CNN1D)
    assert again.hparams == module.hparams


def test_networks_that_treat_timesteps_apart_are_told_how_many_there_are() -> None:
    for given, expected in (
        (FusionClassifier, 4),
        ("FusionClassifier", 4),
        (partial(FusionClassifier, timesteps=2), 2),
    ):
        module = build(classifier=given, timesteps=4)
        again = FeatureClassifierModule(**module.hparams)
        for one in (module, again):
            assert isinstance(one.classifier, FusionClassifier)
            assert one.classifier.init_args["timesteps"] == expected


@pytest.mark.parametrize("members", [1, 2])
def test_is_exported_for_any_number_of_patches(members: int) -> None:
    module = FeatureClassifierModule(16, 4, 5, classifier="CNN2D", members=members).eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    given = (torch.randn(3, 16, 5, 5),)
    exported = torch.export.export(module, given, dynamic_shapes=({0: batch},)).module()
    images = torch.randn(7, 16, 5, 5)
    torch.testing.assert_close(exported(images), module(images))
