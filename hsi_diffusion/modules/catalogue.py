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


class _CatalogueDataModule(SceneDataModule):
    """A scene of the catalogue.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums.
        **settings: Arguments of :class:`SceneDataModule`; ``split`` is the scene's
            ``default_split`` where it is left out.
    """

    scene_name: ClassVar[str]

    def __init__(
        self, root: str | Path = "data", *, download: bool = False, **settings: Any
    ) -> None:
        super().__init__(**{"split": scene_info(self.scene_name).default_split, **settings})
        self.root = Path(root)
        self.download = download

    @property
    def info(self) -> SceneInfo:
        """The scene's facts, without reading its files."""
        return scene_info(self.scene_name)

    def prepare_data(self) -> None:
        """Fetch what is missing, on one process."""
        if self.download:
            fetch_scene(self.scene_name, self.root)

    def load(self) -> Scene:
        """Read the scene from ``root``."""
        return load_scene(self.scene_name, self.root, download=self.download)


class IndianPinesDataModule(_CatalogueDataModule):
    """Indian Pines: AVIRIS, 145 x 145 pixels, 200 bands, 16 classes.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    scene_name = "indian_pines"


class PaviaUniversityDataModule(_CatalogueDataModule):
    """Pavia University: ROSIS, 610 x 340 pixels, 103 bands, 9 classes.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    scene_name = "pavia_university"


class SalinasDataModule(_CatalogueDataModule):
    """Salinas: AVIRIS, 512 x 217 pixels, 204 bands, 16 classes.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    scene_name = "salinas"


class SalinasADataModule(_CatalogueDataModule):
    """Salinas-A: a part of Salinas, 83 x 86 pixels, 204 bands, 6 classes.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    scene_name = "salinas_a"


class Houston2013DataModule(_CatalogueDataModule):
    """Houston 2013: CASI, 349 x 1905 pixels, 144 bands, 15 classes, with the contest's split.

    The contest's training and test pixels are the default, ``split="fixed"``.

    Args:
        root: Folder with the scene's files, or above the scene's own folder.
        download: Fetch missing files and check their checksums. The test pixels come by hand.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    scene_name = "houston2013"


class CustomSceneDataModule(SceneDataModule):
    """A user's own scene.

    Args:
        cube: ``"FILE[:key]"`` (.mat, HDF5, .npy, TIFF) or an array of shape (H, W, bands).
        labels: Likewise the label map, shape (H, W), 0 = unlabelled; None: pretrain and map only.
        name: Short name of the scene.
        class_names: One name per class; None: ``Class 1``, ``Class 2``, ...
        wavelengths: Band centres in nm.
        rgb_bands: Bands (from 0) shown as red, green and blue.
        **settings: Arguments of :class:`SceneDataModule`.
    """

    def __init__(
        self,
        cube: str | Path | NDArray[Any],
        labels: str | Path | NDArray[Any] | None = None,
        *,
        name: str = "custom",
        class_names: Sequence[str] | None = None,
        wavelengths: Sequence[float] | None = None,
        rgb_bands: tuple[int, int, int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._given = (cube, labels)
        self._facts: dict[str, Any] = {
            "name": name,
            "class_names": class_names,
            "wavelengths": wavelengths,
            "rgb_bands": rgb_bands,
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
