"""Dataclasses out of plain data, with errors that name the setting and what is allowed."""

from __future__ import annotations

import dataclasses
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_names

Settings = TypeVar("Settings")


def from_plain(kind: type[Settings], value: Any, path: str = "") -> Settings:
    """Build a settings dataclass from mappings, lists, numbers and strings.

    Args:
        kind: The dataclass; its fields may be dataclasses, tuples of one type, dicts, literals,
            numbers, strings, and any of these or None.
        value: The mapping.
        path: Where in the whole configuration it stands, for messages.

    Raises:
        ConfigurationError: A key is unknown or a value has the wrong type.
    """
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path or 'settings'} must be a mapping, got {value!r}")
    prefix = f"{path}." if path else ""
    hints = get_type_hints(kind)
    check_names(value, sorted(hints), path)
    return kind(**{key: _convert(hints[key], item, prefix + key) for key, item in value.items()})


def to_plain(settings: object) -> dict[str, Any]:
    """The mapping that :func:`from_plain` takes: dicts, lists, numbers, strings, None."""
    data = dataclasses.asdict(settings)  # type: ignore[call-overload]  # any dataclass will do
    return cast("dict[str, Any]", _lists_for_tuples(data))


def changed(settings: object) -> dict[str, Any]:
    """What of settings differs from the defaults, as plain data.

    It stays the same when later versions have further settings, so that a digest of it does too.
    """
    found = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]  # any dataclass will do
        value = getattr(settings, field.name)
        if value == _default(field):
            continue
        inner = dataclasses.is_dataclass(value)
        found[field.name] = changed(value) if inner else _lists_for_tuples(_plain(value))
    return found


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    """A value with the dataclasses inside of tuples as plain data."""
    if isinstance(value, tuple):
        return [changed(item) if dataclasses.is_dataclass(item) else item for item in value]
    return value


def _convert(kind: Any, value: Any, path: str) -> Any:
    """``value`` as the annotation ``kind`` of a field wants it."""
    if dataclasses.is_dataclass(kind):
        return from_plain(cast("type[Any]", kind), value, path)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        (inner,) = (choice for choice in get_args(kind) if choice is not NoneType)
        return None if value is None else _convert(inner, value, path)
    if origin is Literal:
        if value not in get_args(kind):
            allowed = ", ".join(map(str, get_args(kind)))
            raise ConfigurationError(f"{path} must be one of {allowed}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigurationError(f"{path} must be a list, got {value!r}")
        return tuple(_convert(get_args(kind)[0], item, path) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigurationError(f"{path} must be a mapping, got {value!r}")
        return value
    return _convert_scalar(kind, value, path)


def _convert_scalar(kind: type[Any], value: Any, path: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is str and number:
        return str(value)  # YAML reads the splits 0.1 and 10 as numbers
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigurationError(f"{path} must be of type {kind.__name__}, got {value!r}")
    return value


def _lists_for_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists_for_tuples(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists_for_tuples(item) for item in value]
    return value
