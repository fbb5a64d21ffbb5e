"""One fit of a model to a scene: candidates, the choice among them, the last training."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hsi_diffusion.classifiers import (
    EstimatorClassifier,
    Layout,
    NetworkClassifier,
    cross_entropy,
    parts_of,
)
from hsi_diffusion.errors import ConfigurationError, SceneError, SplitError
from hsi_diffusion.features import FeatureStore, feature_channels
from hsi_diffusion.graphs import Spreading
from hsi_diffusion.hardware import resolve_precision
from hsi_diffusion.models.fitted import FitRecord, FittedModel, FittedOn, Trial
from hsi_diffusion.models.predictor import Prediction
from hsi_diffusion.models.pretraining import build_pretraining
from hsi_diffusion.models.representation import BandRepresentation, DiffusionRepresentation
from hsi_diffusion.patches import cross_validation_folds
from hsi_diffusion.patches.gather import check_patch_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.classifiers import Cube, PixelClassifier
    from hsi_diffusion.graphs import Graph
    from hsi_diffusion.models.fitted import Representation
    from hsi_diffusion.models.stopwatch import Stopwatch
    from hsi_diffusion.modules import DiffusionPretrainModule, Runtime
    from hsi_diffusion.patches import BandTransform, Split
    from hsi_diffusion.recipes import BandSpace, FeatureCandidate, Recipe
    from hsi_diffusion.scenes import Scene

Candidate = TypeVar("Candidate")


@dataclass(kw_only=True, eq=False)
class Fitting:
    """One fit of a model to a scene.

    Attributes:
        recipe: What decides it.
        scene: The scene.
        split: Which of its pixels are for what.
        runtime: Where to compute, log and write.
        watch: Times the stages.
        module: The trained denoiser; None before the pretraining, and without one.
        seed: Rules everything random.
        stage: Name of the last training in logs, and of its checkpoint.
        graph: The graph of the scene's bands, where labels are spread; there after
            :meth:`build_graph`.
        graph_space: The space that it is made in; likewise.
    """

    recipe: Recipe
    scene: Scene
    split: Split
    runtime: Runtime
    watch: Stopwatch
    module: DiffusionPretrainModule | None
    seed: int
    stage: str
    graph: Graph | None = None
    graph_space: BandRepresentation | None = None

    def check(self) -> None:
        """See :meth:`~hsi_diffusion.models.SceneClassifier.check`."""
        scene, spread = self.scene, self.recipe.spreading
        if scene.num_classes < 2:
            raise SceneError(
                f"scene {scene.name!r} has a single class, so there is nothing to tell apart; in "
                "the label map 0 means unlabelled: number the classes from 1, and give two or more"
            )
        self.split.check_fits(scene.labels)
        if self._compares():
            self._choice_splits()
        for layout in self._layouts():
            self._classifier().check(layout, scene.num_classes)
        if spread.active:
            self._check_neighbours("spreading.neighbours", spread.neighbours)

    def build_graph(self, graph: Graph | None) -> None:
        """Build the graph of the scene's bands, if labels are spread; or take another model's."""
        settings, valid = self.recipe.spreading, self.scene.valid
        if not settings.active:
            return
        with self.watch.stage("graph", "Graph that labels are spread along"):
            self.graph_space = self._bands(settings.space)
            if graph is None:
                bands = self.graph_space(self.scene.cube, valid)
                graph = settings.graph().fit(bands, valid=valid, device=self.runtime.device)
            self.graph = graph

    def learn(self) -> tuple[FittedModel, FitRecord, Prediction]:
        """Compare what there is to learn from, learn the best of it, and classify the scene."""
        if not self.recipe.pretrains:
            return self._choose_and_learn(self.recipe.raw_bands, self._bands)
        module, cube, valid = self.module, self.scene.cube, self.scene.valid
        assert module is not None  # noqa: S101  (the model has pretrained it)
        settings, spread, store = self.recipe.features, self.recipe.spreading, self._store()
        candidates = settings.candidates()
        restored: list[Graph] | None = None
        with self.watch.stage("features", f"Features, {len(candidates)} candidates (t, level)"):
            if store is not None:  # all of them together may not fit into memory
                store.remove_leftovers()  # a session that was killed can't tidy up
                for _, some in groupby(candidates, key=lambda candidate: candidate.timesteps):
                    together = [self._features(candidate, module) for candidate in some]
                    DiffusionRepresentation.keep_together(together, cube, valid)
            if spread.active and spread.own == "restored":
                first = self._features(candidates[0], module)
                own = first.restored(cube, settings.timesteps) if any(spread.own_shares) else ()
                device = self.runtime.device
                restored = [spread.own_graph().fit(one, valid=valid, device=device) for one in own]
        represent = partial(self._features, module=module)
        learned = self._choose_and_learn(candidates, represent, restored)
        if store is not None and settings.keep != "all":
            best = represent(learned[1].best.candidate).path(cube, valid)
            store.remove(but=(best,) if settings.keep == "best" else ())
        return learned

    def _choose_and_learn(
        self,
        candidates: Sequence[Candidate],
        represent: Callable[[Candidate], Representation],
        restored: Sequence[Graph] | None = None,
    ) -> tuple[FittedModel, FitRecord, Prediction]:
        """Compare candidates on validation pixels, by short trainings; then learn the best one.

        Of equals the first wins, so that the preferred ones (small t, low levels) come first.

        Args:
            candidates: What there is to learn from.
            represent: Makes what the classifier sees of an image, out of a candidate.
            restored: Graphs of the scene as the denoiser restores it, where labels are spread along
                these and not along graphs of what is classified.
        """
        labels, classes = self.scene.labels, self.scene.num_classes
        compared = len(candidates) > 1 or self.recipe.choice.score
        splits = self._choice_splits() if compared else (self.split,)

        def seen_by(candidate: Candidate) -> tuple[Representation, Cube, Spreading | None]:
            representation = represent(candidate)
            cube = representation(self.scene.cube, self.scene.valid)
            return representation, cube, self._spreading(cube, restored)

        trials: list[Trial] = []
        best, kept = Trial(candidates[0]), None
        with self.watch.stage("choice", "Choice among candidates without test pixels"):
            for number, candidate in enumerate(candidates if compared else (), start=1):
                representation, cube, spreading = seen_by(candidate)
                scores = [
                    self._score(part, cube, spreading, f"choice-{number}", log=part is splits[0])
                    for part in splits
                ]
                mean = np.average(scores, axis=0, weights=[len(part.val) for part in splits])
                trials.append(Trial(candidate, *mean.tolist()))
                if kept is None or trials[-1].rank < best.rank:
                    best, kept = trials[-1], (representation, spreading)
        with self.watch.stage("classifier", f"Classifier on {best.candidate}"):
            if kept is None:
                representation, cube, spreading = seen_by(best.candidate)
            else:  # no second fit, no second graph
                representation, spreading = kept
                cube = representation(self.scene.cube, self.scene.valid)
            start = time.perf_counter()
            classifier = self._classifier().fit(cube, labels, self.split.labelled, classes)
            trained = time.perf_counter()
            found = classifier.predict(cube).reshape(*labels.shape, classes)
            if spreading is not None:
                found = spreading.join(found, labels, self.split.labelled)
            seconds = trained - start, time.perf_counter() - trained
        known = FittedOn.of(self.scene, self.split.labelled)
        chosen = (0.0, 0.0) if spreading is None else (spreading.share, spreading.alpha)
        return (
            FittedModel(representation.fitted(cube), classifier, known, self.graph_space, *chosen),
            FitRecord(
                tuple(trials) or (best,),
                best,
                len(splits),
                *seconds,
                classifier.timestep_weights(cube),
            ),
            Prediction(found, known.class_names, known.class_ids, self.scene.valid),
        )

    def _score(
        self, part: Split, cube: Cube, spreading: Spreading | None, name: str, *, log: bool
    ) -> tuple[float, float]:
        """Accuracy and loss of a split's validation pixels, after a short training on the others.

        One curve of every candidate is enough, so that not all folds are logged.
        """
        labels, classes = self.scene.labels, self.scene.num_classes
        trial = self._classifier().trial(self.recipe.choice.steps, name)
        trial.fit(cube, labels, part.train, classes, part.val if log else None)
        found = self._at_validation(trial, cube, spreading, part)
        truth = labels.ravel()[part.val] - 1
        return float((found.argmax(axis=1) == truth).mean()), cross_entropy(found, truth)

    def _at_validation(
        self, trial: PixelClassifier, cube: Cube, spreading: Spreading | None, part: Split
    ) -> NDArray[np.float32]:
        """Probabilities (N, K) of a split's validation pixels, by what learned its training."""
        if spreading is None:
            return trial.predict(cube, part.val)
        labels, classes = self.scene.labels, self.scene.num_classes
        if spreading.settings.smooth:
            found = trial.predict(cube)
        else:  # every pixel counts by itself
            found = np.full((labels.size, classes), 1 / classes, dtype=np.float32)
            found[part.val] = trial.predict(cube, part.val)
        found = found.reshape(*labels.shape, classes)
        return spreading.join(found, labels, part.train).reshape(-1, classes)[part.val]

    def _spreading(self, cube: Cube, restored: Sequence[Graph] | None) -> Spreading | None:
        """What labels are spread along, with its weights chosen without test pixels."""
        settings, labels = self.recipe.spreading, self.scene.labels
        if self.graph is None:
            return None
        if restored is None:
            own = parts_of(cube, each=self.recipe.classifier.each)
            spreading = Spreading.fit(
                settings, self.graph, own, valid=self.scene.valid, device=self.runtime.device
            )
        else:
            spreading = Spreading(settings, self.graph, restored)
        choosing = len(settings.own_shares) > 1 or len(settings.other_alphas) > 0
        splits = self._choice_splits() if choosing else ()
        return spreading.choose(labels, splits, self.scene.num_classes)

    def _bands(self, space: BandSpace) -> BandRepresentation:
        scene = self.scene
        source = f"all pixels of {scene.name}"
        return BandRepresentation.fit(space, scene.cube, source, self.runtime.device, scene.valid)

    def _features(
        self, candidate: FeatureCandidate, module: DiffusionPretrainModule
    ) -> DiffusionRepresentation:
        settings = self.recipe.features
        precision = resolve_precision(settings.precision, self.runtime.device)
        request = settings.request(candidate, precision, self.seed)
        reduction = settings.reduction()
        if reduction is not None:
            module.trained_denoiser.check_indices(request.levels)
            channels = sum(feature_channels(module.trained_denoiser, request))
            channels //= len(request.timesteps) if reduction.per_timestep else 1
            fewer = min(reduction.components, channels)
            reduction = replace(reduction, components=fewer)
        return DiffusionRepresentation(
            module, request, reduction, settings.angles, self._store(), self.runtime.device
        )

    def _classifier(self) -> PixelClassifier:
        settings = self.recipe.classifier
        if settings.estimator is not None:
            return EstimatorClassifier(settings.estimator, each=settings.each, seed=self.seed)
        return NetworkClassifier(
            settings,
            self.runtime,
            stage=self.stage,
            class_names=self.scene.info.class_names,
            seed=self.seed,
        )

    def _layouts(self) -> set[Layout]:
        """How the channels of the candidates lie; everything that makes them is made once."""
        recipe, bands = self.recipe, self.scene.bands
        if not recipe.pretrains:
            for space in recipe.raw_bands:
                self._check_neighbours("raw_bands.neighbours", space.neighbours)
            return {Layout(_components(space.transform(), bands)) for space in recipe.raw_bands}
        module = self.module
        if module is None:
            settings = recipe.pretrain
            check_patch_settings(settings.patch_size, settings.padding)
            channels = _components(settings.transform(), bands)
            module = build_pretraining(settings, channels, self.seed)
            trainer = self.runtime.make_trainer(
                steps=settings.steps, precision=settings.precision, together=True
            )
            parameters = module.denoiser.parameters()
            module.optimisation.configure(parameters, trainer, where="pretrain.")
        pixels = self.scene.height * self.scene.width
        candidates = recipe.features.candidates()
        return {self._features(candidate, module).layout(pixels) for candidate in candidates}

    def _check_neighbours(self, name: str, neighbours: int) -> None:
        pixels = self.scene.height * self.scene.width
        if neighbours >= pixels:
            raise ConfigurationError(
                f"{name} must be below the number of pixels, {pixels}, got {neighbours}"
            )

    def _compares(self) -> bool:
        """Whether anything is compared on validation pixels."""
        recipe, spread = self.recipe, self.recipe.spreading
        choices = [len(recipe.features.candidates() if recipe.pretrains else recipe.raw_bands)]
        if spread.active:
            choices += [len(spread.own_shares), 1 + len(spread.other_alphas)]
        return max(choices) > 1 or recipe.choice.score

    def _choice_splits(self) -> tuple[Split, ...]:
        """Splits to compare on: each one's training pixels are learned, the others compared.

        The split itself where its validation part is large enough; else folds of its label budget,
        see :class:`~hsi_diffusion.recipes.ChoiceSettings`.
        """
        split, settings = self.split, self.recipe.choice
        # folds would be drawn at random, inside the fields of the training
        apart = split.disjoint and len(split.val)
        if settings.folds > 1 and not apart and len(split.val) < settings.small:
            return cross_validation_folds(split, self.scene.labels, settings.folds, seed=self.seed)
        if not len(split.val):
            raise SplitError(
                "the split has no validation pixels to choose by: give more pixels per class, a "
                "val_fraction above 0, choice.folds of at least 2, or a single candidate "
                "(features.timesteps, features.levels, raw_bands, spreading.own_shares)"
            )
        return (split,)

    def _store(self) -> FeatureStore | None:
        folder = self.runtime.folder
        return None if folder is None else FeatureStore(folder / "features")


def _components(transform: BandTransform, bands: int) -> int:
    """Channels that an unfitted transform will give of so many bands."""
    return min(transform.components or bands, bands)
