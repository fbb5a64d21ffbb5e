"""Transforms by name."""

from __future__ import annotations

import pytest

from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.patches.transforms import (
    MNF,
    PCA,
    BandTransform,
    Identity,
    MinMax,
    Standardise,
    build_transform,
    transform_from_state,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("identity", Identity),
        ("minmax", MinMax),
        ("standardise", Standardise),
        ("pca", PCA),
        ("mnf", MNF),
    ],
)
def test_every_name_gives_its_class(name: str, kind: type[BandTransform]) -> None:
    transform = build_transform(name)
    assert type(transform) is kind
    assert transform.name == name


def test_components_and_options_arrive() -> None:
    mnf = build_transform("mnf", 20, scale="noise", keep=0.7)
    assert isinstance(mnf, MNF)
    assert (mnf.components, mnf.scale, mnf.keep) == (20, "noise", 0.7)
    pca = build_transform("pca", 3, whiten=True)
    assert isinstance(pca, PCA)
    assert (pca.components, pca.whiten) == (3, True)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"one of 'identity', 'minmax', .*, got 'zca'"):
        build_transform("zca")
    with pytest.raises(
        ConfigurationError, match=r"'minmax' has no argument components; .*low, high"
    ):
        build_transform("minmax", 20)
    with pytest.raises(ConfigurationError, match=r"'standardise' has no argument whiten; .*: none"):
        build_transform("standardise", whiten=True)
    with pytest.raises(CheckpointError, match=r"must hold a name out of .*, got None"):
        transform_from_state({})
