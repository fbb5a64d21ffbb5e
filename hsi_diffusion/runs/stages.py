"""The stages of a run, each a function from what came before to what comes next."""

from __future__ import annotations

import shutil
import warnings
from typing import TYPE_CHECKING, Any

import torch

from hsi_diffusion.classifiers import SpectralGraph
from hsi_diffusion.errors import CheckpointError, ConfigurationError
from hsi_diffusion.features import FeatureStore, feature_key
from hsi_diffusion.metrics import HSIMetrics
from hsi_diffusion.modules import (
    ClassificationMap,
    CustomSceneDataModule,
    DiffusionPretrainModule,
    Houston2013DataModule,
    IndianPinesDataModule,
    PaviaUniversityDataModule,
    ReconstructionFigures,
    SalinasADataModule,
    SalinasDataModule,
    SimulatedSceneDataModule,
)
from hsi_diffusion.patches import build_transform, gaussian_blur
from hsi_diffusion.runs.batches import share_of_step
from hsi_diffusion.runs.building import build_classification, feature_request
from hsi_diffusion.runs.candidates import FeatureCandidate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from lightning.pytorch.loggers import Logger
    from numpy.typing import NDArray

    from hsi_diffusion.features import FeatureCube
    from hsi_diffusion.modules import (
        FeatureClassifierModule,
        PatchDataModule,
        SceneDataModule,
    )
    from hsi_diffusion.runs.settings import (
        ClassifierSettings,
        PretrainSettings,
        RunSettings,
        SpaceSettings,
    )
    from hsi_diffusion.runs.workplace import Workplace

CATALOGUE_MODULES = {
    module.scene_name: module
    for module in (
        IndianPinesDataModule,
        PaviaUniversityDataModule,
        SalinasDataModule,
        SalinasADataModule,
        Houston2013DataModule,
    )
}
SCENES = (*CATALOGUE_MODULES, "simulated", "custom")
"""Names that ``scene.name`` may have."""


def build_scene_data(settings: RunSettings, **options: Any) -> SceneDataModule:
    """The data module of a run's scene.

    Args:
        settings: Scene, split and seed come from here.
        **options: Further arguments of the data module: transform, patches, loaders.

    Raises:
        ConfigurationError: The scene is unknown or half described.
    """
    scene, split = settings.scene, settings.split
    common = {
        "split": split.kind,
        "train_mask": split.train_mask,
        "test_mask": split.test_mask,
        "guard": split.guard,
        "val_fraction": split.val_fraction,
        # one split for all stages: its guard must fit the classifier's patches
        "split_patch_size": settings.classifier.patch_size,
        "seed": settings.seed,
        **options,
    }
    if scene.name == "simulated":
        return SimulatedSceneDataModule(
            scene.height,
            scene.width,
            scene.bands,
            scene.num_classes,
            scene_seed=scene.scene_seed,
            **common,
        )
    if scene.name == "custom":
        if scene.cube is None:
            raise ConfigurationError("scene 'custom' needs a cube: give --cube FILE[:key]")
        return CustomSceneDataModule(scene.cube, scene.labels, **common)
    if scene.name not in CATALOGUE_MODULES:
        raise ConfigurationError(f"scene must be one of {', '.join(SCENES)}, got {scene.name!r}")
    return CATALOGUE_MODULES[scene.name](scene.root, download=scene.download, **common)


def pretrain(
    module: DiffusionPretrainModule,
    data: SceneDataModule,
    settings: PretrainSettings,
    place: Workplace,
    *,
    resume: bool = False,
) -> DiffusionPretrainModule:
    """Train the denoiser on the scene.

    Args:
        module: What to train, see :func:`~hsi_diffusion.runs.building.build_pretraining`.
        data: The scene's patches, ``task="pretrain"``.
        settings: How to train.
        place: Where to compute and write.
        resume: Go on from the checkpoint that an interrupted run left in the folder, if it got that
            far; several processes have to see the same folder.

    Returns:
        The trained module, in evaluation mode.
    """
    checkpoint = place.folder / "checkpoints" / "pretrain.ckpt"
    # not by the file alone: one process may still see what another is about to replace
    interrupted = resume and checkpoint.is_file()
    if interrupted:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        if stored["global_step"] >= settings.steps:
            module.load_state_dict(stored["state_dict"])
            return module.eval()
    parts = share_of_step(settings, place.devices * place.num_nodes).parts
    with place.logging("pretrain") as logger:
        trainer = place.make_trainer(
            steps=settings.steps,
            accumulate=parts,
            precision=settings.precision,
            gradient_clip=settings.gradient_clip,
            logger=logger,
            checkpoint=checkpoint,
            devices=place.devices,
            num_nodes=place.num_nodes,
            validate=True,
            callbacks=[ReconstructionFigures(folder=place.folder)],
        )
        trainer.fit(module, data, ckpt_path=checkpoint if interrupted else None)
        # Lightning stops before it validates
        if settings.steps * parts % trainer.num_training_batches:
            trainer.validate(module, data, verbose=False)
    return module.eval()


def load_pretrained(path: str | Path, data: SceneDataModule) -> DiffusionPretrainModule:
    """Take a trained denoiser and its band transform from a checkpoint.

    Args:
        path: The checkpoint of a pretraining.
        data: The scene that it is used on; its transform is replaced by the checkpoint's.

    Returns:
        The trained module, in evaluation mode.

    Raises:
        CheckpointError: The file is no such checkpoint.
        ConfigurationError: It was trained on a scene with another number of bands.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        module = DiffusionPretrainModule(**stored["hyper_parameters"])
        module.load_state_dict(stored["state_dict"])
        states = [
            value["transform"]
            for value in stored.values()
            if isinstance(value, dict) and "transform" in value
        ]
        (state,) = states
    except (FileNotFoundError, IsADirectoryError) as error:
        raise CheckpointError(
            f"there is no checkpoint file {path}; give the checkpoints/pretrain.ckpt of an earlier "
            "run"
        ) from error
    # torch.load and what follows raise almost anything on other files and damaged ones
    except Exception as error:
        raise CheckpointError(
            f"{path} is not the checkpoint of a pretraining with one of this library's scene data "
            f"modules, or is cut short; give the checkpoints/pretrain.ckpt of an earlier run "
            f"({error})"
        ) from error
    data.load_state_dict({"transform": state})
    if not data.transform.fitted_on.endswith(f" of {data.info.name})"):
        warnings.warn(
            f"the denoiser of {path} was trained on another scene: {data.transform.fitted_on}; it "
            f"is used on {data.info.name} with the bands scaled as there",
            stacklevel=2,
        )
    return module.eval()


def extract(
    module: DiffusionPretrainModule,
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    candidate: FeatureCandidate,
) -> FeatureCube:
    """Features of the whole scene for one candidate.

    They are kept in the run's folder, and found there the next time.
    """
    request, reduction = feature_request(settings, candidate, place.device)
    return module.extract_features(
        data.cube,
        request,
        reduction=reduction,
        angles=settings.features.angles,
        store=feature_store(place),
        device=place.device,
    )


def feature_store(place: Workplace) -> FeatureStore:
    """Where a run keeps its features."""
    return FeatureStore(place.folder / "features")


def restored(
    module: DiffusionPretrainModule,
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
) -> Iterator[NDArray[np.float32]]:
    """The scene as the denoiser restores it from each timestep of the features, one by one."""
    for timestep in settings.features.timesteps:
        wanted = FeatureCandidate((timestep,), (0,))
        request, _ = feature_request(settings, wanted, place.device)
        yield module.restore(data.cube, request, device=place.device)[0].numpy()


def remove_features(
    module: DiffusionPretrainModule,
    data: SceneDataModule,
    settings: RunSettings,
    place: Workplace,
    *,
    but: FeatureCandidate | None = None,
) -> None:
    """Remove the feature files of candidates that lost; on a large scene they fill a disk.

    With them goes what an earlier session of the run left when it was killed.
    """
    store = feature_store(place)
    if but is None:
        shutil.rmtree(store.folder, ignore_errors=True)
        return
    request, reduction = feature_request(settings, but, place.device)
    angles = module.prediction if settings.features.angles else None
    key = feature_key(
        module.trained_denoiser, module.schedule, data.cube, request, reduction, angles=angles
    )
    for path in store.folder.glob("features-*.h5"):
        if path != store.path(key):
            path.unlink(missing_ok=True)  # gone is gone, whoever removed it
    store.remove_leftovers()


def band_space(
    data: SceneDataModule, space: SpaceSettings, *, device: str | torch.device = "cpu"
) -> NDArray[np.float32]:
    """The scene's bands in a space that is fitted on all its pixels, shape (H, W, C).

    Args:
        data: The scene, set up.
        space: Which space.
        device: Where the nearest neighbours are looked for, if it wants any.
    """
    transform = build_transform(space.transform, space.components, **space.transform_options)
    cube = data.scene.cube
    found = transform.fit(cube, source=f"all pixels of {data.info.name}").transform(cube)
    if space.blur:
        found = gaussian_blur(found, space.blur)
    if space.neighbours:
        found = SpectralGraph(space.neighbours).fit(found, device=device).smooth(found)
    return found


def train_classifier(
    data: PatchDataModule,
    settings: ClassifierSettings,
    place: Workplace,
    seed: int,
    *,
    steps: int,
    logger: Logger | bool = False,
    checkpoint: Path | None = None,
) -> FeatureClassifierModule:
    """Train a classifier on patches.

    Args:
        data: Labelled patches; its ``train_on`` says of which pixels.
        settings: How to train.
        place: Where to compute.
        seed: Rules initial weights, augmentation and dropout.
        steps: Optimiser steps.
        logger: Where figures go.
        checkpoint: File that the last state is written to; None writes none.

    Returns:
        The trained module.
    """
    module = build_classification(
        data.num_bands, data, settings, seed, timesteps=data.timesteps, angles=data.angles
    )
    trainer = place.make_trainer(
        steps=steps,
        precision=settings.precision,
        gradient_clip=settings.gradient_clip,
        logger=logger,
        checkpoint=checkpoint,
    )
    trainer.fit(module, data)
    return module


def validate(
    module: FeatureClassifierModule,
    data: PatchDataModule,
    settings: ClassifierSettings,
    place: Workplace,
) -> tuple[float, float]:
    """Overall accuracy and mean cross-entropy on the validation pixels."""
    trainer = place.make_trainer(precision=settings.precision, validate=True)
    (figures,) = trainer.validate(module, data, verbose=False)
    return float(figures["val/overall_accuracy"]), float(figures["val/loss"])


def predict_map(
    module: FeatureClassifierModule,
    data: PatchDataModule,
    settings: ClassifierSettings,
    place: Workplace,
) -> NDArray[np.int64]:
    """Predict the class of every pixel.

    Args:
        module: The trained classifier.
        data: Patches of the cube that it was trained on.
        settings: For the precision.
        place: Where to compute.

    Returns:
        Classes 1..K, shape (H, W).
    """
    collect = ClassificationMap()
    trainer = place.make_trainer(precision=settings.precision, callbacks=[collect])
    trainer.predict(module, datamodule=data, return_predictions=False)
    return collect.predicted


def measure(
    predicted: NDArray[np.int64], data: PatchDataModule, test: NDArray[np.int64]
) -> HSIMetrics:
    """Count a map's classes at the test pixels."""
    metrics = HSIMetrics(data.num_classes)
    metrics.update(
        torch.from_numpy(predicted.ravel()[test] - 1),
        torch.from_numpy(data.labels.ravel()[test] - 1),
    )
    return metrics
