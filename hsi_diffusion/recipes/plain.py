"""Typed settings out of plain data and command lines, and back.

jsonargparse reads the types, converts, and finds what is wrong; here its results become plain
Python (``functools.partial`` of a class for a part), and its messages sentences that name the
argument, the value and what is allowed.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from yaml import YAMLError

from hsi_diffusion.denoisers import DENOISERS
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import NETWORKS
from hsi_diffusion.options import check_names
from hsi_diffusion.patches import TRANSFORMS
from hsi_diffusion.recipes.reading import merge, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

Settings = TypeVar("Settings")


def settings_parser(kind: type[Any], **options: Any) -> ArgumentParser:
    """A parser with a flag for every setting of a dataclass, those of its sections included.

    Args:
        kind: The dataclass.
        **options: Further arguments of the parser.
    """
    parser = ArgumentParser(exit_on_error=False, **options)
    parser.add_class_arguments(kind, None)
    return parser


@functools.cache
def _plain_parser(kind: type[Any]) -> ArgumentParser:
    return settings_parser(kind)


def from_plain(kind: type[Settings], plain: Mapping[str, Any]) -> Settings:
    """Build settings from mappings, lists, numbers and strings.

    Args:
        kind: The dataclass.
        plain: Plain data; a part is ``{class_path, init_args}``, the name of a class, or an object
            or a class, which are taken as they are.

    Raises:
        ConfigurationError: A setting is unknown, or a value has the wrong type.
    """
    _check_names(kind, plain)
    parser = _plain_parser(cast("Any", kind))
    try:
        # without the parser's defaults: a part of another class would inherit their arguments
        made = parser.instantiate(parser.parse_object(_typed(kind, plain), defaults=False))
    except ArgumentError as error:
        raise ConfigurationError(readable(error)) from error
    return cast("Settings", _only_given(kind, made, plain))


TEXTS = str | tuple[str, ...] | None
"""Type of settings that may be given several times."""

FREE = dict[str, Any]
"""Type of mappings that are read later, such as the changes that a benchmark makes."""


def _typed(hint: Any, plain: Any) -> Any:
    """A copy of what the parser reads: it would make the parts that free mappings name."""
    if hint == FREE and isinstance(plain, Mapping):
        return {}
    if isinstance(plain, Mapping):
        hints = get_type_hints(hint) if dataclasses.is_dataclass(hint) else {}
        return {
            name: _typed(hints.get(str(name)), value)
            for name, value in plain.items()
            if not _is_ready(hints.get(str(name)), value)
        }
    if isinstance(plain, list | tuple):
        inner = next(iter(get_args(hint)), None)
        return type(plain)(_typed(inner, value) for value in plain)
    return plain


def _is_ready(hint: Any, value: Any) -> bool:
    """Whether this is a part already, an object or what makes one, and no plain data of it."""
    takes_part = any(get_origin(one) is Callable for one in (hint, *get_args(hint)))
    return takes_part and not isinstance(value, str | int | float | Mapping | list | tuple | None)


def _only_given(hint: Any, made: Any, plain: Any, usual: Any = None) -> Any:
    """A value that the parser made, with the dataclasses in it made of what was given alone.

    The parser fills the rest of a section with the defaults of its class, where the section above
    may have another one.
    """
    if hint == FREE:
        return plain
    kind = type(made) if dataclasses.is_dataclass(made) else hint
    if dataclasses.is_dataclass(kind) and isinstance(plain, Mapping):
        hints = get_type_hints(kind)
        defaults = {field.name: _default(field) for field in dataclasses.fields(kind)}
        values = {
            name: value
            if _is_ready(hints[name], value)
            else _only_given(hints[name], getattr(made, name), value, defaults[name])
            for name, value in plain.items()
        }
        if isinstance(usual, cast("type[Any]", kind)):
            return dataclasses.replace(usual, **values)
        return cast("Callable[..., Any]", kind)(**values)
    if isinstance(made, list | tuple) and isinstance(plain, list | tuple):
        pairs = zip(made, plain, strict=True)
        return type(made)(_only_given(None, one, given) for one, given in pairs)
    return tidy(made)


def from_flags(kind: type[Any], arguments: Sequence[str]) -> dict[str, Any]:
    """The plain settings that a command line means.

    Args:
        kind: The dataclass; its text settings take a value as it is, all others as YAML. One that
            takes several texts is given several times.
        arguments: ``--pretrain.steps 500`` or ``--pretrain.steps=500``, any number of times;
            ``--download`` alone means true.

    Raises:
        ConfigurationError: An argument is no flag, has no value, or a value is not valid YAML.

    Example:
        >>> from hsi_diffusion.recipes import Recipe
        >>> from_flags(Recipe, ["--pretrain.steps", "500", "--features.levels=[1, 2]"])
        {'pretrain': {'steps': 500}, 'features': {'levels': [1, 2]}}
    """
    plain: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if not flag.startswith("--"):
            raise ConfigurationError(f"settings are flags such as --pretrain.steps 500, got {flag}")
        name = flag[2:].replace("-", "_")
        hint = _hint(kind, name.split("."))
        if not equals:
            alone = not rest or rest[0].startswith("--")
            if alone and hint is not bool:
                raise ConfigurationError(f"{flag} needs a value")
            value = "true" if alone else rest.pop(0)
        change: Any = value if hint in (str, str | None, TEXTS) else _yaml(name, value)
        if hint == TEXTS and (before := plain.get(name)) is not None:
            change = [*([before] if isinstance(before, str) else before), value]
        for part in reversed(name.split(".")):
            change = {part: change}
        plain = merge(plain, change)
    return plain


def _check_names(hint: Any, plain: Any, where: str = "") -> None:
    """Refuse what the parser would pass over, or say less of: unknown names, null, no mapping."""
    if not isinstance(plain, Mapping):
        raise ConfigurationError(f"{where} must be a mapping of settings, got {plain!r}")
    hints = get_type_hints(hint)
    check_names(plain, sorted(hints), where)
    for name, value in plain.items():
        inner, wanted = f"{where}.{name}" if where else name, hints[name]
        parts = get_args(wanted)
        if dataclasses.is_dataclass(wanted):
            _check_names(wanted, value, inner)
        elif value is None and NoneType not in parts:
            raise ConfigurationError(f"{inner} needs a value, got null")
        elif isinstance(value, list | tuple) and any(map(dataclasses.is_dataclass, parts)):
            for number, item in enumerate(value):
                _check_names(parts[0], item, f"{inner}[{number}]")


def _hint(kind: Any, names: Sequence[str]) -> Any:
    """The type of a setting by its dotted name; None where it is inside a part, or unknown."""
    if not dataclasses.is_dataclass(kind):
        return None
    hint = get_type_hints(kind).get(names[0])
    return _hint(hint, names[1:]) if len(names) > 1 else hint


def _yaml(name: str, value: str) -> Any:
    try:
        return parse_yaml(value)
    except YAMLError as error:
        raise ConfigurationError(
            f"{name} must be valid YAML, such as 3, 0.5, name or '[1, 2]', got {value!r}"
        ) from error


def tidy(value: Any) -> Any:
    """A value as people write it: a class or a partial of it for a part, tuples for lists."""
    if isinstance(value, functools.partial):
        part = next((arg for arg in reversed(value.args) if isinstance(arg, type)), value.func)
        known = inspect.signature(part).parameters
        options = {
            name: tidy(item)
            for name, item in value.keywords.items()
            if name not in known or not _same(item, known[name].default)
        }
        return functools.partial(part, **options) if options else part
    if isinstance(value, Namespace):
        return {name: tidy(item) for name, item in vars(value).items()}
    if isinstance(value, tuple | list):
        return type(value)(tidy(item) for item in value)
    return value


def to_plain(settings: object, *, changed: bool = False) -> dict[str, Any]:
    """The mapping that :func:`from_plain` takes: dicts, lists, numbers, strings, None.

    Args:
        settings: A dataclass.
        changed: Only what differs from the defaults. It stays the same when later versions have
            further settings, so that a digest of it does too.
    """
    found = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]  # any dataclass will do
        value = getattr(settings, field.name)
        if changed and _same(value, _default(field)):
            continue
        found[field.name] = _plain(value, changed)
    return found


def readable(error: Exception) -> str:
    """A message of jsonargparse as one sentence: argument, value, what is allowed."""
    text = " ".join(str(error).split())
    keys = re.findall(r'Parser key "([^"]+)":', text)
    where = ".".join(key for number, key in enumerate(keys) if key not in keys[:number])
    detail = text.rpartition(f'Parser key "{keys[-1]}": ')[2] if keys else text
    given = re.search(
        r"(?:Got|Given) value: (.*?)\.?(?: (?:Got|Given) value: .*| - Expected .*)?$", detail
    )
    given = given or re.search(r"Expected a dot import path string: (\S+)", detail)
    got = f", got {_shown(given[1])}" if given else ""
    if match := re.search(r"Option '([\w.]+)' is not accepted.*?class_path='([\w.]+)'", detail):
        if match[1] == "class_path":
            return f"{where} must look like {{class_path: NAME, init_args: {{...}}}}"
        return f"unknown setting {where}.{match[1]}; allowed are {_options(match[2])}"
    if match := re.search(r"the following arguments are required: ([\w, ]+?)(?: - |$)", detail):
        return (
            f"{where} needs {match[1]}, which has no default: give it as {{class_path: NAME, "
            f"init_args: {{{match[1].partition(',')[0]}: VALUE}}}}"
        )
    if match := re.search(r"Parameter '(\w+)' from '([\w.]+)\.__init__' does not specify", detail):
        if match[2].startswith("sklearn."):  # as pipelines and searches
            return (
                f"{where}: {match[1]} of {match[2]} can't be given as plain data: name a function "
                "of yours that makes one, such as my_package.make for def make() -> "
                f"{match[2].rpartition('.')[2]}: ..., or give the object in Python"
            )
        return (
            f"{where}: {match[1]} of {match[2]} needs a default or a type, such as {match[1]}: int"
        )
    failed = r"(No module named '\S+'|module '\S+' has no attribute '\S+'|cannot import name '\S+')"
    if match := re.search(failed, detail):
        why = f"can't be imported{got}: {match[1]}"
        return f"{where} {why}; give {_known(where)}, in this folder or on PYTHONPATH"
    if match := re.search(r"Expected '(\S+)' to be a subclass of <class '(\w+)'>", detail):
        return f"{where} must be a {_KINDS.get(match[2], match[2])}, got {match[1]}"
    if match := re.search(r"Expected '(\S+)' to be a function that returns <class '(\w+)", detail):
        return (
            f"{where} must be a class, or a function that is annotated to return a "
            f"{_KINDS.get(match[2], match[2])}, got {match[1]}"
        )
    if re.search(r"import path|[Uu]nexpected import", detail):
        return f"{where} must be {_known(where)}{got}"
    if match := re.search(r"Expected a typing\.Literal\[(.*?)\]", detail):
        return f"{where} must be one of {match[1].replace(chr(39), '')}{got}"
    head = re.split(r"(?:Got|Given) value", detail)[0]
    if types := dict.fromkeys(re.findall(r"Expected an? <class '(?:[\w.]+\.)?(\w+)'>", head)):
        wanted = [_TYPES.get(one, one) for one in types]
        hint = " (a list looks like '[a, b]')" if "list" in wanted and "," in got else ""
        return f"{where} must be of type {' or '.join(wanted)}{got}{hint}"
    return f"{where}: {detail}" if where else detail


_KINDS = {"Module": "torch.nn.Module"} | dict.fromkeys(
    ("BaseEstimator", "ClassifierMixin"), "scikit-learn classifier"
)
"""What people call the base classes of parts."""

_TYPES = {"NoneType": "null", "tuple": "list", "Sequence": "list", "dict": "mapping"}
"""What YAML calls Python's types."""


def _shown(text: str) -> str:
    """A value in a message, as Python writes it."""
    try:
        return repr(parse_yaml(text))
    except YAMLError:
        return repr(text)


def _options(path: str) -> str:
    """The options of a class that was imported, those with defaults."""
    module, _, name = path.rpartition(".")
    parameters = inspect.signature(getattr(sys.modules[module], name)).parameters.values()
    options = [one.name for one in parameters if one.default is not one.empty]
    return ", ".join(options) or "none"


def _known(where: str) -> str:
    """What may stand at a setting that takes a part."""
    tables: dict[str, Iterable[str]] = {
        "denoiser": DENOISERS,
        "network": NETWORKS,
        "transform": TRANSFORMS,
    }
    own, name = "the path of a class, such as my_package.MyClass", where.rpartition(".")[2]
    if name in ("losses", "augmentation"):
        return "a number for each, or the path of a function, such as my_package.my_function"
    found = tables.get(name)
    return own if found is None else f"one of {', '.join(found)}, or {own}"


def _plain(value: Any, changed: bool) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_plain(value, changed=changed)
    if isinstance(value, list | tuple):
        return [_plain(item, changed) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, changed) for key, item in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    maker = value.func if isinstance(value, functools.partial) else value
    options = value.keywords if isinstance(value, functools.partial) else {}
    if not hasattr(maker, "__qualname__"):  # an object that was made before
        maker, options = type(value), getattr(value, "init_args", {})
        if hasattr(value, "get_params"):  # as scikit-learn has it
            options = value.get_params(deep=False)
    path = f"{maker.__module__}.{maker.__qualname__}"
    if path.startswith("hsi_diffusion."):
        path = maker.__qualname__
    if not isinstance(maker, type) and not options:  # a class_path that is a function is called
        return path
    return {
        "class_path": path,
        "init_args": {key: _plain(item, changed) for key, item in options.items()},
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, functools.partial) and isinstance(default, functools.partial):
        return value.func is default.func and value.keywords == default.keywords
    if isinstance(value, list | tuple) and isinstance(default, list | tuple):
        return list(value) == list(default)
    return bool(value == default)
