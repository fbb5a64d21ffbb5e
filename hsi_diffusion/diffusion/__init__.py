"""The diffusion process: noise schedule, losses and sampling, without any network."""

from hsi_diffusion.diffusion.losses import LOSSES, DenoisingLoss, build_loss, l1, l2
from hsi_diffusion.diffusion.sampling import (
    Reconstruction,
    SamplingMethod,
    Step,
    ddim_step,
    ddpm_step,
    iterate_chain,
    reconstruct,
    sample,
    strided_timesteps,
)
from hsi_diffusion.diffusion.schedule import (
    NoiseSchedule,
    Posterior,
    ScheduleKind,
    check_prediction,
)

__all__ = [
    "LOSSES",
    "DenoisingLoss",
    "NoiseSchedule",
    "Posterior",
    "Reconstruction",
    "SamplingMethod",
    "ScheduleKind",
    "Step",
    "build_loss",
    "check_prediction",
    "ddim_step",
    "ddpm_step",
    "iterate_chain",
    "l1",
    "l2",
    "reconstruct",
    "sample",
    "strided_timesteps",
]
