"""The figures against scikit-learn, which takes them from labels and not from a matrix."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    jaccard_score,
    precision_score,
)

from hsi_diffusion import metrics
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.metrics import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray

CASES = range(24)


def labels(case: int) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Truth, prediction and number of classes; more and more classes are missing somewhere."""
    rng = np.random.default_rng(case)
    num_classes = int(rng.integers(3, 17))
    truth_classes = rng.choice(num_classes, size=rng.integers(2, num_classes + 1), replace=False)
    truth = rng.choice(truth_classes, size=int(rng.integers(20, 3000)))
    guess = rng.integers(0, num_classes, size=truth.size)
    prediction = np.where(rng.random(truth.size) < rng.random(), truth, guess)
    return truth, prediction, num_classes


def matrix_of(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int) -> torch.Tensor:
    return torch.from_numpy(confusion_matrix(truth, prediction, labels=range(num_classes)))


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_scikit_learn(case: int) -> None:
    truth, prediction, num_classes = labels(case)
    present = np.unique(truth)
    figures = metrics.summarise(matrix_of(truth, prediction, num_classes))
    per_class = jaccard_score(
        truth, prediction, labels=range(num_classes), average=None, zero_division=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predicted classes that the truth does not hold
        expected = {
            "overall_accuracy": accuracy_score(truth, prediction),
            "average_accuracy": balanced_accuracy_score(truth, prediction),
            "kappa": cohen_kappa_score(truth, prediction),
            "fwiou": jaccard_score(truth, prediction, average="weighted"),
            "miou": jaccard_score(truth, prediction, labels=present, average="macro"),
        }
    assert tuple(expected) == metrics.SCALARS
    for name, value in expected.items():
        assert figures[name].dtype == torch.float64
        assert figures[name].shape == ()
        assert figures[name].item() == pytest.approx(value, abs=1e-12), name
    absent = np.setdiff1d(np.arange(num_classes), present)
    assert figures["per_class_iou"].numpy()[present] == pytest.approx(per_class[present], abs=1e-12)
    assert figures["per_class_iou"][absent].isnan().all()
    assert figures["per_class_accuracy"][absent].isnan().all()


@pytest.mark.parametrize("case", CASES)
def test_kappa_follows_from_accuracy_and_chance(case: int) -> None:
    truth, prediction, num_classes = labels(case)
    by_chance = sum(
        np.mean(truth == each) * np.mean(prediction == each) for each in range(num_classes)
    )
    accuracy = np.mean(truth == prediction)
    value = metrics.kappa(matrix_of(truth, prediction, num_classes)).item()
    assert value == pytest.approx((accuracy - by_chance) / (1 - by_chance), abs=1e-12)


def test_by_hand_with_an_absent_class_that_is_predicted() -> None:
    matrix = torch.tensor([[6, 2, 0], [0, 0, 0], [1, 0, 3]])
    assert metrics.per_class_accuracy(matrix).tolist() == pytest.approx(
        [6 / 8, np.nan, 3 / 4], nan_ok=True
    )
    assert metrics.per_class_iou(matrix).tolist() == pytest.approx(
        [6 / 9, np.nan, 3 / 4], nan_ok=True
    )
    assert metrics.average_accuracy(matrix).item() == pytest.approx(0.75)
    assert metrics.miou(matrix).item() == pytest.approx((6 / 9 + 3 / 4) / 2)
    assert metrics.fwiou(matrix).item() == pytest.approx((8 * 6 / 9 + 4 * 3 / 4) / 12)


def test_summary_holds_what_the_functions_give() -> None:
    matrix = torch.tensor([[5, 1, 0], [2, 7, 1], [0, 0, 4]])
    figures = metrics.summarise(matrix)
    assert tuple(figures) == metrics.SCALARS + metrics.VECTORS
    for name, value in figures.items():
        assert torch.equal(value, getattr(functional, name)(matrix)), name


def test_numpy_matrix_gives_the_same() -> None:
    matrix = np.array([[5, 1], [2, 7]])
    assert torch.equal(metrics.kappa(matrix), metrics.kappa(torch.from_numpy(matrix)))


def test_large_counts_stay_exact() -> None:
    big = 2**40
    matrix = torch.tensor([[big, 1], [0, big]])
    assert metrics.overall_accuracy(matrix).item() == (2 * big) / (2 * big + 1) < 1


def test_nothing_counted_is_nan() -> None:
    for value in metrics.summarise(torch.zeros(4, 4, dtype=torch.int64)).values():
        assert value.isnan().all()


def test_one_class_only_leaves_kappa_undefined() -> None:
    figures = metrics.summarise(torch.tensor([[9, 0], [0, 0]]))
    assert figures["kappa"].isnan()
    assert figures["overall_accuracy"] == figures["average_accuracy"] == figures["fwiou"] == 1


class OnApple(torch.Tensor):
    """A tensor on a GPU of Apple's, as far as this test can have one: it knows no float64."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # as torch documents subclasses
        return torch.device("mps")

    def double(self) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64")

    def cpu(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)


def test_counts_on_hardware_without_float64_are_summarised_on_the_cpu() -> None:
    counts = torch.tensor([[40, 10], [5, 45]])
    found = metrics.summarise(counts.as_subclass(OnApple))
    assert all(type(value) is torch.Tensor for value in found.values())
    for name, value in metrics.summarise(counts).items():
        torch.testing.assert_close(found[name], value)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 2), (0, 0)])
def test_refuses_what_is_no_confusion_matrix(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="matrix must be a square"):
        metrics.summarise(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("case", CASES)
def test_users_accuracy_and_f1_are_those_of_scikit_learn(case: int) -> None:
    truth, prediction, num_classes = labels(case)
    figures = metrics.summarise(matrix_of(truth, prediction, num_classes))
    every = range(num_classes)
    present = np.isin(np.arange(num_classes), truth)
    for score, found in (
        (precision_score, figures["per_class_users_accuracy"]),
        (f1_score, figures["per_class_f1"]),
    ):
        expected = score(truth, prediction, labels=every, average=None, zero_division=np.nan)
        expected = np.where(present, expected, np.nan)
        assert found.numpy() == pytest.approx(expected, nan_ok=True)
