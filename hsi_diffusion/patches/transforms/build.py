"""Band transforms by name and from a saved state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.patches.transforms.mnf import MNF
from hsi_diffusion.patches.transforms.pca import PCA
from hsi_diffusion.patches.transforms.scaling import Identity, MinMax, Standardise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsi_diffusion.patches.transforms.base import BandTransform

_CLASSES: dict[str, type[BandTransform]] = {
    transform.name: transform for transform in (Identity, MinMax, Standardise, PCA, MNF)
}


def build_transform(name: str, components: int | None = None, **options: Any) -> BandTransform:
    """An unfitted transform by its name, for settings that come from a file or a command line.

    Args:
        name: "identity", "minmax", "standardise", "pca" or "mnf".
        components: Number of components, for "pca" and "mnf" only; None keeps all.
        **options: Further arguments of the class, such as ``scale="noise"`` for "mnf".

    Returns:
        The transform.

    Raises:
        ConfigurationError: No such transform, or it has no such argument.
    """
    if name not in _CLASSES:
        raise ConfigurationError(
            f"transform must be one of {', '.join(map(repr, _CLASSES))}, got {name!r}"
        )
    transform = _CLASSES[name]
    if components is not None:
        options["components"] = components
    if unknown := sorted(options.keys() - set(transform._settings)):
        allowed = ", ".join(transform._settings) or "none"
        raise ConfigurationError(
            f"the transform {name!r} has no argument {', '.join(unknown)}; its arguments: {allowed}"
        )
    return transform(**options)


def transform_from_state(state: Mapping[str, Any]) -> BandTransform:
    """The fitted transform that :meth:`BandTransform.state_dict` gave.

    Args:
        state: The state, as it was or as ``torch.load(weights_only=True)`` gives it back.

    Returns:
        A transform that does the same as the one that was saved.

    Raises:
        CheckpointError: ``state`` is not that of a transform.
    """
    if (name := state.get("name")) not in _CLASSES:
        raise CheckpointError(
            f"the state of a transform must hold a name out of {', '.join(map(repr, _CLASSES))}, "
            f"got {name!r}"
        )
    return _CLASSES[name].from_state(state)
