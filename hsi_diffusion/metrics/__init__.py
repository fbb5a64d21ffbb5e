"""OA, AA, kappa, FWIoU, MIoU and per-class figures, all from one confusion matrix."""

from hsi_diffusion.metrics.functional import (
    SCALARS,
    VECTORS,
    average_accuracy,
    fwiou,
    kappa,
    miou,
    overall_accuracy,
    per_class_accuracy,
    per_class_f1,
    per_class_iou,
    per_class_users_accuracy,
    summarise,
)
from hsi_diffusion.metrics.hsi_metrics import HSIMetrics

__all__ = [
    "SCALARS",
    "VECTORS",
    "HSIMetrics",
    "average_accuracy",
    "fwiou",
    "kappa",
    "miou",
    "overall_accuracy",
    "per_class_accuracy",
    "per_class_f1",
    "per_class_iou",
    "per_class_users_accuracy",
    "summarise",
]
