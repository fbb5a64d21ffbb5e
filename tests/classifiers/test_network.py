"""Patch networks as classifiers of a cube's pixels."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from hsi_diffusion.classifiers import (
    ClassifierSettings,
    Layout,
    NetworkClassifier,
    cross_entropy,
    layout_of,
)
from hsi_diffusion.errors import CheckpointError, ConfigurationError, NotFittedError
from hsi_diffusion.features import FeatureCube
from hsi_diffusion.modules import Runtime
from hsi_diffusion.networks import CNN2D, FusionClassifier, SpectralTransformer
from hsi_diffusion.recipes import from_plain

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = np.repeat([[1, 2, 3]], 9, axis=0).repeat(3, axis=1)
PIXELS = np.arange(0, 81, 3)
RUNTIME = Runtime(accelerator="cpu")


class Centre(nn.Module):
    """Logits that are a linear function of the centre pixel."""

    def __init__(self, in_channels: int, num_classes: int, patch_size: int) -> None:
        super().__init__()
        self.middle = patch_size // 2
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(image[:, :, self.middle, self.middle])
        return logits


SETTINGS = ClassifierSettings(network=Centre, patch_size=3, steps=60, batch_size=27,
                              learning_rate=0.1)  # fmt: skip


def cube(channels: int = 4) -> NDArray[np.float32]:
    random = np.random.default_rng(1)
    means = random.normal(size=(4, channels))
    values: NDArray[np.float64] = means[LABELS] + 0.1 * random.normal(size=(9, 9, channels))
    return values.astype(np.float32)


def test_it_learns_pixels_and_gives_probabilities_of_any() -> None:
    model = NetworkClassifier(SETTINGS, RUNTIME).fit(cube(), LABELS, PIXELS, 3)
    found = model.predict(cube())
    assert (found.argmax(axis=1) + 1 == LABELS.ravel()).all()
    assert model.module is not None
    assert isinstance(model.module.classifier, Centre)
    logits = model.module.classifier.head(torch.from_numpy(cube().reshape(81, 4)))  # by hand
    expected = torch.softmax(logits, dim=1).detach()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    some = np.array([80, 3, 3])
    np.testing.assert_allclose(model.predict(cube(), some), found[some], atol=1e-6)
    assert model.predict(cube()[:5, :6]).shape == (30, 3)
    given: Any
    for given in (cube().astype(np.float64), cube()[::-1].copy()[::-1]):
        np.testing.assert_allclose(model.predict(given), found, atol=1e-6)
    assert (model.seen, model.parameters) == (3, 15)
    assert model.describe() == {"network": "Centre", "parameters": 15}


def test_it_sees_labels_of_its_pixels_only_and_learns_the_same_twice() -> None:
    others = LABELS.copy()
    others.ravel()[np.setdiff1d(np.arange(81), PIXELS)] = 1
    settings = dataclasses.replace(SETTINGS, steps=5, augmentation={"dihedral": 1.0})
    found = [
        NetworkClassifier(settings, RUNTIME, seed=seed).fit(cube(), labels, PIXELS, 3)
        for labels, seed in ((LABELS, 1), (others, 1), (LABELS, 2))
    ]
    first, second, third = (one.predict(cube()) for one in found)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, third)


def test_a_trial_is_one_network_and_few_steps() -> None:
    settings = dataclasses.replace(SETTINGS, members=3, network=CNN2D)
    trial = NetworkClassifier(settings, RUNTIME, stage="classifier", seed=4).trial(2, "choice-1")
    assert (trial.settings.members, trial.settings.steps, trial.seed) == (1, 2, 4)
    assert trial.stage is None


def test_networks_are_told_how_the_channels_lie(tmp_path: Path) -> None:
    description = {"timesteps": [5, 9], "channels": [3, 3], "angles": True}
    features = FeatureCube(cube(8), description)
    assert layout_of(features) == Layout(8, 2, angles=True)
    network = partial(FusionClassifier, fusion="awam+ctssfm", dim=8)
    settings = dataclasses.replace(SETTINGS, network=network, steps=1, batch_size=4)
    model = NetworkClassifier(settings, RUNTIME)
    model.check(layout_of(features), 3)
    model.fit(features, LABELS, PIXELS, 3)
    weights = model.timestep_weights(features)
    assert weights is not None
    assert weights.shape == (9, 9, 2)
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-5)
    assert model.timestep_weights(cube()) is None

    plain, tensors = model.save(tmp_path)
    again = NetworkClassifier(settings, RUNTIME).load(tmp_path, plain, tensors)
    np.testing.assert_array_equal(again.predict(features), model.predict(features))
    np.testing.assert_array_equal(again.timestep_weights(features), weights)


def test_a_schedule_of_ones_own_counts_steps() -> None:
    made = []

    def schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.StepLR:
        made.append(torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5))
        return made[0]

    settings = dataclasses.replace(SETTINGS, steps=25, lr_scheduler=schedule)
    NetworkClassifier(settings, RUNTIME).fit(cube(), LABELS, PIXELS, 3)
    assert made[0].last_epoch == 25
    assert made[0].get_last_lr() == pytest.approx([0.1 / 4])


def test_an_own_network_is_given_again(tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=1)
    model = NetworkClassifier(settings, RUNTIME).fit(cube(), LABELS, PIXELS, 3)
    plain, tensors = model.save(tmp_path)
    empty = NetworkClassifier(settings, RUNTIME)
    with pytest.raises(CheckpointError, match=r"test_network\.Centre.*give network=\.\.\."):
        empty.load(tmp_path, plain, tensors)
    with pytest.raises(CheckpointError, match=r"not those of this network.*network=\.\.\."):
        empty.load(tmp_path, plain, tensors, network=CNN2D)
    with pytest.raises(NotFittedError, match="learned nothing yet"):
        empty.predict(cube())
    for given in (Centre, Centre(4, 3, 3)):
        empty.load(tmp_path, plain, tensors, network=given)
        np.testing.assert_array_equal(empty.predict(cube()), model.predict(cube()))


def test_wrong_settings_are_told() -> None:
    for name in ("patch_size", "batch_size", "steps"):
        with pytest.raises(ConfigurationError, match=rf"classifier\.{name} must be at least 1"):
            from_plain(ClassifierSettings, {name: 0})
    with pytest.raises(ConfigurationError, match=r"classifier\.gradient_clip must be at least 0"):
        dataclasses.replace(SETTINGS, gradient_clip=float("inf"))
    settings = dataclasses.replace(SETTINGS, members=0)
    with pytest.raises(ConfigurationError, match="members must be at least 1"):
        NetworkClassifier(settings, RUNTIME).check(Layout(4), 3)


def test_pixels_without_a_class_are_refused() -> None:
    for value in (0, 4):
        labels = LABELS.copy()
        labels.ravel()[6] = value
        with pytest.raises(ConfigurationError, match=f"num_classes=3, but pixel 6 has {value}"):
            NetworkClassifier(SETTINGS, RUNTIME).fit(cube(), labels, PIXELS, 3)


def test_a_saved_network_is_made_as_it_was(tmp_path: Path) -> None:
    network = partial(SpectralTransformer, dim=8, depth=1, heads=1, head_dim=4)
    settings = dataclasses.replace(SETTINGS, network=network, steps=1)
    plain, tensors = (
        NetworkClassifier(settings, RUNTIME).fit(cube(), LABELS, PIXELS, 3).save(tmp_path)
    )
    empty = NetworkClassifier(settings, RUNTIME)
    empty.load(tmp_path, plain, tensors, network=network)
    with pytest.raises(CheckpointError, match=r"network must be made .*readout='class', got"):
        empty.load(tmp_path, plain, tensors, network=partial(network, readout="centre"))


def test_cross_entropy_is_in_nats_and_finite() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]], dtype=np.float32)
    expected = -(np.log(0.5) + np.log(0.75)) / 2
    assert cross_entropy(probabilities, np.array([0, 1])) == pytest.approx(expected)
    assert np.isfinite(cross_entropy(np.array([[0, 1]], dtype=np.float32), np.array([0])))
