"""``fit``, ``validate``, ``test`` and ``predict`` over all data modules and Lightning modules."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

import lightning as L
from lightning.pytorch.cli import LightningCLI

from hsi_diffusion.modules.data import PatchDataModule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightning.pytorch.cli import ArgsType, LightningArgumentParser


class SceneCLI(LightningCLI):
    """Lightning's command line over scenes.

    ``--data`` takes any :class:`~hsi_diffusion.modules.PatchDataModule` and ``--model`` any
    LightningModule, both by their class names or paths::

        SceneCLI(["fit", "--data", "IndianPinesDataModule", "--model", "DiffusionPretrainModule"])

    Bands, classes, patch size and class names of the model are those of the data, and so can't be
    set. Seeds are 0 unless given, so that the same command gives the same figures. Settings of the
    model come from the command line also where its weights come from a checkpoint.

    Args:
        args: The command line, or a mapping of settings; None: that of the program.
        **settings: Further arguments of :class:`lightning.pytorch.cli.LightningCLI`.

    Attributes:
        links: Arguments of a Lightning module, where it has them, and what of the data they are.
    """

    links: ClassVar[Mapping[str, str]] = {
        "num_bands": "num_bands",
        "in_channels": "num_bands",
        "num_classes": "num_classes",
        "patch_size": "patch_size",
        "timesteps": "timesteps",
        "angles": "angles",
        "class_names": "info.class_names",
    }

    def __init__(self, args: ArgsType = None, **settings: Any) -> None:
        defaults: dict[str, Any] = {
            "seed_everything_default": 0,
            # a module's optimiser is an argument of its own
            "auto_configure_optimizers": False,
            # modules store plain settings, so that no checkpoint names code to run
            "load_from_checkpoint_support": False,
            "save_config_kwargs": {"overwrite": True},
        }
        super().__init__(
            L.LightningModule,
            PatchDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=args,
            **{**defaults, **settings},
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what a model needs to know of its data."""
        for argument, source in self.links.items():
            parser.link_arguments(
                "data",
                f"model.init_args.{argument}",
                compute_fn=attrgetter(source),
                apply_on="instantiate",
            )

    def _parse_ckpt_path(self) -> None:
        """Leave the settings in a checkpoint alone: Lightning would import the classes they name.

        The model is the one of the command line; the checkpoint brings its weights.
        """
