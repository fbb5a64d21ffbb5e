"""The diffusion process: noise schedule, losses and sampling, without any network."""

from hsi_diffusion.diffusion.contrast import (
    Contrasted,
    ContrastiveHead,
    cluster_contrast,
    instance_contrast,
    pool_cells,
)
from hsi_diffusion.diffusion.losses import LOSSES, DenoisingLoss, l1, l2, lae
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
    "Contrasted",
    "ContrastiveHead",
    "DenoisingLoss",
    "NoiseSchedule",
    "Posterior",
    "Reconstruction",
    "SamplingMethod",
    "ScheduleKind",
    "Step",
    "check_prediction",
    "cluster_contrast",
    "ddim_step",
    "ddpm_step",
    "instance_contrast",
    "iterate_chain",
    "l1",
    "l2",
    "lae",
    "pool_cells",
    "reconstruct",
    "sample",
    "strided_timesteps",
]
