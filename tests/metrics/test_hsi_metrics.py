"""The metric: accumulation, kinds of input, several processes, and the traps of other libraries."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from sklearn.metrics import confusion_matrix
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.metrics import SCALARS, HSIMetrics, summarise
from tests.metrics import distributed_worker
from tests.processes import together

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

K = 6


def batch(size: int = 200, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and targets; -1 = unlabelled."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.randint(-1, K, (size,), generator=rng)
    logits = torch.randn(size, K, generator=rng)
    logits[torch.arange(size), target.clamp(min=0)] += 1
    return logits, target


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name].nan_to_num(-9), second[name].nan_to_num(-9)) for name in first
    )


def test_counts_what_scikit_learn_counts() -> None:
    logits, target = batch()
    metrics = HSIMetrics(K)
    metrics.update(logits, target)
    kept = target >= 0
    expected = confusion_matrix(target[kept], logits.argmax(1)[kept], labels=range(K))
    assert metrics.confusion_matrix.dtype == torch.int64
    assert metrics.confusion_matrix.tolist() == expected.tolist()
    assert same(metrics.compute(), summarise(expected))


@pytest.mark.parametrize("size", [1, 7, 64])
def test_batches_give_what_one_shot_gives(size: int) -> None:
    logits, target = batch()
    whole, pieces = HSIMetrics(K), HSIMetrics(K)
    whole.update(logits, target)
    for start in range(0, len(target), size):
        pieces(logits[start : start + size], target[start : start + size])
    assert same(whole.compute(), pieces.compute())


def test_logits_probabilities_and_classes_count_alike() -> None:
    logits, target = batch()
    found = []
    for preds in (logits, logits.softmax(1), logits.argmax(1), logits.argmax(1).to(torch.uint8)):
        metrics = HSIMetrics(K)
        metrics.update(preds, target)
        found.append(metrics.confusion_matrix)
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    logits, target = batch()
    logits = logits.to(dtype)
    metrics, reference = HSIMetrics(K), HSIMetrics(K)
    metrics.update(logits, target)
    reference.update(logits.float(), target)
    assert torch.equal(metrics.confusion_matrix, reference.confusion_matrix)
    assert metrics.compute()["kappa"].dtype == torch.float64


def test_whole_maps_of_classes() -> None:
    logits, target = batch(60)
    metrics, maps = HSIMetrics(K), HSIMetrics(K)
    metrics.update(logits, target)
    maps.update(logits.argmax(1).view(6, 10), target.view(6, 10))
    assert torch.equal(metrics.confusion_matrix, maps.confusion_matrix)


def test_what_is_predicted_for_ignored_pixels_does_not_matter() -> None:
    metrics = HSIMetrics(3, ignore_index=255)
    metrics.update(torch.tensor([0, 99, 2]), torch.tensor([0, 255, 1]))
    assert metrics.confusion_matrix.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    logits = torch.tensor([[1.0, 0.0, 0.0], [torch.nan, 0.0, 0.0]])
    metrics.update(logits, torch.tensor([0, 255]))
    assert metrics.confusion_matrix.sum() == 3


def test_empty_batches_and_reset() -> None:
    metrics = HSIMetrics(K)
    metrics.update(torch.zeros(0, K), torch.zeros(0, dtype=torch.int64))
    assert all(value.isnan().all() for value in metrics.compute().values())
    metrics.update(*batch())
    assert metrics.confusion_matrix.sum() > 0
    metrics.reset()
    assert metrics.confusion_matrix.sum() == 0


def test_average_accuracy_leaves_out_absent_classes_where_macro_accuracy_does_not() -> None:
    """Measured trap: macro accuracy counts a class that is only predicted as 0."""
    target = torch.tensor([0] * 10 + [1] * 10 + [-1] * 5)
    preds = torch.tensor([0] * 8 + [2] * 2 + [1] * 8 + [3] * 2 + [3] * 5)
    metrics = HSIMetrics(4)
    metrics.update(preds, target)
    assert metrics.compute()["average_accuracy"].item() == pytest.approx(0.8)
    macro = MulticlassAccuracy(4, average="macro", ignore_index=-1)
    assert macro(preds, target).item() < 0.5


def test_is_copied_with_its_counts() -> None:
    metrics = HSIMetrics(K)
    metrics.update(*batch())
    other = copy.deepcopy(metrics)
    other.update(*batch(seed=1))
    metrics.update(*batch(seed=1))
    assert same(other.compute(), metrics.compute())


def test_property_is_no_view_of_the_state() -> None:
    metrics = HSIMetrics(K)
    metrics.update(*batch())
    before = metrics.confusion_matrix
    metrics.update(*batch())
    assert torch.equal(metrics.confusion_matrix, 2 * before)


def test_works_in_a_collection() -> None:
    logits, target = batch()
    alone = HSIMetrics(K)
    alone.update(logits, target)
    collection = MetricCollection(
        {"hsi": HSIMetrics(K), "accuracy": MulticlassAccuracy(K, average="micro", ignore_index=-1)},
        prefix="val/",
    )
    collection.update(logits, target)
    figures = collection.compute()
    assert same(
        {name: figures[f"val/{name}"] for name in SCALARS},
        {name: alone.compute()[name] for name in SCALARS},
    )
    assert figures["val/accuracy"].item() == pytest.approx(figures["val/overall_accuracy"].item())


def test_refuses_fewer_than_two_classes() -> None:
    with pytest.raises(ConfigurationError, match="num_classes must be at least 2, got 1"):
        HSIMetrics(1)


def test_two_classes_are_enough_and_more_is_better() -> None:
    metrics = HSIMetrics(2)
    metrics.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
    assert metrics.compute()["overall_accuracy"].item() == pytest.approx(2 / 3)
    assert metrics.higher_is_better, "so a MetricTracker keeps the highest"


@pytest.mark.parametrize(
    ("preds", "target", "message"),
    [
        (torch.tensor([0, 3]), torch.tensor([0, 1]), r"preds must hold classes.*got \[3\]"),
        (torch.tensor([0, -1]), torch.tensor([0, 1]), r"preds must hold classes.*got \[-1\]"),
        (torch.tensor([0, 1]), torch.tensor([0, 3]), r"target must hold classes.*or -1.*\[3\]"),
        (torch.tensor([0, 1]), torch.tensor([0, -2]), r"target must hold classes.*got \[-2\]"),
        (torch.zeros(2, 4), torch.tensor([0, 1]), r"of shape \(B, 3\)"),
        (torch.zeros(3, 3), torch.tensor([0, 1]), r"of shape \(B, 3\)"),
        (torch.tensor([0, 1, 2]), torch.tensor([0, 1]), "shape of target"),
        (torch.tensor([True, False]), torch.tensor([0, 1]), "preds must hold integer"),
        (torch.tensor([0, 1]), torch.tensor([0.0, 1.0]), "target must hold integer"),
        (torch.full((2, 3), torch.nan), torch.tensor([0, 1]), "preds holds nan"),
    ],
)
def test_refuses_what_it_cannot_count(preds: Tensor, target: Tensor, message: str) -> None:
    metrics = HSIMetrics(3)
    with pytest.raises(ConfigurationError, match=message):
        metrics.update(preds, target)
    assert metrics.confusion_matrix.sum() == 0


def test_one_two_and_three_processes_give_the_same(tmp_path: Path) -> None:
    reference = HSIMetrics(distributed_worker.NUM_CLASSES)
    reference.update(*distributed_worker.pixels())
    for world in (1, 2, 3):
        together(distributed_worker.count_share, world, world, tmp_path)
        files = [tmp_path / f"{world}-{rank}.pt" for rank in range(world)]
        results = [torch.load(file, weights_only=True) for file in files]
        assert all(same(result["figures"], reference.compute()) for result in results)
        assert sum(result["own"].sum() for result in results) == reference.confusion_matrix.sum()
