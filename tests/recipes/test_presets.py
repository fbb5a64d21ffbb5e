"""Every preset of every method is a recipe, is installed, and fits the cards it is made for."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import hsi_diffusion
from hsi_diffusion.models.pretraining import build_pretraining, share_of_step
from hsi_diffusion.recipes import (
    PRESETS,
    PretrainSettings,
    Recipe,
    from_plain,
    methods,
    preset_file,
    preset_for,
    read_preset,
    to_plain,
)

PACKAGE = Path(hsi_diffusion.__file__).parent


def test_the_methods_of_the_library_are_there() -> None:
    assert {"spectraldiff", "diffspectralnet", "diffcrn", "diffgraph", "svm"} <= set(methods())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", methods())
def test_every_method_has_every_preset_for_every_scene(method: str, preset: str) -> None:
    plain = read_preset(method, preset)
    different: list[dict[str, Any]] = []
    for scene in (*plain.get("scenes", {}), "custom"):
        for split in ("0.1", "10", "fields"):
            wanted = preset_for(plain, scene=scene, split=split)
            if wanted not in different:
                different.append(wanted)
    for wanted in different:
        recipe = from_plain(Recipe, wanted)
        again = to_plain(recipe)
        assert to_plain(from_plain(Recipe, again)) == again == yaml.safe_load(yaml.safe_dump(again))


def test_presets_and_plans_are_in_the_wheel(repository: Path) -> None:
    configuration = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = configuration["tool"]["setuptools"]["package-data"]["hsi_diffusion"]
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.yaml")}
    assert {f"recipes/presets/{method}" for method in methods()} <= {
        str(Path(file).parent) for file in files
    }
    assert any(file.startswith("benchmarks/plans/") for file in files)
    for file in files:  # setuptools reads ** as any folders, as fnmatch reads *
        assert any(fnmatch.fnmatch(file, pattern) for pattern in patterns), file
    for method in methods():  # and nothing is read from elsewhere
        assert all(preset_file(method, preset).is_relative_to(PACKAGE) for preset in PRESETS)


def paper_preset(method: str) -> PretrainSettings:
    """How a method learns Salinas, the scene with most bands."""
    plain = preset_for(read_preset(method, "paper"), scene="salinas", split="0.1")
    return from_plain(Recipe, plain).pretrain


@pytest.mark.parametrize("method", ["spectraldiff", "diffspectralnet", "diffcrn", "diffgraph"])
def test_recipes_for_a_24_gb_card_fit_it(method: str) -> None:
    """By what a backward pass in float32 keeps of a step."""
    settings = paper_preset(method)
    views = 2 if settings.contrast.instance or settings.contrast.cluster else 1
    at_once = share_of_step(settings, 1).batch_size * views
    # what else a card holds, workspaces above all, has 6 GB
    assert _kept_for_backward(settings) * at_once < 18e9


def test_the_published_batch_is_taken_in_parts_because_it_would_not_fit() -> None:
    settings = paper_preset("spectraldiff")
    assert settings.batch_size == 256
    assert share_of_step(settings, 1) == (128, 2)
    assert share_of_step(settings, 2) == (128, 1)  # two cards, as published
    assert _kept_for_backward(settings) * settings.batch_size > 24e9


def _kept_for_backward(settings: PretrainSettings) -> int:
    """Bytes that autograd keeps of one patch."""
    bands = getattr(settings.transform(), "components", None) or 204
    denoiser = build_pretraining(settings, bands, seed=0).denoiser
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # alive, so that no address is used twice

    patch = torch.zeros(1, bands, settings.patch_size, settings.patch_size)
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        output = denoiser(patch, torch.zeros(1).long())
    assert output.shape == patch.shape
    weights = {weight.untyped_storage().data_ptr() for weight in denoiser.parameters()}
    return sum(size for address, size in kept.items() if address not in weights)
