"""Plain data between two processes: JSON, and the bytes of arrays after it.

Nothing that is read names a class to import or code to run, so that a process which a damaged file
has taken over can answer nonsense, and no more. Pickles could run code here.
"""

from __future__ import annotations

import builtins
import json
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from hsi_diffusion import errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS: Final = "biufc"
"""Kinds of numbers that arrays may hold; no objects."""


def send(pipe: IO[bytes], value: Any) -> None:
    """Write a message.

    Args:
        pipe: Where to.
        value: None, numbers, strings, paths, slices, exceptions, types of numbers, arrays of
            numbers, and tuples, lists and dicts of such.

    Raises:
        TypeError: The value holds something else; nothing was written.
    """
    arrays: list[NDArray[Any]] = []
    pipe.write(json.dumps(_plain(value, arrays)).encode() + b"\n")
    for array in arrays:
        pipe.write(array.reshape(-1).view(np.uint8).data)
    pipe.flush()


def receive(pipe: Any) -> Any:
    """Read what :func:`send` wrote; arrays are C-contiguous and writeable.

    Args:
        pipe: A buffered reader.

    Raises:
        EOFError: The other process has ended.
        ValueError: It wrote something else.
    """
    if not (text := pipe.readline()):
        raise EOFError
    try:
        return _value(json.loads(text), pipe)
    except EOFError:
        raise
    except Exception as error:  # nonsense fails in almost any way
        raise ValueError("no message of the other process") from error


def _plain(value: Any, arrays: list[NDArray[Any]]) -> Any:
    """Scalars as they are, everything else as [kind, ...]; arrays are put into the list."""
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return ["path", str(value)]
        case slice():
            ends = (value.start, value.stop, value.step)
            return ["slice", *(_plain(end, arrays) for end in ends)]
        case tuple() | list():
            name = "tuple" if isinstance(value, tuple) else "list"
            return [name, *(_plain(item, arrays) for item in value)]
        case dict():
            return ["dict", *([_plain(item, arrays) for item in pair] for pair in value.items())]
        case Exception():
            told = [one if isinstance(one, str | int) else str(one) for one in value.args]
            return ["error", type(value).__name__, told, getattr(value, "__notes__", [])]
        case np.dtype() if value.kind in _KINDS:
            return ["dtype", value.str]
        case np.ndarray() if value.dtype.kind in _KINDS:
            arrays.append(np.ascontiguousarray(value))
            return ["array", value.dtype.str, value.shape]
    raise TypeError(f"can't send a {type(value).__name__}")


def _value(plain: Any, pipe: Any) -> Any:
    """What :func:`_plain` was given; arrays follow in the pipe in the order of their mention."""
    if not isinstance(plain, list):
        return plain
    kind, *rest = plain
    match kind:
        case "path":
            return Path(rest[0])
        case "slice":
            return slice(*rest)
        case "tuple":
            return tuple(_value(item, pipe) for item in rest)
        case "list":
            return [_value(item, pipe) for item in rest]
        case "dict":
            return {_value(key, pipe): _value(item, pipe) for key, item in rest}
        case "error":
            return _error(*rest)
        case "dtype":
            return _number(rest[0])
        case "array":
            array = np.empty(rest[1], _number(rest[0]))
            if pipe.readinto(array.reshape(-1).view(np.uint8)) < array.nbytes:
                raise EOFError
            return array
    raise ValueError(f"no message: {kind!r}")


def _number(text: str) -> np.dtype[Any]:
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS:
        raise ValueError(f"no type of numbers: {text}")
    return dtype


def _error(name: str, told: list[Any], notes: list[str]) -> Exception:
    """An exception of the library or of Python; any other as a RuntimeError that names it."""
    kind: Any = getattr(errors, name, None) or getattr(builtins, name, None)
    error: Exception = RuntimeError(f"{name}: {', '.join(map(str, told))}")
    if isinstance(kind, type) and issubclass(kind, Exception):
        with suppress(TypeError):  # some take other arguments than they keep
            error = kind(*told)
    for note in notes:
        error.add_note(str(note))
    return error
