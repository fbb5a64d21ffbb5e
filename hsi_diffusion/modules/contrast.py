"""Contrastive learning beside denoising: settings, views, head and losses in one place."""

from __future__ import annotations

# read at run time, by the program's parser
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hsi_diffusion.diffusion import ContrastiveHead, cluster_contrast, instance_contrast
from hsi_diffusion.distributed import gather_rows
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.options import check_at_least, check_range, settings_of
from hsi_diffusion.parts import plain_values
from hsi_diffusion.patches import build_two_views

if TYPE_CHECKING:
    from hsi_diffusion.denoisers import Denoiser


@dataclass(frozen=True)
class ContrastSettings:
    """What is contrasted, and how much it counts (defaults are ours).

    Args:
        instance: Weight of the contrast between instances,
            :func:`~hsi_diffusion.diffusion.instance_contrast`; 0 = off.
        cluster: Weight of the contrast between clusters,
            :func:`~hsi_diffusion.diffusion.cluster_contrast`; 0 = off.
        level: Level of the denoiser whose features are contrasted, in the order of its
            ``feature_info``; -1 = the deepest.
        cell: Side in pixels of the squares over which features are averaged, each an instance; a
            multiple of the level's reduction; 0 = the whole view.
        shift: Pixels by which the views' sides are less than the patches', see
            :class:`~hsi_diffusion.patches.TwoViews`. At most half a cell: cells of one number are
            the positive pair, and the views may lie up to ``shift`` pixels apart in each direction.
            Up to half a cell, no other cell of the patch ever holds more of a cell's pixels than
            its partner does; beyond, a negative may (a cell of 4 and a shift of 4: for 0.42 of the
            cells). Without cells any shift works, since all negatives are of other patches.
        temperature: Temperature of the contrast between instances (0.5: Li et al. 2021).
        cluster_temperature: Temperature of the contrast between clusters (1: Li et al. 2021).
        entropy: Weight of the entropies within the contrast between clusters.
        dim: Size of the projections.
        clusters: Number of clusters.
        hidden: Size of the head's hidden layers.
        augmentation: Strengths of the views' augmentations, and your own, see
            :func:`~hsi_diffusion.patches.build_two_views`. They come after the module's own
            ``augmentation``, which acts on the patches before they become two.

    Raises:
        ConfigurationError: A weight, a temperature or a size is impossible.
    """

    instance: float = 0.1
    cluster: float = 0.1
    level: int = -1
    cell: int = 8
    shift: int = 4
    temperature: float = 0.5
    cluster_temperature: float = 1.0
    entropy: float = 1.0
    dim: int = 64
    clusters: int = 32
    hidden: int = 128
    augmentation: dict[str, float | Callable[..., Any]] = field(
        default_factory=lambda: {"dihedral": 1.0, "gain": 0.1}
    )

    def __post_init__(self) -> None:
        """Check what can be checked without a denoiser."""

        def some(*names: str) -> dict[str, Any]:
            return {f"contrast.{name}": getattr(self, name) for name in names}

        check_range("at least 0 and finite", **some("instance", "cluster", "entropy"))
        check_range("above 0 and finite", **some("temperature", "cluster_temperature"))
        check_at_least(0, **some("cell", "shift"))
        check_at_least(1, **some("dim", "hidden"))
        if 0 < self.cell < 2 * self.shift:
            raise ConfigurationError(
                f"contrast.shift must be at most half of contrast.cell, {self.cell // 2} for cells "
                f"of {self.cell} pixels, so that no cell shares more pixels with a negative than "
                f"with its partner in the other view, got {self.shift}"
            )
        if self.clusters < 2:
            raise ConfigurationError(f"contrast.clusters must be at least 2, got {self.clusters}")
        if not isinstance(self.augmentation, Mapping):
            raise ConfigurationError(
                "contrast.augmentation must hold strengths by name, such as {'gain': 0.1}, got "
                f"{self.augmentation!r}"
            )


class ViewContrast(nn.Module):
    """Two views of each patch, and what the features of both cost.

    Instances and clusters are compared over all processes: the negatives of a small batch on each
    of several cards are those of the joint batch, and so are loss and gradient.

    Args:
        settings: At least one of its weights is above 0.
        denoiser: Whose features are contrasted; only its ``feature_info`` is read.

    Raises:
        ConfigurationError: A setting does not fit the denoiser.

    Attributes:
        level: Number of the level to ask the denoiser for.
        names: Keys of the result but for "loss".
    """

    if TYPE_CHECKING:

        def __call__(self, features: Tensor) -> dict[str, Tensor]:  # noqa: D102
            ...

    def __init__(self, settings: ContrastSettings, denoiser: Denoiser) -> None:
        super().__init__()
        count = len(denoiser.feature_info)
        if not -count <= settings.level < count:
            raise ConfigurationError(
                f"contrast.level must lie between {-count} and {count - 1} for "
                f"{type(denoiser).__name__}, got {settings.level}"
            )
        self.level = settings.level % count
        level = denoiser.feature_info[self.level]
        if settings.cell % level.reduction:
            raise ConfigurationError(
                f"contrast.cell must be a multiple of {level.reduction}, the reduction of level "
                f"{level.name}, got {settings.cell}"
            )
        self.settings = settings
        self.views = build_two_views(settings.augmentation, shift=settings.shift)
        # a part without weight must not leave weights without gradient: DDP would wait for them
        self.head = ContrastiveHead(
            level.channels,
            dim=settings.dim if settings.instance > 0 else None,
            clusters=settings.clusters if settings.cluster > 0 else None,
            hidden=settings.hidden,
            cell=settings.cell // level.reduction,
        )
        weights = {"instance": settings.instance, "cluster": settings.cluster}
        self.names = tuple(name for name, weight in weights.items() if weight > 0)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Compare the views.

        Args:
            features: Features of the first views of all patches, then of the second: (2B, C, h, w).

        Returns:
            "loss", the weighted sum, and the contrasts before weighting, without gradient: scalars.
        """
        settings = self.settings
        contrasted = self.head(features)
        parts: dict[str, Tensor] = {}
        if contrasted.projections is not None:
            z1, z2 = _joint_views(contrasted.projections)
            parts["instance"] = instance_contrast(z1, z2, settings.temperature)
        if contrasted.assignments is not None:
            p1, p2 = _joint_views(contrasted.assignments)
            parts["cluster"] = cluster_contrast(
                p1, p2, settings.cluster_temperature, settings.entropy
            )
        weighted = [getattr(settings, name) * value for name, value in parts.items()]
        total = torch.stack(weighted).sum()
        return {"loss": total} | {name: value.detach() for name, value in parts.items()}


def contrast_settings(given: ContrastSettings | Mapping[str, Any] | None) -> ContrastSettings:
    """Settings of what a user gave; both weights are 0 where that is None.

    Raises:
        ConfigurationError: A key is unknown, or a value impossible.
    """
    none = {"instance": 0.0, "cluster": 0.0}
    return settings_of(ContrastSettings, none if given is None else given, "contrast")


def plain_contrast(given: ContrastSettings | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Plain data of all settings, for checkpoints; None of None."""
    if given is None:
        return None
    plain = asdict(contrast_settings(given))
    return plain | {"augmentation": plain_values(plain["augmentation"])}


def build_contrast(
    given: ContrastSettings | Mapping[str, Any] | None, denoiser: Denoiser
) -> ViewContrast | None:
    """The contrast that a user asks for.

    Args:
        given: Settings, or some of their keys, the others have their defaults; None: no contrast.
        denoiser: Whose features are contrasted.

    Returns:
        The contrast; None where none is wanted, or both weights are 0.

    Raises:
        ConfigurationError: A key is unknown, a value impossible, or it does not fit the denoiser.
    """
    settings = contrast_settings(given)
    if settings.instance == settings.cluster == 0:
        return None
    return ViewContrast(settings, denoiser)


def _joint_views(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Both views' rows on all processes: 2N rows of this process to twice (W * N)."""
    first, second = gather_rows(torch.stack(rows.chunk(2), dim=1)).unbind(1)
    return first, second
