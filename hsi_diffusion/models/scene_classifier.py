"""Transform, features, reduction, classifier and label spreading of an image as one object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hsi_diffusion.errors import ConfigurationError, NotFittedError, SceneError, SplitError
from hsi_diffusion.files import write_text
from hsi_diffusion.hardware import one_blas_thread
from hsi_diffusion.models import hub
from hsi_diffusion.models.fitting import Fitting
from hsi_diffusion.models.map_accuracy import ground_truth, map_accuracy
from hsi_diffusion.models.predictor import Prediction, Predictor
from hsi_diffusion.models.pretraining import build_pretraining, pretrain, pretraining_data
from hsi_diffusion.models.representation import DiffusionRepresentation
from hsi_diffusion.models.stopwatch import Stopwatch
from hsi_diffusion.models.storage import StoredModel, load_model, save_model
from hsi_diffusion.modules import Runtime
from hsi_diffusion.patches import Split, kind_of
from hsi_diffusion.recipes import (
    FeatureCandidate,
    Recipe,
    from_plain,
    merge,
    preset_for,
    read_preset,
)
from hsi_diffusion.scenes import Raster, Scene, fill_nodata
from hsi_diffusion.scenes.vector import Labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from hsi_diffusion.classifiers import NetworkFactory
    from hsi_diffusion.denoisers import Denoiser
    from hsi_diffusion.diffusion import NoiseSchedule
    from hsi_diffusion.graphs import Graph
    from hsi_diffusion.models.fitted import FitRecord, FittedModel, FittedOn
    from hsi_diffusion.modules import DiffusionPretrainModule
    from hsi_diffusion.patches import BandTransform
    from hsi_diffusion.recipes import DenoiserFactory, Location
    from hsi_diffusion.recipes.settings import ScheduleFactory


class SceneClassifier:
    """Learns a scene without labels, classifies it with few, and maps other images of the sensor.

    On the scene that it was fitted on, labels may be spread along graphs of the scene. On another
    image, transform and reduction are those that were fitted, nothing is fitted again, and the
    classifier's probabilities are smoothed along graphs of that image: it has no labels.

    Args:
        recipe: What decides it, see :class:`~hsi_diffusion.recipes.Recipe`; or plain data of a
            preset, whose ``scenes``, ``few_shot`` and ``disjoint`` sections follow the scene and
            the split.
        changes: For plain data: settings that are laid over it, whatever scene and split are, such
            as ``{"pretrain": {"steps": 200}}``.
        seed: Rules everything random.
        runtime: Where to compute, log and write; None: here, without files.
        watch: Times the stages; None: a new one.
        stage: Name of the classifier's training in logs, and of its checkpoint.

    Raises:
        ConfigurationError: The hardware that the runtime names is not there, or a Recipe is given
            with changes.

    Attributes:
        pretrained: The trained denoiser with its band transform; None before, and without one.
        fitted: What was learned; None before :meth:`fit`.
        record: What was compared on the way; None before :meth:`fit`, and for a model that was
            read.
        prediction: Its prediction for the scene that it was fitted on; likewise.
        graph: The graph of that scene's bands, if labels are spread; likewise.

    Example:
        >>> from hsi_diffusion import SceneClassifier, simulate_scene
        >>> from hsi_diffusion.patches import make_split
        >>> scene = simulate_scene(24, 24, 20, 3)
        >>> split = make_split(scene.labels, "10", patch_size=1, seed=0)
        >>> model = SceneClassifier.from_recipe("knn", "quick").fit(scene, split)
        >>> model.predict(scene).probabilities.shape
        (24, 24, 3)
    """

    def __init__(
        self,
        recipe: Recipe | Mapping[str, Any],
        *,
        changes: Mapping[str, Any] | None = None,
        seed: int = 0,
        runtime: Runtime | None = None,
        watch: Stopwatch | None = None,
        stage: str = "classifier",
    ) -> None:
        if changes is not None and isinstance(recipe, Recipe):
            raise ConfigurationError(
                "changes belong to the plain data of a preset; a Recipe is changed with "
                "dataclasses.replace"
            )
        self._given = recipe
        self._changes = dict(changes or {})
        self._recipe = recipe if isinstance(recipe, Recipe) else None
        self._read: StoredModel | None = None
        self.seed = seed
        self.runtime = runtime or Runtime()
        if self.runtime.accelerator not in ("auto", "cpu"):  # an estimator would never ask for it
            replace(self.runtime, deterministic=False, progress=False).make_trainer()
        self.watch = watch or Stopwatch()
        self.stage = stage
        self.pretrained: DiffusionPretrainModule | None = None
        self.fitted: FittedModel | None = None
        self.record: FitRecord | None = None
        self.prediction: Prediction | None = None
        self.graph: Graph | None = None

    def __repr__(self) -> str:
        """What it learned, in a line."""
        if self.fitted is None:
            return f"{type(self).__name__}, not fitted"
        known, seen_as = self.known, self.fitted.representation
        height, width, bands = known.shape
        seen = "raw bands"
        if isinstance(seen_as, DiffusionRepresentation):
            request = seen_as.request
            seen = f"features of {FeatureCandidate(request.timesteps, request.levels)}"
        return (
            f"{type(self).__name__}, fitted on {known.scene} ({height} x {width} pixels, {bands} "
            f"bands, {len(known.class_names)} classes): {seen}"
        )

    @classmethod
    def from_recipe(cls, method: Location, preset: str = "cpu", **options: Any) -> Self:
        """A model by the names of a recipe.

        Args:
            method: Name of a method, such as ``"diffgraph"``, or a folder with recipes of your
                own.
            preset: ``"quick"``, ``"cpu"`` or ``"paper"``.
            **options: Further arguments of the class, such as ``changes`` of settings.

        Raises:
            ConfigurationError: There is no such method or preset.

        Example:
            >>> steps = {"pretrain": {"steps": 200}, "classifier": {"members": 1}}
            >>> model = SceneClassifier.from_recipe("diffcrn", "cpu", changes=steps)
        """
        return cls(read_preset(method, preset), **options)

    @property
    def recipe(self) -> Recipe:
        """What decides the model.

        Raises:
            NotFittedError: It follows the scene and the split, and :meth:`fit` was not called yet.
        """
        if self._recipe is None:
            raise NotFittedError("the recipe follows the scene and the split: call fit(...) first")
        return self._recipe

    @property
    def known(self) -> FittedOn:
        """The image that the model learned, with names and colours of its classes.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        return self._require_fitted().known

    def check(self, scene: Scene, split: Split) -> None:
        """Make every part once, so that a wrong setting is reported before anything is computed.

        Args:
            scene: The scene.
            split: Which of its pixels are for what.

        Raises:
            SceneError: There is nothing to tell apart.
            SplitError: The split lacks pixels that are needed.
            ConfigurationError: A setting is outside what is allowed.
        """
        self._fitting(scene, split).check()

    def pretrain(
        self, scene: Scene, split: Split | None = None, *, resume: bool = False
    ) -> DiffusionPretrainModule:
        """Train the denoiser on all pixels of a scene, without labels.

        On several processes all of them call it.

        Args:
            scene: The scene; its labels play no part.
            split: The split that will be classified, for presets that follow it.
            resume: Go on from the checkpoint of an interrupted pretraining in the folder.

        Raises:
            ConfigurationError: The recipe has no pretraining.
        """
        settings = self._resolved(scene, split).pretrain
        source = f"all pixels of {scene.name}"
        transform = settings.transform().fit(scene.cube, scene.valid, source)
        module = build_pretraining(settings, transform.num_components, self.seed)
        data = pretraining_data(scene, transform, settings, self.runtime, split, seed=self.seed)
        text = f"Pretraining without labels, {settings.steps} steps"
        with self.watch.stage("pretraining", text):
            self.pretrained = pretrain(module, data, settings, self.runtime, resume=resume)
        return self.pretrained

    def fit(self, scene: Scene, split: Split, *, graph: Graph | None = None) -> Self:
        """Learn a scene: pretrain, choose features, learn the labels.

        Everything is chosen on validation pixels, which count as labels, or by cross-validation
        inside the label budget; the classifier then learns training and validation pixels. Test
        pixels are not looked at. A denoiser that the model has already is not trained again.

        Args:
            scene: The scene.
            split: Which of its pixels are for what.
            graph: Graph of the scene's bands, where another model has built it before.

        Returns:
            Itself.

        Raises:
            HsiDiffusionError: A setting, the scene or the split don't fit; reported before anything
                is computed.
        """
        if self._read is not None and self._read.foreign:
            raise ConfigurationError(
                "this model was read from files, and parts of its recipe are not the library's "
                f"({', '.join(self._read.foreign)}): make a SceneClassifier of a whole recipe to "
                "fit it"
            )
        fitting = self._fitting(scene, split)
        fitting.check()
        if fitting.recipe.pretrains and self.pretrained is None:
            fitting.module = self.pretrain(scene, split)
        with one_blas_thread():
            fitting.build_graph(graph)
            self.fitted, self.record, self.prediction = fitting.learn()
        self.graph, self._recipe, self._read = fitting.graph, fitting.recipe, None
        return self

    def predict(self, image: Scene | NDArray[Any]) -> Prediction:
        """Classify every pixel of an image of the sensor that was learned.

        Args:
            image: A scene, or values of shape (H, W, bands) in the units that were learned. Pixels
                of which a masked array hides a band hold no data.

        Returns:
            Probabilities and classes, NaN and 0 where the image holds no data. For the scene that
            was fitted on they are what the fit found.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            SceneError: The image has other bands, values that are no numbers, or no data at all.
        """
        known, valid = self.known, None
        if isinstance(image, str | Path | Raster | list | tuple):
            raise SceneError(
                "image must be a Scene or an array of shape (H, W, bands), got "
                f"{image if isinstance(image, str | Path) else type(image).__name__}: read a file "
                "first (load_custom_scene) or write its map into a file (map_image, hsi-diffusion "
                "map), and predict several images one by one"
            )
        if isinstance(image, Scene):
            known.warn_of_unknown_bands(image.info.wavelengths)
            valid = image.valid
        elif isinstance(image, np.ma.MaskedArray):
            known.check_bands(image.shape, None)
            image, valid = _filled(image)
        cube = known.cube_of(image)
        known.warn_of_other_units(cube, valid)
        with one_blas_thread():
            return self.predictor.predict(cube, valid)

    def score(self, scene: Scene, split: Split | None = None) -> dict[str, Any]:
        """Compare the model's classes with the labels of a scene.

        Args:
            scene: The scene that was learned, or another one of the sensor; its classes are the
                model's of the same name, or of the same number where the labels had no names.
            split: Its test pixels are measured; None: all labelled pixels, those that were learned
                too.

        Returns:
            Plain data: ``pixels`` (how many were measured), ``classes`` (the names), figures as
            fractions (``overall_accuracy``, ``average_accuracy``, ``kappa``, ``fwiou``, ``miou``,
            ``per_class_accuracy``, ...; None where there is nothing to measure), and
            ``confusion_matrix`` with a row for each true class.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            SceneError: The scene has other bands, or none of the model's classes.
            SplitError: The split is one of another scene.
        """
        _check_kinds(scene, split)
        info = scene.info
        ids = np.array([0, *info.class_ids])[scene.labels]
        names = {
            number: name
            for number, name in zip(info.class_ids, info.class_names, strict=True)
            # what a class without a name is called
            if name != f"Class {number}" or name in self.known.class_names
        }
        truth = ground_truth(Labels(ids, names, {}), self.known)
        if split is not None:
            split.check_fits(scene.labels)
            tested = np.isin(np.arange(truth.size), split.test).reshape(truth.shape)
            truth = np.where(tested, truth, 0)
        found = self.predict(scene).ids
        return map_accuracy([(slice(None), slice(None), found)], truth, self.known)

    @property
    def predictor(self) -> Predictor:
        """What classifies images, whole or in windows.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        fitted = self._require_fitted()
        return Predictor(fitted, self.recipe, self.runtime.device, self.prediction)

    def save(self, folder: str | Path) -> None:
        """Write the model into a folder: JSON, safetensors, and estimators without pickles.

        Args:
            folder: Written whole or not at all; a model that is there is replaced.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            OutputExistsError: The folder holds something else.
        """
        fitted = self._require_fitted()
        save_model(self._read or StoredModel(self.recipe, self.seed, fitted), Path(folder))

    def push_to_hub(
        self,
        name: str,
        *,
        run: str | Path | None = None,
        licence: str = "other",
        private: bool = False,
        revision: str | None = None,
    ) -> str:
        """Share the model on the Hugging Face Hub, with a card made from the run.

        Args:
            name: USER/NAME; made if missing.
            run: Folder of the run that made the model: the card tells its split and its figures,
                beside those of the control.
            licence: Licence of the weights, as the Hub names it.
            private: Make a repository that only you see.
            revision: Branch; None: main.

        Returns:
            The address of the upload.

        Raises:
            NotFittedError: :meth:`fit` was not called.
            ConfigurationError: The name is none, ``run`` is no run, or the Hub refuses.
            MissingDependencyError: huggingface_hub is not installed.
        """
        known = self.known
        card = hub.model_card(
            known.scene, known.class_names, None if run is None else Path(run), licence
        )
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            self.save(folder)
            write_text(folder / "README.md", card.replace("USER/NAME", name))
            return hub.upload(folder, name, private=private, revision=revision)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        revision: str | None = None,
        denoiser: DenoiserFactory | Denoiser | None = None,
        schedule: ScheduleFactory | NoiseSchedule | None = None,
        transform: type[BandTransform] | None = None,
        network: NetworkFactory | nn.Module | None = None,
        trusted: Sequence[str] = (),
        runtime: Runtime | None = None,
    ) -> Self:
        """Read a model that :meth:`save` wrote; nothing that its files name is imported or run.

        Args:
            folder: The model's folder, or, where there is none, USER/NAME on the Hugging Face Hub.
            revision: Branch, tag or commit on the Hub; None: the newest.
            denoiser: The denoiser, or what makes it, if its class is not the library's.
            schedule: Likewise its noise schedule.
            transform: The class of the band transforms, if that is not the library's; their
                settings and statistics are those that were saved.
            network: Likewise the classifier's network.
            trusted: Full names of classes of a saved estimator that are not scikit-learn's.
            runtime: Where to compute; None: here.

        Raises:
            CheckpointError: The folder holds no model, a damaged one, or a part that must be given.
            ConfigurationError: ``transform`` is no class of band transforms.
            MissingDependencyError: A model of the Hub is asked for without huggingface_hub.
        """
        runtime = runtime or Runtime()
        stored = load_model(
            hub.local_folder(folder, revision),
            denoiser=denoiser,
            schedule=schedule,
            transform=transform,
            network=network,
            trusted=tuple(trusted),
            runtime=runtime,
        )
        model = cls(stored.recipe, seed=stored.seed, runtime=runtime)
        model.fitted, model._read = stored.fitted, stored
        if isinstance(stored.fitted.representation, DiffusionRepresentation):
            model.pretrained = stored.fitted.representation.module
        return model

    def _resolved(self, scene: Scene, split: Split | None) -> Recipe:
        """Lay what a preset changes for a scene, and for a kind of split, over the rest of it."""
        if isinstance(self._given, Recipe):
            return self._given
        kind = "" if split is None else kind_of(split)
        plain = preset_for(self._given, scene=scene.name, split=kind)
        return from_plain(Recipe, merge(plain, self._changes))

    def _fitting(self, scene: Scene, split: Split) -> Fitting:
        _check_kinds(scene, split)
        return Fitting(
            recipe=self._resolved(scene, split),
            scene=scene,
            split=split,
            runtime=self.runtime,
            watch=self.watch,
            module=self.pretrained,
            seed=self.seed,
            stage=self.stage,
        )

    def _require_fitted(self) -> FittedModel:
        if self.fitted is None:
            raise NotFittedError("this model has learned nothing yet: call fit(scene, split) first")
        return self.fitted


def _check_kinds(scene: Scene, split: Split | None) -> None:
    """Refuse arrays and numbers in the place of a scene and a split."""
    if not isinstance(scene, Scene):
        raise SceneError(
            f"scene must be a Scene, got {_told(scene)}: load_scene(name, root), or "
            "load_custom_scene(cube, labels) for arrays and files of yours, make one"
        )
    if split is not None and not isinstance(split, Split):
        raise SplitError(
            f"split must be a Split, got {_told(split)}: scene_split(scene, 10, patch_size=9) "
            "makes one of 10 pixels of each class"
        )


def _told(value: object) -> str:
    """A value where it is short, else its type."""
    return repr(value) if isinstance(value, int | float | str) else type(value).__name__


def _filled(
    image: np.ma.MaskedArray[Any, Any],
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Values of a masked image as a scene holds them, and which pixels hold data; None: all."""
    valid = np.logical_not(np.ma.getmaskarray(image).any(axis=2))
    if not valid.any():
        raise SceneError("image must hold data, but its mask hides a band or more of every pixel")
    return (image.data, None) if valid.all() else (fill_nodata(image.data, valid), valid)
