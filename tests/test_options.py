from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import (
    check_at_least,
    check_choice,
    check_names,
    check_options,
    check_range,
    check_sizes,
)


def network(
    bands: int, /, depth: int = 2, *, rate: float = 0.1, bias: bool = True, name: str | None = None
) -> None:
    """Takes options of every kind."""


def open_network(bands: int, *layers: int, depth: int = 2, **others: object) -> None:
    """Says little of what it takes."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depth": 3, "rate": 0.5, "bias": False, "name": "a"},
        {"rate": 1},  # YAML writes 1.0 as 1
        {"name": 5},  # None says nothing of the type
    ],
)
def test_what_fits_passes(options: dict[str, Any]) -> None:
    check_options(network, options, "module", given=("bands",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"width": 1, "height": 2, "depth": 3},
            r"unknown setting module\.height, module\.width; allowed are depth, rate, bias, name$",
        ),
        ({"bands": 3}, r"unknown setting module\.bands; allowed"),
        ({"depth": 2.0}, r"module\.depth must be of type int, got 2\.0"),
        ({"depth": True}, r"module\.depth must be of type int, got True"),
        ({"rate": True}, r"module\.rate must be of type float, got True"),
        ({"rate": "0.1"}, r"module\.rate must be of type float, got '0\.1'"),
        ({"bias": 1}, r"module\.bias must be of type bool, got 1"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_options(network, options, "module", given=("bands",))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"module\.bands must be given: it has no default"):
        check_options(network, {"depth": 2}, "module")


def test_sizes_that_are_too_small_are_named() -> None:
    check_at_least(1, depth=1, **{"module.rate": 2})
    with pytest.raises(ConfigurationError, match=r"^module\.rate must be at least 1, got 0$"):
        check_at_least(1, depth=1, **{"module.rate": 0})
    for size in (2.5, float("nan"), 2.0, True):
        with pytest.raises(ConfigurationError, match="depth must be a whole number and at least 0"):
            check_at_least(0, depth=size)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        ("above 0 and finite", (1e-9, 5), (0, -1, math.inf)),
        ("at least 0 and finite (0 = none)", (0, 5.0), (-1e-9, math.inf)),
        ("from 0 to 1", (0, 1, np.float32(0.5)), (-0.1, 1.1)),
        ("above 0 and at most 1", (0.1, np.int64(1)), (0, 1.1)),
        ("at least 0 and below 1", (0, 0.9), (1, -0.1)),
        ("above 0 and below 1", (0.1, 0.9), (0, 1)),
    ],
)
def test_numbers_outside_a_range_are_named(
    allowed: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    for value in inside:
        check_range(allowed, rate=value)
    for value in (*outside, math.nan, float("-inf")):
        message = re.escape(f"module.rate must be {allowed}, got {value}")
        with pytest.raises(ConfigurationError, match=message):
            check_range(allowed, share=inside[0], **{"module.rate": value})
    for other in (True, "0.5", None, [0.5]):
        message = re.escape(f"rate must be a number, {allowed}, got {other!r}")
        with pytest.raises(ConfigurationError, match=message):
            check_range(allowed, rate=other)


def test_lists_of_sizes_hold_whole_numbers() -> None:
    check_sizes(channels=[8, 16], multipliers=(1,))
    for wrong in ((), [8, 0], [8, 1.5], [True], 8, "88"):
        message = re.escape(
            f"channels must be a list of whole numbers from 1, such as [1, 2, 4], got {wrong!r}"
        )
        with pytest.raises(ConfigurationError, match=message):
            check_sizes(multipliers=[1], channels=wrong)


def test_a_word_that_is_no_choice_is_named() -> None:
    check_choice(("unit", "noise"), scale="noise")
    with pytest.raises(ConfigurationError, match=r"^scale must be one of unit, noise, got None$"):
        check_choice(("unit", "noise"), scale=None)


def test_a_catch_all_allows_only_what_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"module\.colour; allowed are bands, depth$"):
        check_options(open_network, {"colour": 1}, "module")


def test_names_at_the_top_have_no_prefix() -> None:
    check_names(["b", "a"], ["a", "b"])
    with pytest.raises(ConfigurationError, match=r"unknown setting 3, c; allowed are a, b$"):
        check_names({"c": 0, 3: 0, "a": 0}, ["a", "b"])
    with pytest.raises(
        ConfigurationError, match=r"allowed are nodata, axes; did you mean nodata\?"
    ):
        check_names(["nodta"], ["nodata", "axes"])
    with pytest.raises(ConfigurationError, match=r"unknown setting empty\.c; allowed are none"):
        check_names(["c"], [], "empty")
