"""The scenes that are known by name, one frozen value each.

Every module of this folder holds one scene as ``SCENE``, and is found by itself: a scene is added
by adding its file. :func:`register_scene` adds a scene at run time.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hsi_diffusion.errors import SceneError
from hsi_diffusion.scenes.info import SceneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

RESERVED: Final = ("custom", "simulated")
"""Names that mean a scene of your own files, and a simulated one."""

_scenes: Final[dict[str, SceneInfo]] = {}

CATALOGUE: Final[Mapping[str, SceneInfo]] = MappingProxyType(_scenes)
"""Facts of each known scene by its short name; a read-only view that shows registered ones."""


def register_scene(info: SceneInfo, *, replace: bool = False) -> None:
    """Make a scene known by its short name, in this process.

    Args:
        info: The scene's facts.
        replace: Whether they replace other facts under the same name. The same
            facts may be registered again.

    Raises:
        SceneError: If the name can't be one, or belongs to other facts.
    """
    if not info.name.isidentifier() or info.name != info.name.lower() or info.name in RESERVED:
        raise SceneError(
            f"name of a scene must be lower-case letters, digits and underscores, beginning with "
            f"a letter, and none of {', '.join(RESERVED)}, got {info.name!r}"
        )
    if not replace and _scenes.get(info.name, info) != info:
        raise SceneError(
            f"name must not be that of a known scene, got {info.name!r}; choose another name, or "
            f"give replace=True to replace the known ones"
        )
    _scenes[info.name] = info


def scene_info(scene: str | SceneInfo) -> SceneInfo:
    """Facts of a known scene.

    Args:
        scene: Short name, such as ``"indian_pines"``. Facts are returned as they are.

    Raises:
        SceneError: If no scene of this name is known.
    """
    if isinstance(scene, SceneInfo):
        return scene
    if scene not in _scenes:
        raise SceneError(
            f"scene must be one of {', '.join(CATALOGUE)}, got {scene!r}; for a scene of your own "
            f"use load_custom_scene, or give its facts to register_scene"
        )
    return _scenes[scene]


for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        register_scene(import_module(f"{__name__}.{_module.name}").SCENE)
