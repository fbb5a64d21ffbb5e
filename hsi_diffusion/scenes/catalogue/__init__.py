"""The scenes that the library knows, one frozen value each."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.catalogue.houston2013 import HOUSTON2013
from hsi_diffusion.scenes.catalogue.indian_pines import INDIAN_PINES
from hsi_diffusion.scenes.catalogue.pavia_university import PAVIA_UNIVERSITY
from hsi_diffusion.scenes.catalogue.salinas import SALINAS
from hsi_diffusion.scenes.catalogue.salinas_a import SALINAS_A

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hsi_diffusion.scenes.info import SceneInfo

CATALOGUE: Final[Mapping[str, SceneInfo]] = MappingProxyType(
    {info.name: info for info in (INDIAN_PINES, PAVIA_UNIVERSITY, SALINAS, SALINAS_A, HOUSTON2013)}
)
"""Facts of each known scene by its short name; read-only."""


def scene_info(name: str) -> SceneInfo:
    """Facts of a known scene.

    Args:
        name: Short name, such as ``"indian_pines"``.

    Raises:
        SceneError: If the catalogue has no such scene.
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise SceneError(
            f"scene must be one of {', '.join(CATALOGUE)}, got {name!r}; "
            f"for a scene of your own use load_custom_scene"
        ) from None


__all__ = [
    "CATALOGUE",
    "HOUSTON2013",
    "INDIAN_PINES",
    "PAVIA_UNIVERSITY",
    "SALINAS",
    "SALINAS_A",
    "scene_info",
]
