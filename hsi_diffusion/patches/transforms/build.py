"""Band transforms of what a user gives, and of a saved state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from hsi_diffusion.errors import CheckpointError
from hsi_diffusion.parts import build_part, by_name
from hsi_diffusion.patches.transforms.base import BandTransform
from hsi_diffusion.patches.transforms.mnf import MNF
from hsi_diffusion.patches.transforms.pca import PCA
from hsi_diffusion.patches.transforms.scaling import Identity, MinMax, Standardise
from hsi_diffusion.patches.transforms.superpixels import RelevantComponents

TRANSFORMS: dict[str, type[BandTransform]] = by_name(
    Identity, MinMax, Standardise, PCA, MNF, RelevantComponents
)
"""The library's own transforms by their names."""

if TYPE_CHECKING:
    TransformPart = Callable[[], BandTransform] | BandTransform | str | Mapping[str, Any]
else:  # what a command line offers: its parser knows names and class paths by itself
    TransformPart = Callable[[], BandTransform] | BandTransform


def build_transform(transform: TransformPart) -> BandTransform:
    """Make a band transform of what a user gave.

    Args:
        transform: A transform, of which a copy is made unless it is fitted; a class or function
            that makes one; the name of one of :data:`TRANSFORMS`; or
            ``{"class_path": "MNF", "init_args": {"components": 24}}``.

    Returns:
        The transform, unfitted unless it was given fitted.

    Raises:
        ConfigurationError: It is none of these, or a setting is outside what is allowed.
    """
    made: BandTransform = build_part(
        transform,
        BandTransform,  # type: ignore[type-abstract]  # what it must be, not what is made
        TRANSFORMS,
        "transform",
    )
    return copy.deepcopy(made) if made is transform and not made.fitted else made


def transform_from_state(state: Mapping[str, Any]) -> BandTransform:
    """The fitted transform that :meth:`BandTransform.state_dict` gave.

    Args:
        state: The state, as it was or as ``torch.load(weights_only=True)`` gives it back.

    Returns:
        A transform that does the same as the one that was saved.

    Raises:
        CheckpointError: ``state`` is not that of a transform, or of one whose class is not defined.
    """
    classes = [BandTransform]
    for one in classes:  # grows; a user's own are among them as soon as they are defined
        classes += one.__subclasses__()
    # the library's own come last, so that no other class takes their names
    classes += TRANSFORMS.values()
    known = {one.name: one for one in classes if hasattr(one, "name")}
    if (name := state.get("name")) not in known:
        raise CheckpointError(
            f"the state of a transform must hold a name out of {', '.join(map(repr, known))}, "
            f"got {name!r}; a class of your own has to be imported before"
        )
    return known[name].from_state(state)
