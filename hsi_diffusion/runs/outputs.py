"""What a run leaves behind: figures of merit, maps, pictures, and a report to read."""

from __future__ import annotations

import json
import math
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from scipy.ndimage import distance_transform_edt

from hsi_diffusion.errors import MissingDependencyError
from hsi_diffusion.files import atomic_path, plain_data, write_text
from hsi_diffusion.hardware import describe_hardware
from hsi_diffusion.models import BandRepresentation
from hsi_diffusion.patches import blur_radius, in_labelled_fields
from hsi_diffusion.reports import (
    TRAINING_ACCURACY,
    UNSEEN_FIELDS,
    RunReport,
    SplitReport,
    class_spectra,
    class_table,
    classification_map,
    compared_maps,
    confusion_matrix,
    false_colour,
    results_table,
    save_both,
    split_map,
    timestep_map,
    timestep_table,
    write_report,
)
from hsi_diffusion.runs.choices import choices, validation
from hsi_diffusion.scenes.ground import pixel_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from hsi_diffusion.patches import Split
    from hsi_diffusion.runs.loggers import RunLogger
    from hsi_diffusion.runs.result import Outcome, RunResult
    from hsi_diffusion.scenes import Scene


def write_outputs(result: RunResult, folder: Path, logger: RunLogger) -> None:
    """Write everything that a run's folder should hold, next to its checkpoints and logs.

    ``metrics.json`` comes last: it marks the run as finished.

    Args:
        result: What the run found.
        folder: The run's folder.
        logger: Follows the run.
    """
    scene, split, settings = result.scene, result.split, result.settings
    record = result.method.record
    seen = _seen(result)
    leakage = None if seen is None else split.leakage(seen, settings.classifier.padding)
    results = _results(result)
    split.save(folder / "split.npz")
    kind = np.min_scalar_type(scene.num_classes)  # uint8 up to 255 classes
    maps = {"classification_map": result.method.predicted}
    for name, where in (scene.images or {}).items():
        maps[f"classification_map-{name}"] = result.method.predicted[where]
    if result.control is not None:
        maps["control_map"] = result.control.predicted
    for name, predicted in maps.items():
        with atomic_path(folder / f"{name}.npy") as path:
            np.save(path, predicted.astype(kind), allow_pickle=False)
    weights = record.timestep_weights
    timesteps: tuple[int, ...] = getattr(record.best.candidate, "timesteps", ())
    if settings.figures:
        for name, figure in _figures(result, timesteps).items():
            save_both(figure, folder / f"{name}.png")
            logger.figure(name, figure)
    fields = in_labelled_fields(split, scene.labels, scene.fields)
    again = ["--config", str(folder / "config.yaml"), "--out", f"{folder}-again"]
    report = RunReport(
        title=f"{settings.method} on {scene.info.title}",
        image=_image(scene),
        metrics=results,
        class_names=scene.info.class_names,
        split=SplitReport(
            kind=split.settings.get("kind"),
            seed=split.settings.get("seed"),
            pixels=_pixels(split),
            per_class=split.settings.get("per_class", ()),
            notes=split.settings.get("notes", ()),
            patch_size=seen,
            leakage=leakage,
            nearest=_nearest(result),
            labelled_fields=float(fields.mean()),
            fields=split.settings.get("fields", ()),
        ),
        choices=choices(result),
        timesteps=None
        if weights is None
        else timestep_table(weights, timesteps, scene.labels, scene.info.class_names),
        settings=_settings(result),
        timings=result.seconds,
        resumed=result.resumed,
        hardware=describe_hardware(),
        command=f"hsi-diffusion run {shlex.join(again)}",
    )
    write_report(folder / "report.md", report)
    _log(result, results, folder, logger)
    found = plain_data(_summary(result, results, leakage))
    write_text(folder / "metrics.json", json.dumps(found, indent=2, allow_nan=False))


def _figures(result: RunResult, timesteps: tuple[int, ...]) -> dict[str, Figure]:
    """All figures of a finished run, by the names of their files."""
    scene, split, predicted = result.scene, result.split, result.method.predicted
    confusion = result.method.metrics.confusion_matrix.numpy()
    figures = {
        "classification_map": classification_map(
            predicted,
            scene.info,
            truth=scene.labels,
            metres=_metres(scene),
            georeference=scene.georeference,
        ),
        "false_colour": false_colour(scene.cube, scene.info, scene.valid),
        "class_spectra": class_spectra(scene.cube, scene.labels, scene.info),
        "confusion_matrix": confusion_matrix(confusion, scene.info.class_names),
        "split": split_map(scene.labels, split.train, split.val, split.test, scene.valid),
    }
    if result.control is not None:
        figures["comparison"] = compared_maps(
            predicted,
            result.control.predicted,
            scene.labels,
            scene.info,
            test=split.test,
            confidence=result.method.confidence,
        )
    weights = result.method.record.timestep_weights
    if weights is not None:
        figures["timesteps"] = timestep_map(weights, timesteps)
    return figures


def show_result(result: RunResult, folder: Path) -> None:
    """Print the last tables of a run, and where everything is."""
    figures, key = _results(result), "per_class_accuracy"
    info = result.scene.info
    features, raw = result.on_features, result.on_raw_bands
    learned = [] if features is None else [f"features of {features.record.best.candidate}"]
    learned += [] if raw is None else [f"raw bands as {raw.record.best.candidate}"]
    console = Console()
    # one column per method: a terminal is narrow
    found = {name: {key: held[key]} for name, held in figures.items()}
    console.print(class_table(found, info.class_names).to_rich("Accuracy of each class, %"))
    console.print(results_table(figures).to_rich(f"{info.title}: test pixels, %"))
    total = "in its last session" if result.resumed else "in all"
    console.print(
        f"Learned from {'; '.join(learned)}; {sum(result.seconds.values()):.0f} s {total}."
    )
    console.print(f"Report, maps and model: {folder}/report.md", highlight=False)


def _log(
    result: RunResult, results: Mapping[str, Mapping[str, Any]], folder: Path, logger: RunLogger
) -> None:
    """Tell the logger what was found: method and control under names of their own."""
    method, *control = results.values()
    logger.metrics("test", method)
    if control:
        logger.metrics("control/test", control[0])
        name = "overall_accuracy"
        logger.metrics("difference", {name: method[name] - control[0][name]})
    columns = ("class", "test/accuracy", "control/test/accuracy")[: 1 + len(results)]
    accuracies = (held["per_class_accuracy"] for held in results.values())
    rows = list(zip(result.scene.info.class_names, *accuracies, strict=True))
    logger.table("test/accuracy_of_each_class", columns, rows)
    logger.metrics("validation", validation(result.method))
    record = result.method.record
    if len(record.trials) > 1:  # in the order of their curves, classifier-choice-1 and so on
        tried = [(str(one.candidate), one.accuracy, one.loss) for one in record.trials]
        columns = ("candidate", "validation/overall_accuracy", "validation/cross_entropy")
        logger.table("validation/candidates", columns, tried)
    logger.summary({"chosen": str(record.best.candidate), **_features(result)})
    if (folder / "model").is_dir():
        logger.model(folder / "model")


def _summary(
    result: RunResult, results: Mapping[str, Mapping[str, Any]], leakage: float | None
) -> dict[str, Any]:
    """What metrics.json holds: the method's figures, what they took, those of its control."""
    summary = dict(next(iter(results.values())))
    summary["found"] = _found(result.method)
    summary |= _features(result)
    costs = {"method": _costs(result.method)}
    raw = result.on_raw_bands
    if raw is not None:
        own = {**results["raw_bands"], "space": str(raw.record.best.candidate)}
        summary |= own if result.control is None else {"raw_bands": own}
    if result.control is not None:
        summary["raw_bands"]["found"] = _found(result.control)
        costs["control"] = _costs(result.control)
    info = result.scene.info
    return {
        **summary,
        "classes": [
            {"id": number, "name": name}
            for number, name in zip(info.class_ids, info.class_names, strict=True)
        ],
        "validation": validation(result.method),
        "leakage": leakage,
        "pixels": _pixels(result.split),
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "resumed": result.resumed,
        "costs": costs,
    }


def _features(result: RunResult) -> dict[str, list[int]]:
    """Timesteps and levels of the features that were chosen; nothing for a baseline."""
    if not result.settings.pretrains:
        return {}
    best = result.method.record.best.candidate
    return {"timesteps": list(best.timesteps), "levels": list(best.levels)}


def _pixels(split: Split) -> dict[str, int]:
    """How many pixels each part of a split has."""
    return {part: len(getattr(split, part)) for part in ("train", "val", "test")}


def _found(outcome: Outcome) -> dict[str, Any]:
    """What a fit itself chose, such as an SVM's kernel width; plain data."""
    fitted = outcome.fitted
    found = fitted.classifier.describe()
    if fitted.graph_space is not None:
        found |= {"own_share": fitted.own_share, "alpha": fitted.alpha}
    return found


def _costs(outcome: Outcome) -> dict[str, float | None]:
    """Parameters of all networks, and the times of the last training and of the map."""
    record, model = outcome.record, outcome.model
    parameters = outcome.fitted.classifier.parameters
    if parameters is not None and model.pretrained is not None:
        weights = model.pretrained.trained_denoiser.parameters()
        parameters += sum(weight.numel() for weight in weights)
    return {
        "parameters": parameters,
        "training_seconds": round(record.training_seconds, 2),
        "test_seconds": round(record.test_seconds, 2),
    }


def _seen(result: RunResult) -> int | None:
    """Side of the square of pixels that a classifier sees around a pixel; None: the whole scene.

    For a denoiser's features, the patch of them: what they hold of pixels farther away was learned
    without labels. Where labels are spread along a graph, they may come from anywhere.
    """
    fitted = result.method.fitted
    if fitted.graph_space is not None:
        return None
    side = fitted.classifier.seen
    if not isinstance(fitted.representation, BandRepresentation):
        return side
    if fitted.representation.neighbours:
        return None
    return side + 2 * blur_radius(fitted.representation.blur)


def _nearest(result: RunResult) -> tuple[float, float] | None:
    """Least and median distance of the test pixels from learned ones; None across images."""
    split = result.split
    if not len(split.test) or result.scene.images is not None:
        return None
    others = np.ones(split.shape, dtype=bool)
    others.ravel()[split.labelled] = False
    distances = distance_transform_edt(others).ravel()[split.test]
    return float(distances.min()), float(np.median(distances))


def _results(result: RunResult) -> dict[str, dict[str, Any]]:
    """The figures of the method and, where there is one, of its control."""
    outcomes = {"diffusion_features": result.on_features, "raw_bands": result.on_raw_bands}
    split, truth = result.split, result.scene.labels.ravel()
    unseen = split.test[~in_labelled_fields(split, result.scene.labels, result.scene.fields)]
    found = {}
    for name, outcome in outcomes.items():
        if outcome is not None:
            right = outcome.predicted.ravel() == truth
            held = {
                **outcome.metrics.compute(),
                "confusion_matrix": {
                    "rows": "ground truth",
                    "columns": "predicted",
                    "pixels": outcome.metrics.confusion_matrix,
                },
                TRAINING_ACCURACY: float(right[split.labelled].mean()),
                UNSEEN_FIELDS: float(right[unseen].mean()) if len(unseen) else None,
            }
            found[name] = plain_data(held)
    return found


def _settings(result: RunResult) -> dict[str, Any]:
    """The settings that made the result, and what few bands have made of them."""
    plain, settings = result.settings.to_dict(), result.settings
    unused = [] if settings.pretrains else ["pretrain", "features"]
    unused += [] if settings.scene_name == "simulated" else ["simulated"]
    unused += [] if settings.spreading.active else ["spreading"]
    for name in unused:
        plain.pop(name, None)
    _drop_unused_classifier(plain)
    transforms = [space.transform for space in settings.raw_bands]
    transforms += [settings.spreading.space.transform] if settings.spreading.active else []
    transforms += [settings.pretrain.transform] if settings.pretrains else []
    asked = max(transform().components or 0 for transform in transforms)
    if asked > (bands := result.scene.bands):
        plain["capped"] = (
            f"the scene has {bands} bands, so that no transform gives {asked} components"
        )
    module = result.method.model.pretrained
    if module is None or module.transform is None:
        return plain
    if result.settings.pretrained is not None:  # those of the preset were not used
        plain["pretrain"] = dict(module.hparams)
    return {**plain, "transform_fitted_on": module.transform.fitted_on}


def _drop_unused_classifier(plain: dict[str, Any]) -> None:
    """Leave out the settings of networks where an estimator classifies, and the other way round."""
    classifier = plain["classifier"]
    if classifier["estimator"] is None:
        kept = classifier.keys() - {"estimator", "each"}
    else:
        plain["choice"].pop("steps")
        # a guard between blocks is as wide as the patches, if none is given
        blocks = plain["split"] == "blocks" and plain["guard"] is None
        kept = {"estimator", "each", *(["patch_size"] if blocks else [])}
    plain["classifier"] = {name: value for name, value in classifier.items() if name in kept}


def _image(scene: Scene) -> str:
    """What is known of an image, in a sentence."""
    facts = [f"{scene.height:,} x {scene.width:,} pixels with {scene.bands} bands"]
    if (waves := scene.info.wavelengths) is not None:
        facts.append(f"{min(waves):,.0f} to {max(waves):,.0f} nm")
    if (metres := _metres(scene)) is not None:
        facts.append(f"pixels of {metres:.3g} m")
    if scene.valid is not None and not scene.valid.all():
        facts.append(f"{100 * (1 - scene.valid.mean()):.1f} % without data")
    facts.append(f"{100 * (scene.labels > 0).mean():.1f} % labelled")
    return ", ".join(facts) + "."


def _metres(scene: Scene) -> float | None:
    """Width of a pixel in the middle of the scene, where it is known."""
    sizes = None
    with suppress(MissingDependencyError):
        sizes = pixel_sizes(scene.georeference, scene.height, scene.width)
    return None if sizes is None else math.sqrt(sizes[1, scene.height // 2])
