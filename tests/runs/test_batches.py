"""A recipe means the same on any number of processes, and fits the cards it is made for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hsi_diffusion import DiffusionPretrainModule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs import RunSettings, merge, preset_for, pretrain_alone, read_preset
from hsi_diffusion.runs.batches import share_of_step
from hsi_diffusion.runs.settings import PretrainSettings
from tests.runs.tiny import TINY

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"


@pytest.mark.parametrize(
    ("batch", "micro", "processes", "expected"),
    [
        (256, None, 1, (256, 1)),
        (256, None, 2, (128, 1)),
        (256, 128, 1, (128, 2)),
        (256, 128, 2, (128, 1)),
        (256, 128, 4, (64, 1)),
        (256, 100, 1, (64, 4)),
        (12, 5, 2, (3, 2)),
        (7, 3, 1, (1, 7)),
        (4, 100, 1, (4, 1)),
    ],
)
def test_a_step_is_shared_out_evenly(
    batch: int, micro: int | None, processes: int, expected: tuple[int, int]
) -> None:
    settings = PretrainSettings(batch_size=batch, micro_batch_size=micro)
    share = share_of_step(settings, processes)
    assert share == expected
    assert share.batch_size * share.parts * processes == batch


@pytest.mark.parametrize(
    ("settings", "processes", "message"),
    [
        (PretrainSettings(batch_size=0), 1, "batch_size must be at least 1, got 0"),
        (PretrainSettings(micro_batch_size=0), 1, "micro_batch_size must be at least 1, got 0"),
        (PretrainSettings(batch_size=10), 3, "a multiple of 3, got 10; give 12"),
        (PretrainSettings(batch_size=2), 3, "give 3"),
    ],
)
def test_what_cannot_be_shared_out_is_named(
    settings: PretrainSettings, processes: int, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        share_of_step(settings, processes)


def test_steps_in_parts_are_as_many_and_see_as_many_patches(tmp_path: Path) -> None:
    def pretrained(name: str, micro: int | None) -> dict[str, int]:
        changes = {"pretrain": {"micro_batch_size": micro, "steps": 5}}
        settings = RunSettings.from_dict(merge(TINY, changes))
        pretrain_alone(settings, tmp_path / name, progress=False)
        path = tmp_path / name / "checkpoints" / "pretrain.ckpt"
        stored = torch.load(path, map_location="cpu", weights_only=True)
        batches = stored["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["completed"]
        return {"steps": stored["global_step"], "batches": batches}

    assert pretrained("whole", None) == {"steps": 5, "batches": 5}
    assert pretrained("parts", 1) == {"steps": 5, "batches": 20}


@pytest.mark.parametrize("method", ["spectraldiff", "diffspectralnet", "diffcrn", "diffgraph"])
def test_recipes_for_a_24_gb_card_fit_it(method: str) -> None:
    """By what a backward pass in float32 keeps of a step on Salinas, the scene with most bands."""
    preset = preset_for(read_preset(CONFIGS, method, "paper"), scene="salinas", split="0.1")
    settings = RunSettings.from_dict(preset).require_pretrain()
    module = DiffusionPretrainModule(settings.components or 204, **settings.module)
    patch = _kept_for_backward(module, settings.patch_size)
    views = 1 if module.contrast is None else 2
    at_once = share_of_step(settings, 1).batch_size * views
    assert patch * at_once < 18e9  # what else a card holds, workspaces above all, has 6 GB


def test_the_published_batch_is_taken_in_parts_because_it_would_not_fit() -> None:
    preset = preset_for(read_preset(CONFIGS, "spectraldiff", "paper"), scene="salinas", split="0.1")
    settings = RunSettings.from_dict(preset).require_pretrain()
    assert settings.batch_size == 256
    assert share_of_step(settings, 1) == (128, 2)
    assert share_of_step(settings, 2) == (128, 1)  # two cards, as published
    patch = _kept_for_backward(DiffusionPretrainModule(204, **settings.module), settings.patch_size)
    assert patch * settings.batch_size > 24e9


def _kept_for_backward(module: DiffusionPretrainModule, size: int) -> int:
    """Bytes that autograd keeps of one patch."""
    kept: dict[int, int] = {}

    def count(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor  # alive, so that no address is used twice

    bands = module.denoiser.num_bands
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        output = module.denoiser(torch.zeros(1, bands, size, size), torch.zeros(1).long())
    assert output.shape == (1, bands, size, size)
    weights = {weight.untyped_storage().data_ptr() for weight in module.denoiser.parameters()}
    return sum(size for address, size in kept.items() if address not in weights)
