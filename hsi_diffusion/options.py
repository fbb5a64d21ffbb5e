"""Options that arrive by name, from a file or a command line, checked before anything is built."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any, SupportsIndex

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""*args and **kwargs: they would take any name, and so tell nothing."""


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


def check_at_least_1(**sizes: float) -> None:
    """Refuse sizes below 1, and what is no whole number.

    Args:
        **sizes: Sizes by the names of their settings.

    Raises:
        ConfigurationError: A size is below 1 or no whole number; the first one is named.

    Example:
        >>> check_at_least_1(**{"classifier.steps": 10, "classifier.batch_size": 0})
        Traceback (most recent call last):
        hsi_diffusion.errors.ConfigurationError: classifier.batch_size must be at least 1, got 0
    """
    for name, size in sizes.items():
        if not isinstance(size, SupportsIndex) or size < 1:
            whole = "" if isinstance(size, SupportsIndex) else "a whole number and "
            raise ConfigurationError(f"{name} must be {whole}at least 1, got {size}")


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
