"""All figures of merit from one confusion matrix, accumulated over batches and processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchmetrics import Metric

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.metrics.functional import summarise
from hsi_diffusion.options import check_at_least

if TYPE_CHECKING:
    from torch import Tensor


class HSIMetrics(Metric):
    """OA, AA, kappa, FWIoU, MIoU and the figures of every class.

    The only state is one int64 confusion matrix (rows = truth, columns = prediction), summed over
    batches and processes, so the figures don't depend on how the pixels are spread over either.
    :mod:`hsi_diffusion.metrics.functional` defines each figure and what happens to classes that
    the target does not hold.

    ``compute`` gives a dict: ``overall_accuracy``, ``average_accuracy``, ``kappa``, ``fwiou`` and
    ``miou`` are scalars; ``per_class_accuracy``, ``per_class_iou``, ``per_class_users_accuracy``
    and ``per_class_f1`` have shape (K,) and hold nan for classes that the target does not hold.
    Without any counted pixel everything is nan.

    Args:
        num_classes: K, the number of classes.
        ignore_index: Pixels with this target don't count, whatever is predicted for them.

    Raises:
        ConfigurationError: If ``num_classes`` is below 2.

    Example:
        >>> metrics = HSIMetrics(num_classes=3)
        >>> metrics.update(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, -1]))
        >>> round(metrics.compute()["overall_accuracy"].item(), 3)
        0.667
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    counts: Tensor

    def __init__(self, num_classes: int, ignore_index: int = -1) -> None:
        super().__init__()
        check_at_least(2, num_classes=num_classes)
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.add_state(
            "counts",
            default=torch.zeros(num_classes, num_classes, dtype=torch.int64),
            dist_reduce_fx="sum",
        )

    @property
    def confusion_matrix(self) -> Tensor:
        """What this process has counted so far, int64, shape (K, K), rows = truth."""
        return self.counts.clone()

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count a batch.

        Args:
            preds: Classes from 0 to K - 1, integer, shape of ``target``; or logits or
                probabilities, floating point, shape (B, K), of which the largest counts.
            target: Classes from 0 to K - 1 or ``ignore_index``, integer, shape (B,) (any shape
                where ``preds`` holds classes).

        Raises:
            ConfigurationError: If shapes or kinds don't fit, a class is out of range, or a
                counted row of ``preds`` holds nan.
        """
        self._check_kinds(preds, target)
        counted = target != self.ignore_index
        preds, target = preds[counted], target[counted].long()
        if preds.is_floating_point():
            if preds.isnan().any():
                raise ConfigurationError(
                    "preds holds nan: the network has diverged; try a smaller learning rate"
                )
            preds = preds.argmax(dim=1)
        self._check_range("preds", preds, "")
        self._check_range("target", target, f" or {self.ignore_index} (ignored)")
        cells = target * self.num_classes + preds.long()
        counts = torch.bincount(cells, minlength=self.num_classes**2)
        self.counts += counts.view(self.num_classes, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """All figures by name, float64 (see :func:`~hsi_diffusion.metrics.summarise`)."""
        return summarise(self.counts)

    def _check_kinds(self, preds: Tensor, target: Tensor) -> None:
        if target.is_floating_point() or target.dtype == torch.bool:
            raise ConfigurationError(f"target must hold integer classes, got {target.dtype}")
        if preds.dtype == torch.bool:
            raise ConfigurationError("preds must hold integer classes or logits, got torch.bool")
        if preds.is_floating_point():
            expected: tuple[int, ...] = (target.numel(), self.num_classes)
            fits = target.ndim == 1 and preds.shape == expected
            kind = f"logits or probabilities of shape (B, {self.num_classes}), B as in target"
        else:
            fits = preds.shape == target.shape
            kind = "classes in the shape of target"
        if not fits:
            raise ConfigurationError(
                f"preds of type {preds.dtype} must be {kind}, "
                f"got {tuple(preds.shape)} and a target of {tuple(target.shape)}"
            )

    def _check_range(self, name: str, classes: Tensor, also: str) -> None:
        wrong = classes[(classes < 0) | (classes >= self.num_classes)]
        if wrong.numel():
            raise ConfigurationError(
                f"{name} must hold classes from 0 to {self.num_classes - 1}{also}, got "
                f"{sorted(set(wrong.tolist()))[:5]}; label maps count from 1, batches from 0"
            )
