"""Choice among candidates by validation pixels, and a cheap score to rank features by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from torch.nn.functional import cross_entropy

from hsi_diffusion.errors import ConfigurationError, SplitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray
    from torch import Tensor

Candidate = TypeVar("Candidate")
"""What is chosen among: (t, level), the settings of an input space, ..."""


class Score(NamedTuple):
    """How good a candidate is on validation pixels.

    Attributes:
        accuracy: Share of the validation pixels that are right.
        loss: Mean cross-entropy on them, in nats.
    """

    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True)
class Trial(Generic[Candidate]):
    """A candidate and its score."""

    candidate: Candidate
    score: Score


@dataclass(frozen=True, slots=True)
class Choice(Generic[Candidate]):
    """What was tried, and what won.

    Attributes:
        trials: All candidates with their scores, in the order in which they were given.
        best: The candidate that won.
    """

    trials: tuple[Trial[Candidate], ...]
    best: Candidate


def choose_by_validation(
    candidates: Iterable[Candidate], score: Callable[[Candidate], tuple[float, float]]
) -> Choice[Candidate]:
    """Score every candidate and take the best one.

    The highest accuracy wins; among equals the lowest loss; among equals the candidate that was
    given first, so give the preferred ones (small t, low levels) first. A score that is nan loses
    against every number.

    Args:
        candidates: What to choose among.
        score: Gives (accuracy, loss) on validation pixels. It must not look at test pixels.

    Returns:
        The winner and the record of all.

    Raises:
        ConfigurationError: If there is no candidate.
    """
    trials = tuple(Trial(candidate, Score(*score(candidate))) for candidate in candidates)
    if not trials:
        raise ConfigurationError("candidates must hold at least one candidate, but is empty")
    return Choice(trials, min(trials, key=_rank).candidate)


def _rank(trial: Trial[Any]) -> tuple[float, float]:
    accuracy, loss = trial.score
    return (
        math.inf if math.isnan(accuracy) else -accuracy,
        math.inf if math.isnan(loss) else loss,
    )


def probe_scores(
    features: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    train: NDArray[np.integer[Any]],
    val: NDArray[np.integer[Any]],
    *,
    blur: int = 5,
    penalty: float = 1.0,
    iterations: int = 100,
) -> Score:
    """Score a feature cube by a linear classifier: seconds instead of a training.

    Multinomial logistic regression on features that are averaged over a box of neighbours and then
    standardised (both over all pixels, without labels). The problem is convex and starts at zero
    weights, so nothing is random. Only labels of ``train`` and ``val`` are read.

    Args:
        features: Shape (H, W, D).
        labels: Shape (H, W), 0 = unlabelled, classes from 1.
        train: Flat numbers of the pixels to learn from.
        val: Flat numbers of the pixels to score on.
        blur: Side of the box in pixels; 1 = the pixel itself.
        penalty: Half the squared norm of the weights, times this, is added to the summed
            cross-entropy (scikit-learn's 1 / C).
        iterations: Of L-BFGS, at most.

    Returns:
        Accuracy and mean cross-entropy on ``val``.

    Raises:
        SplitError: If shapes don't fit, or ``train`` or ``val`` is empty, holds an unlabelled
            pixel, or shares a pixel with the other.
    """
    _check_pixels(features, labels, train, val)
    smooth = uniform_filter(features.astype(np.float32, copy=False), (blur, blur, 1))
    centre = smooth.mean(axis=(0, 1), dtype=np.float64)
    spread = smooth.std(axis=(0, 1), dtype=np.float64)
    spread[spread <= 1e-6 * np.abs(centre)] = 1  # constant but for the filter's rounding
    rows = smooth.reshape(-1, smooth.shape[2])

    def inputs(pixels: NDArray[np.integer[Any]]) -> Tensor:
        return torch.from_numpy((rows[pixels] - centre) / spread)

    def targets(pixels: NDArray[np.integer[Any]]) -> Tensor:
        return torch.from_numpy(labels.reshape(-1)[pixels].astype(np.int64) - 1)

    classes = int(max(targets(train).max(), targets(val).max())) + 1
    weight, bias = _fit(inputs(train), targets(train), classes, penalty, iterations)
    logits, expected = inputs(val) @ weight + bias, targets(val)
    accuracy = (logits.argmax(dim=1) == expected).double().mean()
    return Score(accuracy.item(), cross_entropy(logits, expected).item())


def _fit(
    inputs: Tensor, targets: Tensor, classes: int, penalty: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression with a penalty on the weights, by L-BFGS in float64."""
    weight = torch.zeros(inputs.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=iterations,
        tolerance_grad=1e-6,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = cross_entropy(inputs @ weight + bias, targets)
        loss = loss + penalty / (2 * len(inputs)) * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _check_pixels(
    features: NDArray[Any], labels: NDArray[Any], train: NDArray[Any], val: NDArray[Any]
) -> None:
    if features.ndim != 3 or features.shape[:2] != labels.shape:
        raise SplitError(
            f"features must be (height, width, D) over the pixels of labels, but has shape "
            f"{features.shape}, and labels {labels.shape}"
        )
    for name, pixels in (("train", train), ("val", val)):
        if len(pixels) == 0 or pixels.min() < 0 or pixels.max() >= labels.size:
            raise SplitError(
                f"{name} must hold pixel numbers from 0 to {labels.size - 1}, at least one; "
                f"it holds {len(pixels)} numbers"
            )
        if (labels.reshape(-1)[pixels] < 1).any():
            raise SplitError(f"{name} must hold labelled pixels only, but holds unlabelled ones")
    if np.intersect1d(train, val).size:
        raise SplitError("train and val must not share pixels")
