"""One fitted and saved model of every kind, for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from hsi_diffusion import SceneClassifier
from tests.models.tiny import KINDS, recipe, scene, split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Saved(NamedTuple):
    model: SceneClassifier
    folder: Path


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    """A model of a kind, fitted and saved when it is first asked for."""
    found: dict[str, Saved] = {}

    def get(kind: str) -> Saved:
        if kind not in found:
            model = SceneClassifier(recipe(KINDS[kind]), seed=3).fit(scene(), split())
            folder = tmp_path_factory.mktemp("models") / "model"
            model.save(folder)
            found[kind] = Saved(model, folder)
        return found[kind]

    return get
