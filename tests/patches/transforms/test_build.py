"""Transforms of what a user gives."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.patches.transforms import (
    MNF,
    TRANSFORMS,
    Standardise,
    build_transform,
    transform_from_state,
)


def test_every_name_gives_its_class() -> None:
    assert list(TRANSFORMS) == [
        "Identity",
        "MinMax",
        "Standardise",
        "PCA",
        "MNF",
        "RelevantComponents",
    ]
    for name, kind in TRANSFORMS.items():
        assert type(build_transform(name)) is kind
        assert type(build_transform(kind)) is kind


@pytest.mark.parametrize(
    "given",
    [
        {"class_path": "MNF", "init_args": {"components": 20, "keep": 0.7}},
        functools.partial(MNF, 20, keep=0.7),
        MNF(20, keep=0.7),
    ],
)
def test_settings_arrive(given: Any) -> None:
    made = build_transform(given)
    assert isinstance(made, MNF)
    assert made is not given
    assert (made.components, made.scale, made.keep) == (20, "unit", 0.7)


def test_a_fitted_transform_stays_itself() -> None:
    fitted = Standardise().fit(np.random.default_rng(0).normal(size=(5, 4, 3)))
    assert build_transform(fitted) is fitted


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"one of Identity, MinMax, .*, got 'ZCA'"):
        build_transform("ZCA")
    with pytest.raises(ConfigurationError, match=r"transform\.components; allowed are low, high"):
        build_transform({"class_path": "MinMax", "init_args": {"components": 20}})
    with pytest.raises(ConfigurationError, match=r"transform\.whiten; allowed are none"):
        build_transform({"class_path": "Standardise", "init_args": {"whiten": True}})
    with pytest.raises(TypeError):
        Standardise(True)  # type: ignore[call-arg]
    with pytest.raises(CheckpointError, match=r"must hold a name out of .*, got None; .* imported"):
        transform_from_state({})
