"""How long the stages of a fit take."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _silent(_: str) -> None:
    """Say nothing; a lambda could not be pickled."""


@dataclass
class Stopwatch:
    """Time of each stage, with a line of text where it begins.

    Attributes:
        say: Called with the line.
        seconds: Time of the stages that have ended, by their names.
    """

    say: Callable[[str], None] = _silent
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Time what happens inside the block as stage ``name``."""
        self.say(text)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
