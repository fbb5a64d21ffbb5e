"""The graphs along which a run spreads labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsi_diffusion.classifiers import JointPropagation, LabelPropagation
from hsi_diffusion.classifiers.joint_propagation import check_smoothing
from hsi_diffusion.classifiers.propagation import check_alpha
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.runs.candidates import choice_splits
from hsi_diffusion.runs.stages import band_space

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.runs.settings import PropagationSettings, RunSettings
    from hsi_diffusion.runs.workplace import Workplace


def scene_graph(
    data: SceneDataModule, settings: PropagationSettings, place: Workplace
) -> LabelPropagation:
    """The graph of the scene's bands, the same whatever is classified."""
    cube = band_space(data, settings.space, device=place.device)
    return propagation(settings, settings.width).fit(cube, device=place.device)


def joint_propagation(
    scene: LabelPropagation,
    cubes: Iterable[NDArray[np.float32]],
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
) -> JointPropagation:
    """The scene's graph and those of further cubes, with the weight chosen without test pixels.

    Args:
        scene: The scene's graph.
        cubes: Over the same pixels, (H, W, D) each.
        data: The scene, set up.
        settings: Everything that decides the run.
        place: Where to compute.
    """
    wanted = settings.classifier.propagation
    if wanted is None:
        return JointPropagation(scene)
    own: list[LabelPropagation] = []
    shares: tuple[float, ...] = (0.0,)
    if any(wanted.own_shares):
        shares = wanted.own_shares
        own = [
            propagation(wanted, wanted.own_width).fit(cube, device=place.device) for cube in cubes
        ]
    joint = JointPropagation(scene, own)
    choosing = len(shares) > 1 or len(wanted.other_alphas) > 0
    splits = choice_splits(data, settings.choice) if choosing else ()
    joint.choose_share(shares, data.labels, splits, data.num_classes)
    alphas = (wanted.alpha, *wanted.other_alphas)
    joint.choose_alpha(alphas, data.labels, splits, data.num_classes)
    return joint


def propagation(settings: PropagationSettings, width: float) -> LabelPropagation:
    """The propagation that the settings describe, without a graph.

    Raises:
        ConfigurationError: A setting is outside what is allowed.
    """
    return LabelPropagation(
        settings.neighbours,
        settings.spatial,
        width=width,
        alpha=settings.alpha,
        iterations=settings.iterations,
    )


def check_propagation(settings: PropagationSettings) -> None:
    """Refuse settings by which nothing can be spread.

    Raises:
        ConfigurationError: One is outside what is allowed.
    """
    propagation(settings, settings.width)
    propagation(settings, settings.own_width)
    for alpha in settings.other_alphas:
        check_alpha(alpha)
    check_smoothing(settings.answer_alpha, settings.answer_iterations, settings.answer_weight)
    shares = settings.own_shares
    if not shares or not all(0 <= share <= 1 for share in shares):
        raise ConfigurationError(
            f"own_shares must be one or more numbers from 0 to 1, got {list(shares)}"
        )
