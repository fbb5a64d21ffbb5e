"""The program, called in process with the command line as a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a wrong command line gets."""
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error
