"""Checkpoints hold plain data: nothing that they name is imported, built or run."""

from __future__ import annotations

import os
import pickle
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch

from hsi_diffusion import DiffusionPretrainModule, NoiseSchedule, UNet3D
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules.lightning_cli import SceneCLI

if TYPE_CHECKING:
    from pathlib import Path

EVIL = """\
from pathlib import Path
Path(__file__).with_name("imported").touch()

class Evil:
    def __init__(self, *args, **kwargs):
        Path(__file__).with_name("made").touch()

def run(*args, **kwargs):
    Path(__file__).with_name("run").touch()
"""


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "evil_parts.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def stored() -> dict[str, Any]:
    """What a harmless module stores."""
    module = DiffusionPretrainModule(
        16, denoiser=partial(UNet3D, base_channels=2, depth=1), schedule=NoiseSchedule(50)
    )
    content: dict[str, Any] = {
        "hyper_parameters": dict(module.hparams),
        "state_dict": module.state_dict(),
        "pytorch-lightning_version": "2.6.6",
    }
    module.on_save_checkpoint(content)
    return content


def assert_nothing_happened(folder: Path) -> None:
    assert "evil_parts" not in sys.modules
    assert not any((folder / name).exists() for name in ("imported", "made", "run"))


@pytest.mark.parametrize(
    "names",
    [
        {"_instantiator": "evil_parts.run"},
        {"_instantiator": "evil_parts.run", "_class_path": "evil_parts.Evil"},
        {"_instantiator": "lightning.pytorch.cli.instantiate_module",
         "_class_path": "evil_parts.Evil"},
    ],
)  # fmt: skip
def test_names_of_lightnings_command_line_play_no_part(evil: Path, names: dict[str, str]) -> None:
    content = stored()
    content["hyper_parameters"] |= names
    torch.save(content, evil / "evil.ckpt")
    loaded = DiffusionPretrainModule.load_from_checkpoint(evil / "evil.ckpt")
    assert type(loaded) is DiffusionPretrainModule
    assert type(loaded.denoiser) is UNet3D
    assert_nothing_happened(evil)


@pytest.mark.parametrize("argument", ["denoiser", "schedule", "optimizer", "lr_scheduler"])
@pytest.mark.parametrize(
    "part",
    ["evil_parts.Evil", {"class_path": "evil_parts.Evil", "init_args": {}},
     {"class_path": "os.system", "init_args": {"command": "touch run"}}],
)  # fmt: skip
def test_classes_that_are_named_are_not_imported(evil: Path, argument: str, part: Any) -> None:
    content = stored()
    content["hyper_parameters"][argument] = part
    torch.save(content, evil / "evil.ckpt")
    with pytest.raises(ConfigurationError, match=argument):
        DiffusionPretrainModule.load_from_checkpoint(evil / "evil.ckpt")
    assert_nothing_happened(evil)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("asked", [None, False])
@pytest.mark.parametrize("key", ["hparams_type", "state_dict", "transform"])
def test_pickled_code_does_not_run(tmp_path: Path, key: str, asked: bool | None) -> None:
    content = stored()
    content[key] = Bomb(tmp_path / "run")
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        DiffusionPretrainModule.load_from_checkpoint(tmp_path / "evil.ckpt", weights_only=asked)
    assert not (tmp_path / "run").exists()


def test_the_command_line_leaves_a_checkpoints_settings_alone(evil: Path) -> None:
    scene = {"height": 24, "width": 20, "bands": 16, "num_classes": 3, "patch_size": 6, "split": 5}
    command = [
        "--model=DiffusionPretrainModule", "--model.denoiser=UNet2D",
        "--model.denoiser.channels=8", "--data=SimulatedSceneDataModule",
        *(f"--data.{name}={value}" for name, value in scene.items()),
        "--trainer.accelerator=cpu", "--trainer.logger=false",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
        f"--trainer.default_root_dir={evil}",
    ]  # fmt: skip
    fitted = SceneCLI(["fit", *command, "--trainer.max_steps=1"])
    (checkpoint,) = evil.rglob("*.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"] |= {
        "_class_path": "evil_parts.Evil",
        "denoiser": {"class_path": "evil_parts.Evil"},
        "optimizer": {"class_path": "evil_parts.Evil"},
    }
    torch.save(content, checkpoint)
    for command_name in ("validate", "test", "predict"):
        tested = SceneCLI([command_name, *command, f"--ckpt_path={checkpoint}"])
        weights = fitted.model.state_dict()
        for name, value in tested.model.state_dict().items():
            assert torch.equal(value, weights[name])
    assert_nothing_happened(evil)
