"""Plain settings from files and command lines, laid over each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY = "any"
"""Name of a file that stands for all presets which a method has no file of."""

HANDFUL = 30
"""Pixels per class up to which a preset's ``few_shot`` section applies.

The largest of the field's few-shot protocols, which take 5 to 30: with hundreds of each class a
split is like one by fraction, and wants what the preset has for all."""


def read_preset(configs: Path, method: str, preset: str) -> dict[str, Any]:
    """Read a preset of a method: ``CONFIGS/METHOD/PRESET.yaml``, or ``any.yaml`` beside it.

    A file may name another method as its ``base``: that method's preset of the same name, over
    which it is laid.

    Args:
        configs: Folder with a folder per method.
        method: Name of the method.
        preset: Name of the preset.

    Returns:
        Plain data, for :func:`preset_for`, with the names of method and preset.

    Raises:
        ConfigurationError: There is no such method, it has no such preset, or a method is its own
            base.
    """
    return {"method": method, "preset": preset, **_based(configs, method, preset, ())}


def _based(configs: Path, method: str, preset: str, above: tuple[str, ...]) -> dict[str, Any]:
    """A preset laid over its base, that of the methods ``above``."""
    if method in above:
        raise ConfigurationError(
            f"a method can't be its own base, got {' -> '.join((*above, method))} in {configs}"
        )
    plain = read_yaml(_preset_file(configs, method, preset))
    base = plain.pop("base", None)
    if base is None:
        return plain
    return merge(_based(configs, str(base), preset, (*above, method)), plain)


def _preset_file(configs: Path, method: str, preset: str) -> Path:
    """Where a preset stands."""
    methods = sorted(folder.name for folder in configs.iterdir() if folder.is_dir())
    if method not in methods:
        raise ConfigurationError(f"method must be one of {', '.join(methods)}, got {method!r}")
    if preset not in PRESETS:
        raise ConfigurationError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    file = configs / method / f"{preset}.yaml"
    if not file.is_file():
        file = configs / method / f"{ANY}.yaml"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in (configs / method).glob("*.yaml")))
        raise ConfigurationError(f"preset of {method} must be one of {there}, got {preset!r}")
    return file


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
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{path} must hold a mapping of settings, got {type(data).__name__}"
        )
    return data


class _Loader(yaml.SafeLoader):
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


def parse_assignment(text: str) -> dict[str, Any]:
    """The change of settings that KEY=VALUE means: dots lead into sections, the value is YAML.

    Example:
        >>> parse_assignment("pretrain.steps=500")
        {'pretrain': {'steps': 500}}

    Raises:
        ConfigurationError: The text is no such assignment.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"--set must look like KEY=VALUE, got {text!r}")
    try:
        change: Any = parse_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigurationError(
            f"--set {key}: the value must be valid YAML, such as 3, 0.5, name or '[1, 2]', "
            f"got {value!r}"
        ) from error
    for part in reversed(key.split(".")):
        change = {part: change}
    plain: dict[str, Any] = change
    return plain


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, mappings within mappings key by key."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = merge(old, value) if both and old is not None else value
    return merged


def preset_for(preset: Mapping[str, Any], *, scene: str, split: str) -> dict[str, Any]:
    """A preset with what it changes for one scene, and for a handful of labels.

    Args:
        preset: Plain data of a preset: settings; under ``scenes``, changes by the name of a scene;
            under ``few_shot``, changes for splits of so many pixels per class, up to
            :data:`HANDFUL`.
        scene: Name of the scene.
        split: Kind of the split, such as ``"0.1"`` or ``"10"``.
    """
    base = {key: value for key, value in preset.items() if key not in ("scenes", "few_shot")}
    base = merge(base, (preset.get("scenes") or {}).get(scene, {}))
    few = split.isdecimal() and int(split) <= HANDFUL
    return merge(base, preset.get("few_shot") or {}) if few else base
