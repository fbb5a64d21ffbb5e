"""Messages between two processes: plain data there and back, and nothing that runs code."""

from __future__ import annotations

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import FileFormatError
from hsi_diffusion.scenes.messages import receive, send


def there_and_back(value: Any) -> Any:
    pipe = io.BytesIO()
    send(pipe, value)
    return receive(io.BufferedReader(io.BytesIO(pipe.getvalue())))


def test_plain_data_comes_back() -> None:
    scalars = [None, True, 3, 0.1, float("inf"), "wave\nlength"]
    value = {
        "scalars": scalars,
        ("a", 1): (Path("cube.mat"), slice(2, None), np.dtype(">u2")),
        7: np.float32(0.5),
    }
    found = there_and_back(value)
    assert found == value
    assert [type(one) for one in found["scalars"]] == [type(one) for one in scalars]


@pytest.mark.parametrize("dtype", ["<f4", ">i2", "bool", "c8", "u1"])
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 5, 2)])
def test_arrays_come_back_bit_by_bit(dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape).astype(dtype)
    found, second = there_and_back((array.T, array))
    assert found.dtype == second.dtype == array.dtype
    assert np.array_equal(found, array.T)
    assert second.flags.writeable
    assert second.flags.c_contiguous


def test_errors_keep_their_class_where_it_is_known() -> None:
    error = FileFormatError("cut short")
    error.add_note("line 3")
    found = there_and_back(error)
    assert type(found) is FileFormatError
    assert (found.args, found.__notes__) == (("cut short",), ["line 3"])
    assert there_and_back(KeyError("a")).args == ("a",)
    foreign = there_and_back(type("ParserError", (Exception,), {})("odd"))
    assert (type(foreign), str(foreign)) == (RuntimeError, "ParserError: odd")


@pytest.mark.parametrize("value", [object(), np.array([{}], dtype=object), {1, 2}])
def test_other_objects_are_not_sent(value: Any) -> None:
    pipe = io.BytesIO()
    with pytest.raises(TypeError, match="can't send a"):
        send(pipe, value)
    assert pipe.getvalue() == b""


class Harmful:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("harmed",)


def line(text: Any) -> bytes:
    return json.dumps(text).encode() + b"\n"


@pytest.mark.parametrize(
    "written",
    [
        pickle.dumps(Harmful()),
        b"noise\n",
        b"[1]\n",
        b"[]\n",
        line(["error", "system", ["mkdir harmed"], 5]),
        line(["array", "|O", [1]]),
        line(["array", "<f8", [-9]]),
        line(["array", "<f8", [1 << 58]]),
        line(["os.mkdir", "harmed"]),
    ],
)
def test_nonsense_is_refused_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no message"):
        receive(io.BufferedReader(io.BytesIO(written + bytes(16))))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("written", [b"", line(["array", "<f8", [1]]) + b"1234"])
def test_an_end_in_the_middle_is_one(written: bytes) -> None:
    with pytest.raises(EOFError):
        receive(io.BufferedReader(io.BytesIO(written)))
