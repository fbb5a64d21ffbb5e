"""Recipes by method and preset, which lie as YAML files beside this module."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_choice
from hsi_diffusion.types import DISJOINT

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS = ("quick", "cpu", "paper")
"""Names of presets: a first look, a CPU, and what papers do on graphics cards."""

FOLDER = Path(__file__).resolve().parent / "presets"
"""A folder per method, with a file per preset, or ``any.yaml`` for all that have none."""

HANDFUL = 30
"""Pixels per class up to which a preset's ``few_shot`` section applies.

The largest of the field's few-shot protocols, which take 5 to 30: with hundreds of each class a
split is like one by fraction, and wants what the preset has for all."""

SECTIONS = ("scenes", "few_shot", "disjoint")
"""The parts of a preset that apply to single scenes and kinds of splits, see :func:`preset_for`."""

Location = str | Path
"""Name of a method of the library, or path of a folder of the user's with files like them."""


def methods() -> tuple[str, ...]:
    """Names of the methods and baselines of the library."""
    return tuple(sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir()))


def read_preset(method: Location, preset: str) -> dict[str, Any]:
    """Read a preset of a method.

    A file may name another method as its ``base``: that method's preset of the same name, over
    which it is laid.

    Args:
        method: Name of a method, or a folder with presets of your own.
        preset: Name of the preset.

    Returns:
        Plain data, for :func:`preset_for`.

    Raises:
        ConfigurationError: There is no such method, it has no such preset, or a method is its own
            base.
    """
    return _based(method, preset, ())


def preset_for(preset: Mapping[str, Any], *, scene: str, split: str) -> dict[str, Any]:
    """A preset with what it changes for one scene, and for one kind of split.

    Args:
        preset: Plain data of a preset: settings; under ``scenes``, changes by the name of a scene;
            under ``few_shot``, changes for splits of so many pixels per class, up to
            :data:`HANDFUL`; under ``disjoint``, changes for splits whose test lies apart from the
            labels, see :data:`~hsi_diffusion.types.DISJOINT`.
        scene: Name of the scene.
        split: Kind of the split, such as ``"0.1"``, ``"10"`` or ``"fields"``, see
            :func:`~hsi_diffusion.patches.kind_of`.
    """
    base = {key: value for key, value in preset.items() if key not in SECTIONS}
    base = merge(base, (preset.get("scenes") or {}).get(scene, {}))
    if split.isdecimal() and int(split) <= HANDFUL:
        return merge(base, preset.get("few_shot") or {})
    return merge(base, preset.get("disjoint") or {}) if split in DISJOINT else base


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, mappings within mappings key by key.

    A part that names its class (``class_path``) takes the place of the one before, arguments and
    all; other keys that are laid over a part are its arguments.

    Example:
        >>> merge({"denoiser": "UNet2D"}, {"denoiser": {"channels": 32}})
        {'denoiser': {'class_path': 'UNet2D', 'init_args': {'channels': 32}}}
    """
    return dict(base) | {key: _laid_over(base.get(key), value) for key, value in changes.items()}


def _laid_over(old: Any, new: Any) -> Any:
    """One setting of :func:`merge`."""
    if not isinstance(new, dict) or not isinstance(old, dict | str) or "class_path" in new:
        return new
    part = {"class_path": old} if isinstance(old, str) else old
    if "class_path" in part and "init_args" not in new:
        new = {"init_args": new}
    return merge(part, new)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        ConfigurationError: The file is missing, is no YAML, or holds something else.
    """
    path = Path(path)
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no configuration file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} can't be read as a configuration file ({error}); give the config.yaml of a run"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path} is nested too deeply for settings") from error
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{path} must hold a mapping of settings, got {type(data).__name__}"
        )
    return data


# libyaml's is eight times as fast, where it was at hand when PyYAML was built
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.1 takes 1e-3 for a text, and wants 1.0e-3; people write the former."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """What a YAML text means, with 1e-3 as a number.

    Raises:
        yaml.YAMLError: The text is not valid.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _based(method: Location, preset: str, above: tuple[str, ...]) -> dict[str, Any]:
    """A preset laid over its base, that of the methods ``above``."""
    if str(method) in above:
        chain = " -> ".join((*above, str(method)))
        raise ConfigurationError(f"a method can't be its own base, got {chain}")
    plain = read_yaml(preset_file(method, preset))
    base = plain.pop("base", None)
    if base is None:
        return plain
    return merge(_based(str(base), preset, (*above, str(method))), plain)


def preset_file(method: Location, preset: str) -> Path:
    """Where a preset stands.

    Raises:
        ConfigurationError: There is no such method, or it has no such preset.
    """
    folder = FOLDER / method if str(method) in methods() else Path(method)
    if not folder.is_dir():
        raise ConfigurationError(
            f"method must be one of {', '.join(methods())}, or a folder with recipes of your own, "
            f"got {str(method)!r}"
        )
    check_choice(PRESETS, preset=preset)
    for file in (folder / f"{preset}.yaml", folder / "any.yaml"):
        if file.is_file():
            return file
    there = ", ".join(sorted(path.stem for path in folder.glob("*.yaml"))) or "none"
    raise ConfigurationError(f"preset of {method} must be one of {there}, got {preset!r}")
