r"""Figures of merit as pure functions of one confusion matrix.

Throughout, ``matrix`` is a (K, K) confusion matrix of counts :math:`n_{ij}`: rows are the true
classes, columns the predicted ones. :math:`n_{i+}` is a row's sum (pixels that are class i),
:math:`n_{+j}` a column's sum (pixels called class j), :math:`N` the sum of all.

One rule holds for every figure: **a class that the target does not hold has no figure of its own**
(nan in the per-class vectors) **and no part in a mean**. Where such a class was predicted all the
same, each of those pixels is an error of the class that it truly is: it lowers that class's
accuracy and IoU, but brings no extra zero into the mean. Without any pixel all figures are nan.
Sums and quotients are taken in float64; NumPy matrices are accepted as well as tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SCALARS = ("overall_accuracy", "average_accuracy", "kappa", "fwiou", "miou")
"""Names of the figures that are one number each, in the order of :func:`summarise`."""

VECTORS = (
    "per_class_accuracy",
    "per_class_iou",
    "per_class_users_accuracy",
    "per_class_f1",
)
"""Names of the figures that are one number per class."""


def overall_accuracy(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Fraction of pixels that are called what they are: :math:`\sum_i n_{ii} / N`.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Scalar, float64, from 0 to 1; nan without any pixel.
    """
    counts = _checked(matrix)
    return counts.diagonal().sum() / counts.sum()


def per_class_accuracy(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Fraction of each class's pixels that are found (recall): :math:`n_{ii} / n_{i+}`.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Shape (K,), float64; nan where the target does not hold the class.
    """
    counts = _checked(matrix)
    return counts.diagonal() / counts.sum(dim=1)


def per_class_users_accuracy(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Fraction of the pixels called a class that are of it (precision): :math:`n_{ii} / n_{+i}`.

    The user's accuracy of maps, beside the producer's, which is :func:`per_class_accuracy`.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Shape (K,), float64; nan where the target does not hold the class, or no pixel is called so.
    """
    counts = _checked(matrix)
    users = counts.diagonal() / counts.sum(dim=0)
    return users.where(counts.sum(dim=1) > 0, torch.nan)


def per_class_f1(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Harmonic mean of user's and producer's accuracy: :math:`2 n_{ii} / (n_{i+} + n_{+i})`.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Shape (K,), float64; nan where the target does not hold the class, predicted or not.
    """
    counts = _checked(matrix)
    truth = counts.sum(dim=1)
    return (2 * counts.diagonal() / (truth + counts.sum(dim=0))).where(truth > 0, torch.nan)


def average_accuracy(matrix: Tensor | NDArray[Any]) -> Tensor:
    """Mean of :func:`per_class_accuracy` over the classes that the target holds.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Scalar, float64, from 0 to 1; nan without any pixel.
    """
    return per_class_accuracy(matrix).nanmean()


def kappa(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Cohen's kappa, the accuracy beyond what chance would give.

    .. math:: \kappa = \frac{OA - p_e}{1 - p_e}, \qquad p_e = \sum_i \frac{n_{i+} n_{+i}}{N^2}

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Scalar, float64, from -1 to 1; nan without any pixel and where every pixel is of, and is
        called, one and the same class (then :math:`p_e = 1`).
    """
    counts = _checked(matrix)
    total = counts.sum()
    by_chance = (counts.sum(dim=1) / total) @ (counts.sum(dim=0) / total)
    return (overall_accuracy(counts) - by_chance) / (1 - by_chance)


def per_class_iou(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Intersection over union of each class: :math:`n_{ii} / (n_{i+} + n_{+i} - n_{ii})`.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Shape (K,), float64; nan where the target does not hold the class, predicted or not.
    """
    counts = _checked(matrix)
    hits, truth = counts.diagonal(), counts.sum(dim=1)
    iou = hits / (truth + counts.sum(dim=0) - hits)
    return iou.where(truth > 0, torch.nan)


def miou(matrix: Tensor | NDArray[Any]) -> Tensor:
    """Mean of :func:`per_class_iou` over the classes that the target holds.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Scalar, float64, from 0 to 1; nan without any pixel.
    """
    return per_class_iou(matrix).nanmean()


def fwiou(matrix: Tensor | NDArray[Any]) -> Tensor:
    r"""Intersection over union weighted by how frequent each class is in the target.

    .. math:: FWIoU = \sum_i \frac{n_{i+}}{N} \frac{n_{ii}}{n_{i+} + n_{+i} - n_{ii}}

    Classes that the target does not hold have weight 0.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        Scalar, float64, from 0 to 1; nan without any pixel.
    """
    counts = _checked(matrix)
    frequency = counts.sum(dim=1) / counts.sum()
    return (frequency * per_class_iou(counts).nan_to_num(0.0)).sum()


def summarise(matrix: Tensor | NDArray[Any]) -> dict[str, Tensor]:
    """All figures by name: :data:`SCALARS` first, then :data:`VECTORS`.

    Args:
        matrix: Confusion matrix, shape (K, K).

    Returns:
        float64 tensors; shape () for the scalars and (K,) for the vectors.

    Example:
        >>> figures = summarise(torch.tensor([[40, 10], [5, 45]]))
        >>> round(figures["overall_accuracy"].item(), 3), round(figures["kappa"].item(), 3)
        (0.85, 0.7)
    """
    counts = _checked(matrix)
    return {
        "overall_accuracy": overall_accuracy(counts),
        "average_accuracy": average_accuracy(counts),
        "kappa": kappa(counts),
        "fwiou": fwiou(counts),
        "miou": miou(counts),
        "per_class_accuracy": per_class_accuracy(counts),
        "per_class_iou": per_class_iou(counts),
        "per_class_users_accuracy": per_class_users_accuracy(counts),
        "per_class_f1": per_class_f1(counts),
    }


def _checked(matrix: Tensor | NDArray[Any]) -> Tensor:
    """The matrix in float64, which holds counts exactly up to 2**53."""
    counts = torch.as_tensor(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.shape[0] == 0:
        raise ConfigurationError(
            f"matrix must be a square confusion matrix (classes x classes), "
            f"got shape {tuple(counts.shape)}"
        )
    if counts.device.type == "mps":
        counts = counts.cpu()  # Apple's GPUs know no float64
    return counts.double()
