"""Options that arrive by name, from a file or a command line, checked before anything is built."""

from __future__ import annotations

import difflib
import inspect
import math
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeVar, cast

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

Settings = TypeVar("Settings")

_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""*args and **kwargs: they would take any name, and so say nothing."""


def check_names(given: Iterable[object], allowed: Collection[str], where: str = "") -> None:
    """Refuse names that nothing knows.

    Args:
        given: The names in a mapping of settings.
        allowed: Those that mean something, in the order in which a message should list them.
        where: The setting that holds the mapping, such as ``"pretrain.module"``; "" = at the top.

    Raises:
        ConfigurationError: A name is not allowed.

    Example:
        >>> check_names(["depth", "stride"], ["heads", "depth"], "classifier_options")
        Traceback (most recent call last):
        hsi_diffusion.errors.ConfigurationError: unknown setting classifier_options.stride; \
allowed are heads, depth
    """
    prefix = f"{where}." if where else ""
    if unknown := sorted(map(str, set(given) - set(allowed))):
        names = ", ".join(f"{prefix}{name}" for name in unknown)
        near = difflib.get_close_matches(unknown[0], allowed, n=1)
        hint = f"; did you mean {prefix}{near[0]}?" if near else ""
        raise ConfigurationError(
            f"unknown setting {names}; allowed are {', '.join(allowed) or 'none'}{hint}"
        )


def check_at_least(least: int, /, **sizes: float) -> None:
    """Refuse sizes below ``least``, and what is no whole number.

    Args:
        least: The smallest size that is allowed.
        **sizes: Sizes by the names of their settings.

    Raises:
        ConfigurationError: A size is below ``least`` or no whole number; the first one is named.

    Example:
        >>> check_at_least(1, **{"classifier.steps": 10, "classifier.batch_size": 0})
        Traceback (most recent call last):
        hsi_diffusion.errors.ConfigurationError: classifier.batch_size must be at least 1, got 0
    """
    for name, size in sizes.items():
        whole = isinstance(size, SupportsIndex) and not isinstance(size, bool)
        if not whole or size < least:
            kind = "" if whole else "a whole number and "
            raise ConfigurationError(
                f"{name} must be {kind}at least {least}, got {size if whole else repr(size)}"
            )


def check_sizes(**lists: object) -> None:
    """Raise a ConfigurationError for what is no list of whole numbers from 1, with at least one."""
    for name, sizes in lists.items():
        listed = isinstance(sizes, list | tuple) and all(
            isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in sizes
        )
        if not listed or not sizes:
            raise ConfigurationError(
                f"{name} must be a list of whole numbers from 1, such as [1, 2, 4], got {sizes!r}"
            )


def check_choice(allowed: Collection[str], /, **values: object) -> None:
    """Raise a ConfigurationError for the first value that is none of the ``allowed`` words."""
    for name, value in values.items():
        if value not in allowed:
            raise ConfigurationError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


RANGES: dict[str, Callable[[Any], bool]] = {
    "above 0 and finite": lambda value: 0 < value < math.inf,
    "at least 0 and finite": lambda value: 0 <= value < math.inf,
    "from 0 to 1": lambda value: 0 <= value <= 1,
    "above 0 and at most 1": lambda value: 0 < value <= 1,
    "at least 0 and below 1": lambda value: 0 <= value < 1,
    "above 0 and below 1": lambda value: 0 < value < 1,
}
"""What :func:`check_range` knows, by the words of its messages."""


def check_range(allowed: str, /, **values: object) -> None:
    """Refuse numbers outside a range, nan, and what is no number.

    Args:
        allowed: One of :data:`RANGES`; what a value means may follow in brackets, such as ``"at
            least 0 and finite (0 = unlimited)"``.
        **values: Numbers by the names of their settings.

    Raises:
        ConfigurationError: A value is outside the range or no number; the first one is named.

    Example:
        >>> check_range("at least 0 and below 1", dropout=0.1, head_dropout=1)
        Traceback (most recent call last):
        hsi_diffusion.errors.ConfigurationError: head_dropout must be at least 0 and below 1, got 1
    """
    fits = RANGES[allowed.partition(" (")[0]]
    for name, value in values.items():
        number = isinstance(value, SupportsFloat) and not isinstance(value, bool)
        if not number or not fits(value):
            kind = "" if number else "a number, "
            raise ConfigurationError(
                f"{name} must be {kind}{allowed}, got {value if number else repr(value)}"
            )


def check_options(
    takes: Callable[..., Any],
    options: Mapping[str, Any],
    where: str,
    *,
    given: Collection[str] = (),
) -> None:
    """Refuse options that a class or function does not take, or that it lacks.

    Values are compared with the type of the default where that is a bool, an int, a float or a
    string (a float may be given as an int); what else is impossible is for ``takes`` to say.

    Args:
        takes: What will be called with the options.
        options: Values by name.
        where: The setting that holds them, such as ``"denoiser_options"``.
        given: Arguments that the caller fills in, and that are no options therefore.

    Raises:
        ConfigurationError: A name that ``takes`` does not have, a value of another type, or no
            value where there is no default.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(takes).parameters.items()
        if name not in given and parameter.kind not in _MANY
    }
    check_names(options, parameters, where)
    for name, parameter in parameters.items():
        if name not in options and parameter.default is parameter.empty:
            raise ConfigurationError(f"{where}.{name} must be given: it has no default")
    for name, value in options.items():
        wanted = type(parameters[name].default)
        if wanted not in (bool, int, float, str):
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        if type(value) is not wanted and not (wanted is float and whole):
            raise ConfigurationError(
                f"{where}.{name} must be of type {wanted.__name__}, got {value!r}"
            )


def settings_of(
    kind: type[Settings], given: Settings | Mapping[str, Any] | None, where: str
) -> Settings:
    """Settings as a dataclass: an object as it is, a mapping after a check; None: all defaults.

    Raises:
        ConfigurationError: A name is unknown, or a value impossible, see :func:`check_options`.
    """
    if isinstance(given, kind):
        return given
    options = cast("Mapping[str, Any]", given or {})
    check_options(kind, options, where)
    return kind(**options)
