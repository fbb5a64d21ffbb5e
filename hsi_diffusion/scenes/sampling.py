"""A scene of windows of an image that is too large for memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hsi_diffusion.scenes.load import load_custom_scene
from hsi_diffusion.scenes.windows import draw_windows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hsi_diffusion.scenes.raster import Raster
    from hsi_diffusion.scenes.scene import Scene


def sample_scene(
    image: Raster,
    labels: NDArray[np.integer[Any]],
    *,
    pixels: int = 2**19,
    side: int = 64,
    margin: int = 12,
    seed: int = 0,
    **facts: Any,
) -> Scene:
    """Put windows of a large image together to a scene that fits into memory.

    A model is fitted on it like on any other scene, and then maps the whole image: what it learns
    without labels comes from random windows, and its labelled pixels keep their neighbourhoods. The
    windows lie on a grid, are read with a margin, and are kept apart by pixels without data, so
    that no patch sees two of them. Three quarters of them are windows with labels, as far as there
    are so many, each class in turn; the others are drawn from the rest.

    Of a field that several windows cut, the scene's ``fields`` know the pieces as one. A split into
    blocks keeps its distance inside of the sampled scene, where neighbours need not be
    neighbours on the ground.

    Args:
        image: The image.
        labels: Its label map, shape (H, W); 0 is unlabelled.
        pixels: Pixels of the scene, about.
        side: Side of a window without its margin.
        margin: Pixels around it that are read with it: half of the largest patch.
        seed: Names the draw of the windows.
        **facts: Further arguments of :func:`~hsi_diffusion.scenes.load_custom_scene`.

    Returns:
        The scene. Its pixels outside of the windows are not valid.

    Raises:
        SceneError: The label map has another size than the image.
    """
    values, valid, (known,), fields = draw_windows(
        image, [labels], pixels=pixels, side=side, margin=margin, seed=seed
    )
    scene = load_custom_scene(values, known, **{"wavelengths": image.wavelengths, **facts})
    info = replace(scene.info, fwhm=image.fwhm)
    return replace(scene, valid=valid, fields=fields, info=info)
