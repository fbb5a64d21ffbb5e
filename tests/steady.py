"""Memory and open files of a long training and of many fits in one process.

    python -m tests.steady

Prints a Markdown table. A first tenth warms up: allocators and caches fill in it.
"""

from __future__ import annotations
