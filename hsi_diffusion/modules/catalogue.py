"""The data modules of the catalogue's scenes, of a user's own scene, and of simulated ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hsi_diffusion.modules.scene_data import SceneDataModule
from hsi_diffusion.scenes import (
    Scene,
    fetch_scene,
    load_custom_scene,
    load_scene,
    scene_info,
    simulate_scene,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes import SceneInfo


class CatalogueDataModule(SceneDataModule):
    """A scene of the catalogue.

    A subclass names it, ``class MyDataModule(CatalogueDataModule, scene="my_scene")``;
    :func:`scene_data_module` makes or finds that of any scene.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums. Where a file may not be passed on,
            as the test pixels of Houston 2013, the message says where to get it.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    scene_name: ClassVar[str]

    def __init_subclass__(cls, scene: str | None = None, **options: Any) -> None:
        """Note which scene the class is for; None: that of its base."""
        super().__init_subclass__(**options)
        if scene is not None:
            cls.scene_name = scene
            _CLASSES.setdefault(scene, cls)

    def __init__(
        self, root: str | Path = "data", *, download: bool = False, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.root = Path(root)
        self.download = download

    @property
    def info(self) -> SceneInfo:
        """The scene's facts, without reading its files."""
        return scene_info(self.scene_name)

    def prepare_data(self) -> None:
        """Fetch what is missing, on one process."""
        if self.download:
            fetch_scene(self.info, self.root)

    def load(self) -> Scene:
        """Read the scene from ``root``."""
        return load_scene(self.info, self.root, download=self.download)


_CLASSES: dict[str, type[CatalogueDataModule]] = {}


def scene_data_module(name: str) -> type[CatalogueDataModule]:
    """The data module of a scene of the catalogue, also of one that was registered later.

    Args:
        name: The scene's short name; ``"my_scene"`` gives the class ``MySceneDataModule``, which
            can also be imported from ``hsi_diffusion.modules``, and so be named in YAML.

    Returns:
        The class, always the same one for a scene.

    Raises:
        SceneError: The catalogue has no such scene.
    """
    info = scene_info(name)
    if name in _CLASSES:
        return _CLASSES[name]

    class Made(CatalogueDataModule, scene=name):
        pass

    Made.__name__ = Made.__qualname__ = class_name(name)
    Made.__module__ = "hsi_diffusion.modules"
    Made.__doc__ = (
        f"{info.title}: {info.height} x {info.width} pixels, {info.bands} bands, "
        f"{info.num_classes} classes."
    )
    return Made


def class_name(scene: str) -> str:
    """Name of a scene's data module: ``"indian_pines"`` gives ``"IndianPinesDataModule"``."""
    return "".join(part.capitalize() for part in scene.split("_")) + "DataModule"


class IndianPinesDataModule(CatalogueDataModule, scene="indian_pines"):
    """Indian Pines: AVIRIS, 145 x 145 pixels, 200 bands, 16 classes."""


class PaviaUniversityDataModule(CatalogueDataModule, scene="pavia_university"):
    """Pavia University: ROSIS, 610 x 340 pixels, 103 bands, 9 classes."""


class SalinasDataModule(CatalogueDataModule, scene="salinas"):
    """Salinas: AVIRIS, 512 x 217 pixels, 204 bands, 16 classes."""


class SalinasADataModule(CatalogueDataModule, scene="salinas_a"):
    """Salinas-A: a part of Salinas, 83 x 86 pixels, 204 bands, 6 classes."""


class Houston2013DataModule(CatalogueDataModule, scene="houston2013"):
    """Houston 2013: CASI, 349 x 1905 pixels, 144 bands, 15 classes, with the contest's split."""


class CustomSceneDataModule(SceneDataModule):
    """A user's own scene.

    Args:
        cube: ``"FILE[:key]"`` or an array, whatever
            :func:`~hsi_diffusion.scenes.load_custom_scene` takes; or a list of files, whose images
            are learned together.
        labels: Likewise; None: pretrain and map only.
        name: Short name of the scene.
        class_names: One name per class; None: ``Class 1``, ``Class 2``, ...
        wavelengths: Band centres in nm.
        rgb_bands: Bands (from 0) shown as red, green and blue.
        nodata: Value of the image that means "no data here", if its file doesn't say it.
        axes: Order of its axes, such as "CHW"; None: HWC.
        label_attribute: For polygons and points: the column that holds the class.
        resample: Resample the bands of further images to the wavelengths of the first.
        sample: Take windows of so many pixels of an image that is too large; None: all of it.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    def __init__(
        self,
        cube: list[str] | str | Path | NDArray[Any],
        labels: list[str] | str | Path | NDArray[Any] | None = None,
        *,
        name: str = "custom",
        class_names: Sequence[str] | None = None,
        wavelengths: Sequence[float] | None = None,
        rgb_bands: tuple[int, int, int] | None = None,
        nodata: float | None = None,
        axes: str | None = None,
        label_attribute: str | None = None,
        resample: bool = False,
        sample: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._given = (cube, labels)
        masks = {"train_labels": self.train_mask, "test_labels": self.test_mask}
        self.train_mask = self.test_mask = None  # they come with the scene, on its grid
        self._facts: dict[str, Any] = masks | {
            "name": name,
            "class_names": class_names,
            "wavelengths": wavelengths,
            "rgb_bands": rgb_bands,
            "nodata": nodata,
            "axes": axes,
            "label_attribute": label_attribute,
            "resample": resample,
            "sample": sample,
        }

    def load(self) -> Scene:
        """Read the files."""
        cube, labels = self._given
        return load_custom_scene(cube, labels, **self._facts)


class SimulatedSceneDataModule(SceneDataModule):
    """A simulated scene: no files, no network, the same for the same seed.

    Args:
        height: Rows.
        width: Columns.
        bands: Spectral bands.
        num_classes: Number of classes.
        scene_seed: Names the scene; the split and the order of patches follow ``seed``.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    def __init__(
        self,
        height: int = 145,
        width: int = 145,
        bands: int = 200,
        num_classes: int = 16,
        *,
        scene_seed: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._size = (height, width, bands, num_classes)
        self.scene_seed = scene_seed

    def load(self) -> Scene:
        """Simulate the scene."""
        height, width, bands, num_classes = self._size
        return simulate_scene(height, width, bands, num_classes, seed=self.scene_seed)
