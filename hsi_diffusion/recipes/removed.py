"""Settings that are gone, which earlier runs and saved models still name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hsi_diffusion.errors import ConfigurationError

REMOVED: dict[str, Any] = {
    "classifier.average_views": False,
    "spreading.own_width": 1.0,
    "spreading.iterations": 200,
    "spreading.smooth_iterations": 100,
}
"""Section and name, and the default that it had: what is done now is what that did."""


def without_removed(plain: Any) -> Any:
    """Plain settings without those that are gone, where they stand at what is done anyway.

    Args:
        plain: Plain data of settings; it stays as it is. What is no mapping is given back, for
            others to refuse.

    Raises:
        ConfigurationError: One of them stands at another value.
    """
    if not isinstance(plain, Mapping):
        return plain
    kept = dict(plain)
    for name, usual in REMOVED.items():
        section, _, last = name.partition(".")
        held = kept.get(section)
        if not isinstance(held, Mapping) or last not in held:
            continue
        if held[last] != usual:
            raise ConfigurationError(
                f"the setting {name} was removed, and what is done now is what {usual} did, got "
                f"{held[last]!r}; leave it out, or use the version of the library that wrote it"
            )
        kept[section] = {key: value for key, value in held.items() if key != last}
    return kept
