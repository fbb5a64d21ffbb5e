"""Whether the classes of a batch, and of a scene, are those that a classifier knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hsi_diffusion.scenes import SceneInfo


def class_labels(label: Tensor, *, patches: int, num_classes: int) -> Tensor:
    """The labels of a batch, if they are classes.

    Values on a card are left to its kernels: to look at them would wait for it in every step.

    Args:
        label: What a loader gave.
        patches: Number B of patches in the batch.
        num_classes: Number of classes K.

    Returns:
        Classes from 0 to K - 1, or -1 for pixels without one, int64, shape (B,).

    Raises:
        ConfigurationError: It has another shape, holds no integers or, on a CPU, other classes.
    """
    if label.shape != (patches,) or label.is_floating_point():
        raise ConfigurationError(
            f'"label" of a batch must hold integers of shape ({patches},), one for each patch, '
            f"got {label.dtype} of shape {tuple(label.shape)}: have the loader give classes from 0"
        )
    label = label.to(torch.int64)
    if label.device.type == "cpu":
        wrong = label[(label < -1) | (label >= num_classes)]
        if len(wrong):
            raise ConfigurationError(
                f'"label" of a batch must be a class from 0 to {num_classes - 1}, or -1 for a '
                f"pixel without one, got {wrong[0].item()}: subtract 1 from classes that are "
                "counted from 1, and make the module with as many as there are (num_classes)"
            )
    return label


def check_classes(scene: SceneInfo, num_classes: int, class_names: Sequence[str] | None) -> None:
    """Refuse a scene in which a class has another number than in a classifier.

    A scene numbers its classes from 1 to K, so one that lacks a class renumbers those behind.

    Args:
        scene: The facts of the scene.
        num_classes: Number of classes of the classifier.
        class_names: Their names; None where unknown: then their number is compared alone.

    Raises:
        ConfigurationError: The classes differ.
    """
    given = list(scene.class_names)
    if class_names is None or _unnamed(class_names) != _unnamed(given):
        if len(given) == num_classes:
            return
        known = f"num_classes={num_classes}"
        known += f" ({list(class_names)})" if class_names is not None else ""
    elif given == list(class_names):
        return
    else:
        known = f"class_names={list(class_names)}"
    raise ConfigurationError(
        f"the classes of scene {scene.name!r} must be those of this classifier, in its order "
        f"({known}), got {given} (values {list(scene.class_ids)} of its label map). A scene "
        "numbers the classes that occur in it from 1 to K: to measure on one that lacks some, "
        "predict it and compare the classes by name; to learn its classes, make the module with "
        "num_classes=data.num_classes and class_names=data.info.class_names"
    )


def _unnamed(names: Sequence[str]) -> bool:
    """Whether these are the names of a scene whose classes nobody named."""
    return all(re.fullmatch(r"Class \d+", name) for name in names)
