"""Parts that a user may put in: an object, a class or function that makes one, or plain data.

Plain data names the library's own classes only, and nothing here imports a module: so a checkpoint,
whose hyperparameters are plain data, can't have code imported or run. A class of the user's comes
as an object in Python, or in YAML as ``class_path``, which the program's parser resolves.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeVar

from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.options import check_options

Part = TypeVar("Part")

Plain = str | Mapping[str, Any]
"""A class by its name, ``"UNet2D"``, or ``{"class_path": "UNet2D", "init_args": {...}}``."""

FOREIGN = "foreign_class"
"""Key of the plain data that stands for an object of a class that is not the library's."""


class Recorded:
    """Base of the classes that know the arguments that they were made with.

    Attributes:
        init_args: The arguments of the constructor that were given, by name; empty for none.
    """

    init_args: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the object, and note what it is made with."""
        made = super().__new__(cls)
        noted: dict[str, Any] = {}
        if args or kwargs:  # copying makes an empty object and fills it afterwards
            signature = inspect.signature(cls.__init__)
            try:
                _, *bound = signature.bind(made, *args, **kwargs).arguments.items()
            except TypeError:  # wrong arguments are refused by __init__, in its own words
                return made
            for name, value in bound:
                extra = signature.parameters[name].kind == inspect.Parameter.VAR_KEYWORD
                noted |= value if extra else {name: value}
        object.__setattr__(made, "init_args", noted)
        return made


def build_part(
    part: object,
    kind: type[Part],
    known: Mapping[str, Callable[..., Part]],
    where: str,
    *given: Any,
    optional: Mapping[str, Any] | None = None,
) -> Part:
    """Make a part of what a user gave for it.

    Args:
        part: An object of ``kind``, used as it is; a class or function that gives one; or plain
            data that names one of ``known``.
        kind: What it must be in the end.
        known: The library's own classes by their names.
        where: The argument that holds it, for messages.
        *given: The first arguments of the constructor, such as the number of bands.
        optional: Further ones by name, for constructors that take them.

    Returns:
        The part.

    Raises:
        ConfigurationError: It is none of these, names an unknown class or option, lacks an
            argument, or what was made is no ``kind``.
    """
    if isinstance(part, kind) and not isinstance(part, type):
        return part
    options: dict[str, Any] = {}
    maker: Any = _unwrapped(part)
    if isinstance(part, str | Mapping):
        name, options = _read(part, where)
        maker = _find(name, known, where)
        taken = list(inspect.signature(maker).parameters)[: len(given)]
        for key, value in zip(taken, given, strict=False):
            if (noted := options.pop(key, value)) != value:
                raise ConfigurationError(f"{where}.{key} must be {value} here, got {noted}")
        check_options(maker, options, where, given=taken)
    if not callable(maker):
        raise ConfigurationError(
            f"{where} must be a {kind.__name__}, a class or function that makes one, or one of "
            f"{', '.join(known)}, got {part!r}"
        )
    signature = inspect.signature(maker)
    # what a user has bound; jsonargparse binds every argument, also those left at their defaults
    bound = part.keywords if isinstance(part, functools.partial) and maker is part else {}
    options = {
        name: value
        for name, value in (optional or {}).items()
        if name in signature.parameters and name not in bound
    } | options
    try:
        signature.bind(*given, **options)
    except TypeError as error:
        raise ConfigurationError(
            f"{where}: {_name(maker)} can't be called with {len(given)} arguments: {error}; give "
            "it further ones by functools.partial(..., NAME=VALUE), or in YAML by {class_path: "
            "..., init_args: {NAME: VALUE}}"
        ) from error
    made = maker(*given, **options)
    if not isinstance(made, kind):
        raise ConfigurationError(
            f"{where} must make a {kind.__name__}, but gave a {type(made).__name__}"
        )
    return made


def plain_part(part: object, known: Mapping[str, Callable[..., Any]], **given: object) -> Any:
    """Plain data from which :func:`build_part` makes the same part again.

    Args:
        part: What a user gave.
        known: The library's own classes by their names.
        **given: Arguments that :func:`build_part` will be given; left out where they are the same.

    Returns:
        ``{"class_path": ..., "init_args": ...}`` for parts of the library;
        ``{"foreign_class": "package.Name"}``, which :func:`build_part` refuses with what to do, for
        others, with their ``init_args`` where these are known; None for None.
    """
    if part is None:
        return None
    if isinstance(part, str | Mapping):
        name, options = _read(part, "part")
        return {"class_path": name.rpartition(".")[2], "init_args": dict(options)}
    part = _unwrapped(part)
    maker: Any = part.func if isinstance(part, functools.partial) else part
    options = dict(part.keywords) if isinstance(part, functools.partial) else {}
    if not isinstance(maker, type) and not inspect.isroutine(maker):
        options, maker = dict(getattr(part, "init_args", {})), type(part)
    name = _name(maker)
    if known.get(name) is not maker:
        foreign = {FOREIGN: f"{getattr(maker, '__module__', '')}.{name}"}
        recorded = isinstance(maker, type) and issubclass(maker, Recorded)
        return foreign | ({"init_args": _all_options(maker, options, given)} if recorded else {})
    kept = {key: item for key, item in options.items() if key not in given or given[key] != item}
    return {"class_path": name, "init_args": {key: _plain(item) for key, item in kept.items()}}


def plain_values(given: object) -> Any:
    """Plain data of a mapping of numbers and callables, such as losses; or of one callable.

    Args:
        given: The mapping, a callable or None.

    Returns:
        The same, with what :func:`plain_part` makes of each callable in its place.
    """
    if isinstance(given, Mapping):
        return {name: plain_values(one) for name, one in given.items()}
    return plain_part(given, {}) if callable(given) else given


def check_functions(given: Mapping[str, Any], where: str, call: str) -> None:
    """Refuse objects among numbers and functions: a file can't name the arguments of an object.

    Args:
        given: Numbers and functions by name.
        where: The setting that holds them, for the message.
        call: How the functions are called.

    Raises:
        ConfigurationError: A value is neither a number nor a function, or it is no mapping.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"{where} must be a mapping of names to numbers and functions {call}, got {given!r}"
        )
    for name, one in given.items():
        if not isinstance(one, int | float) and not inspect.isroutine(one):
            raise ConfigurationError(
                f"{where}.{name} must be a number or a function {call}, which a file can name, got "
                f"{one!r}; call the object in a function"
            )


def check_same_options(
    given: Any, stored: Any, where: str, known: Mapping[str, Callable[..., Any]] | None = None
) -> None:
    """Refuse a part whose weights would fit, but that was made with other arguments.

    Args:
        given: What :func:`plain_part` makes of it.
        stored: Likewise of the part that was saved.
        where: The argument that holds it, for messages.
        known: The library's own classes by their names: an argument that was not given has their
            default. None: only arguments that both were given are compared.

    Raises:
        CheckpointError: An argument differs, or one class of the library is not the other.
    """
    kinds = [one.get("class_path") for one in (given, stored)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise CheckpointError(
            f"the saved weights are not those of this {where}: they are of a {kinds[1]}, got a "
            f"{kinds[0]}; give the one that was saved, {where}=..."
        )
    now, then = (
        _usual((known or {}).get(one.get("class_path")))
        | {name: _plain(value) for name, value in (one.get("init_args") or {}).items()}
        for one in (given, stored)
    )
    if differ := sorted(name for name in now.keys() & then.keys() if now[name] != then[name]):
        name = differ[0]
        raise CheckpointError(
            f"{where} must be made as the one that was saved, with {name}={then[name]!r}, got "
            f"{name}={now[name]!r}: give its init_args, or the object"
        )


def _all_options(maker: Any, options: dict[str, Any], given: dict[str, object]) -> dict[str, Any]:
    """What something is made with, defaults included, as far as a file can hold it."""
    every = _usual(maker) | options
    plain = {key: _plain(item) for key, item in every.items() if key not in given}
    simple = (str, int, float, bool, type(None))
    return {
        key: item
        for key, item in plain.items()
        if isinstance(item, simple)
        or (isinstance(item, list) and all(isinstance(one, simple) for one in item))
    }


def _usual(maker: Callable[..., Any] | None) -> dict[str, Any]:
    """Defaults of arguments, as plain data; none of None."""
    takes = {} if maker is None else inspect.signature(maker).parameters
    return {
        name: _plain(one.default) for name, one in takes.items() if one.default is not one.empty
    }


def by_name(*classes: type[Part]) -> dict[str, type[Part]]:
    """Classes by their names."""
    return {one.__name__: one for one in classes}


def refuse_foreign(part: Mapping[str, Any], where: str) -> None:
    """Refuse plain data that stands for an object of a class that is not the library's.

    Raises:
        ConfigurationError: It does; the message says what to give.
    """
    if FOREIGN in part:
        raise ConfigurationError(
            f"{where} was an object of class {part[FOREIGN]}, which is not the library's, so it "
            f"can't be made again from plain data: give the object, {where}=..."
        )


def _read(part: Plain, where: str) -> tuple[str, dict[str, Any]]:
    """Name and options of plain data."""
    if isinstance(part, str):
        return part, {}
    refuse_foreign(part, where)
    options = part.get("init_args") or {}
    if set(part) - {"class_path", "init_args"} or "class_path" not in part:
        raise ConfigurationError(
            f"{where} must look like {{class_path: NAME, init_args: {{...}}}}, got {dict(part)!r}"
        )
    return str(part["class_path"]), dict(options)


def _find(name: str, known: Mapping[str, Callable[..., Part]], where: str) -> Callable[..., Part]:
    """One of the library's own classes, also by its whole path."""
    package, _, short = name.rpartition(".")
    own = package == "" or package.split(".")[0] == __name__.split(".", maxsplit=1)[0]
    if not own or short not in known:
        raise ConfigurationError(
            f"{where} must be one of {', '.join(known)}, or an object of your own, got {name!r}"
        )
    return known[short]


def _unwrapped(part: object) -> object:
    """The class itself where jsonargparse gives a function of its own that makes one of it."""
    if not isinstance(part, functools.partial):
        return part
    classes = [one for one in part.args if isinstance(one, type)]
    if not classes or not str(getattr(part.func, "__module__", "")).startswith("jsonargparse"):
        return part
    return functools.partial(classes[0], **part.keywords)


def _name(maker: Any) -> str:
    made = maker.func if isinstance(maker, functools.partial) else maker
    return str(getattr(made, "__qualname__", repr(made)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
