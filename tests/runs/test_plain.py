from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs.plain import changed, from_plain, to_plain


@dataclass(frozen=True)
class Part:
    size: int = 1


@dataclass(frozen=True)
class Whole:
    """A field of every kind that settings have."""

    name: str = "a"
    rate: float = 0.5
    flag: bool = False
    kind: Literal["one", "two"] = "one"
    guard: int | None = None
    part: Part = field(default_factory=Part)
    parts: tuple[Part, ...] = ()
    steps: tuple[int, ...] = (1,)
    options: dict[str, Any] = field(default_factory=dict)


def test_every_kind_of_field() -> None:
    plain = {
        "name": "b",
        "rate": 2,
        "flag": True,
        "kind": "two",
        "guard": 3,
        "part": {"size": 4},
        "parts": [{}, {"size": 5}],
        "steps": [6, 7],
        "options": {"deep": {"er": [1, 2]}},
    }
    whole = from_plain(Whole, plain)
    assert whole == Whole(
        "b", 2.0, True, "two", 3, Part(4), (Part(), Part(5)), (6, 7), {"deep": {"er": [1, 2]}}
    )
    assert type(whole.rate) is float
    back = to_plain(whole)
    assert back == {**plain, "parts": [{"size": 1}, {"size": 5}]}
    assert from_plain(Whole, back) == whole


def test_only_what_differs_from_the_defaults_is_changed() -> None:
    assert changed(Whole()) == {}
    plain = {
        "guard": 3,
        "part": {"size": 4},
        "parts": [{}, {"size": 5}],
        "steps": [6],
        "options": {"deep": {"er": [1, 2]}},
    }
    assert changed(from_plain(Whole, {"name": "a", **plain})) == plain


def test_what_is_left_out_has_its_default() -> None:
    assert from_plain(Whole, {}) == Whole()
    assert from_plain(Whole, {"guard": None}).guard is None
    assert from_plain(Whole, {"name": 0.1}).name == "0.1"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"colour": 1}, "unknown setting colour; allowed are flag, guard, kind, name"),
        ({"part": {"colour": 1}}, r"unknown setting part\.colour; allowed are size"),
        ({"part": 3}, "part must be a mapping, got 3"),
        ({"parts": [{"size": "big"}]}, r"parts\.size must be of type int, got 'big'"),
        ({"parts": {}}, r"parts must be a list, got \{\}"),
        ({"options": [1]}, r"options must be a mapping, got \[1\]"),
        ({"kind": "three"}, "kind must be one of one, two, got 'three'"),
        ({"guard": 1.5}, "guard must be of type int, got 1.5"),
        ({"steps": [True]}, "steps must be of type int, got True"),
        ({"flag": 1}, "flag must be of type bool, got 1"),
        ({"rate": None}, "rate must be of type float, got None"),
        ({"name": ["a"]}, r"name must be of type str, got \['a'\]"),
    ],
)
def test_what_does_not_fit_is_named(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        from_plain(Whole, plain)


def test_settings_must_be_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match=r"settings must be a mapping, got \[\]"):
        from_plain(Whole, [])
