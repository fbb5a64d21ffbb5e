"""What each process of test_contrast.py does: its share of a joint batch, and short trainings."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hsi_diffusion import DiffusionPretrainModule, NoiseSchedule, SimulatedSceneDataModule
from hsi_diffusion.denoisers import UNet3D
from hsi_diffusion.modules.contrast import ViewContrast, build_contrast

if TYPE_CHECKING:
    from pathlib import Path

PATCHES = 6


class Network(nn.Module):
    """Features of one convolution, and their contrast."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        denoiser = UNet3D(8, base_channels=2, depth=1)
        sizes = {"cell": 2, "shift": 1, "dim": 5, "clusters": 4, "hidden": 6}
        contrast = build_contrast(sizes, denoiser)
        assert isinstance(contrast, ViewContrast)
        self.contrast = contrast
        self.net = nn.Conv2d(3, denoiser.feature_info[-1].channels, 3)
        self.double()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Images of the first views, then of the second ones."""
        return self.contrast(self.net(images))


def two_views() -> tuple[Tensor, Tensor]:
    """Both views of the joint batch."""
    random = torch.Generator().manual_seed(1)
    first = torch.randn(PATCHES, 3, 7, 7, generator=random, dtype=torch.float64)
    return first, first + 0.5 * torch.randn(first.shape, generator=random, dtype=torch.float64)


def measure(network: nn.Module, views: tuple[Tensor, ...]) -> dict[str, Any]:
    """Values and gradients."""
    parts = network(torch.cat(views))
    parts["loss"].backward()
    gradients = {
        name.removeprefix("module."): weight.grad for name, weight in network.named_parameters()
    }
    return {"parts": {k: float(v) for k, v in parts.items()}, "gradients": gradients}


def main(rank: int, folder: Path) -> None:
    """Two processes: their share of the views, and short trainings with each part of the loss."""
    torch.set_num_threads(1)
    # as torchrun would set them: Lightning then joins the group that is there
    os.environ.update(
        WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0", LOCAL_WORLD_SIZE="2",
        TORCHELASTIC_RUN_ID="test", MASTER_ADDR="127.0.0.1", MASTER_PORT="1",
    )  # fmt: skip
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'store'}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=60),
    )
    network = DistributedDataParallel(Network())
    mine = slice(rank * PATCHES // 2, (rank + 1) * PATCHES // 2)
    result = measure(network, tuple(view[mine] for view in two_views()))
    for contrast in ({}, {"instance": 0}, {"cluster": 0}):
        result[str(contrast)] = train(contrast)
    torch.save(result, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def train(contrast: dict[str, Any]) -> dict[str, Any]:
    """The weights and the last losses of a short training."""
    data = SimulatedSceneDataModule(
        24, 24, bands=8, num_classes=2, task="pretrain", patch_size=8, batch_size=4,
        samples_per_epoch=16, holdout=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    module = DiffusionPretrainModule(
        8,
        denoiser=partial(UNet3D, base_channels=2, depth=1),
        schedule=NoiseSchedule(50),
        contrast=contrast,
    )
    trainer = L.Trainer(
        accelerator="cpu", devices=2, strategy="ddp", max_steps=2, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, data)
    weights = {name: value.detach() for name, value in module.named_parameters()}
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {"weights": weights, "figures": figures, "steps": trainer.global_step}
