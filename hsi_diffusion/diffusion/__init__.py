"""The diffusion process: noise schedule, losses and sampling, without any network."""

from hsi_diffusion.diffusion.contrast import (
    Contrasted,
    ContrastiveHead,
    cluster_contrast,
    instance_contrast,
    pool_cells,
)
from hsi_diffusion.diffusion.losses import LOSSES, DenoisingLoss, Loss, lae
from hsi_diffusion.diffusion.sampling import (
    Reconstruction,
    ddim_step,
    reconstruct,
    sample,
    strided_timesteps,
)
from hsi_diffusion.diffusion.schedule import (
    SCHEDULES,
    NoiseSchedule,
    NoiseSchedulePart,
    ScheduleKind,
    build_schedule,
    check_prediction,
)

__all__ = [
    "LOSSES",
    "SCHEDULES",
    "Contrasted",
    "ContrastiveHead",
    "DenoisingLoss",
    "Loss",
    "NoiseSchedule",
    "NoiseSchedulePart",
    "Reconstruction",
    "ScheduleKind",
    "build_schedule",
    "check_prediction",
    "cluster_contrast",
    "ddim_step",
    "instance_contrast",
    "lae",
    "pool_cells",
    "reconstruct",
    "sample",
    "strided_timesteps",
]
