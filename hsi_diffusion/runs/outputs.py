"""What a run leaves behind: figures of merit, maps, pictures, and a report to read."""

from __future__ import annotations

import json
import math
import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from hsi_diffusion.files import atomic_path, write_text
from hsi_diffusion.patches import blur_radius
from hsi_diffusion.reports import (
    TRAINING_ACCURACY,
    class_table,
    classification_map,
    confusion_matrix,
    false_colour,
    results_table,
    save_figure,
    split_map,
    timestep_map,
    timestep_table,
    write_report,
)
from hsi_diffusion.runs.hardware import describe_hardware
from hsi_diffusion.runs.learner_base import ALPHA, SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hsi_diffusion.features import Choice
    from hsi_diffusion.metrics import HSIMetrics
    from hsi_diffusion.modules import DiffusionPretrainModule
    from hsi_diffusion.reports import ChoiceReport
    from hsi_diffusion.runs.classification import Outcome
    from hsi_diffusion.runs.pipeline import RunResult
    from hsi_diffusion.runs.settings import RunSettings


def plain_figures(metrics: HSIMetrics) -> dict[str, Any]:
    """All figures as plain numbers; None for classes that the test pixels don't hold."""
    return {name: _plain(value.tolist()) for name, value in metrics.compute().items()}


def write_outputs(result: RunResult, settings: RunSettings, folder: Path) -> None:
    """Write everything that a run's folder should hold, next to its checkpoints and logs.

    ``metrics.json`` comes last: it marks the run as finished.

    Args:
        result: What the run found.
        settings: What decided it.
        folder: The run's folder.
    """
    data = result.data
    split = data.require_split()
    seen = _seen(result)
    leakage = None if seen is None else split.leakage(seen, settings.classifier.padding)
    summary = split.summary()
    results = _results(result)
    found = result.method.classified
    split.save(folder / "split.npz")
    with atomic_path(folder / "classification_map.npy") as path:
        kind = np.min_scalar_type(data.num_classes)  # uint8 up to 255 classes
        np.save(path, found.predicted.astype(kind), allow_pickle=False)
    confusion = found.metrics.confusion_matrix.numpy()
    weights = found.timestep_weights
    timesteps: tuple[int, ...] = getattr(result.method.choice.best, "timesteps", ())
    pictures = {
        "classification_map": classification_map(found.predicted, data.info, truth=data.labels),
        "false_colour": false_colour(data.scene.cube, data.info),
        "confusion_matrix": confusion_matrix(confusion, data.info.class_names),
        "split": split_map(data.labels, split.train, split.val, split.test),
    }
    if weights is not None:
        pictures["timesteps"] = timestep_map(weights, timesteps)
    for name, figure in pictures.items():
        save_figure(figure, folder / f"{name}.png")
    write_report(
        folder / "report.md",
        {
            "title": f"{settings.method} on {data.info.title}",
            "metrics": results,
            "class_names": data.info.class_names,
            "split": {
                "kind": summary["kind"],
                "seed": summary["seed"],
                "pixels": summary["pixels"],
                "per_class": summary["per_class"],
                "notes": summary["notes"],
                "patch_size": seen,
                "leakage": leakage,
                "disjoint": split.settings.get("kind") == "blocks",
            },
            "choices": [
                _choice(what, outcome.choice, result, settings)
                for what, outcome in (
                    ("Timestep and level of the features", _on_features(result)),
                    ("Space of the raw bands", _on_raw_bands(result)),
                )
                if outcome is not None
            ]
            + [
                choice
                for what, outcome in (
                    (_own_graphs(settings), _on_features(result)),
                    ("the raw bands that are classified", _on_raw_bands(result)),
                )
                if outcome is not None and SHARE in (outcome.classified.found or {})
                for choice in _spread_choices(what, outcome, result, settings)
            ],
            "timesteps": None
            if weights is None
            else timestep_table(weights, timesteps, data.labels, data.info.class_names),
            "settings": _settings(result, settings),
            "timings": result.seconds,
            "hardware": describe_hardware(),
            "command": shlex.join(
                [
                    *("python", "experiments/run.py", "--config", str(folder / "config.yaml")),
                    *("--out", f"{folder}-again"),
                ]
            ),
        },
    )
    write_text(folder / "metrics.json", json.dumps(_summary(result, results, leakage), indent=2))


def _summary(
    result: RunResult, results: Mapping[str, Mapping[str, Any]], leakage: float | None
) -> dict[str, Any]:
    """What metrics.json holds: the method's figures, what they took, those of its control."""
    split = result.data.require_split()
    summary = dict(next(iter(results.values())))
    if result.method.classified.found is not None:
        summary["found"] = result.method.classified.found
    costs = {"method": _costs(result.method, result.pretrained)}
    features, raw = _on_features(result), _on_raw_bands(result)
    if features is not None:
        best = features.choice.best
        summary |= {"timesteps": list(best.timesteps), "levels": list(best.levels)}
    if raw is not None:
        own = {**results["raw_bands"], "space": str(raw.choice.best)}
        summary |= own if result.control is None else {"raw_bands": own}
    if result.control is not None:
        if result.control.classified.found is not None:
            summary["raw_bands"]["found"] = result.control.classified.found
        costs["control"] = _costs(result.control)
    return {
        **summary,
        "leakage": _plain(leakage),
        "pixels": {part: len(getattr(split, part)) for part in ("train", "val", "test")},
        "seconds": {name: round(value, 2) for name, value in result.seconds.items()},
        "resumed": result.resumed,
        "costs": costs,
    }


def _costs(
    outcome: Outcome, pretrained: DiffusionPretrainModule | None = None
) -> dict[str, float | None]:
    """Parameters of all networks, and the times of the last training and of the map."""
    parameters, training, test = outcome.classified.costs
    if parameters is not None and pretrained is not None:
        weights = pretrained.trained_denoiser.parameters()
        parameters += sum(weight.numel() for weight in weights)
    return {
        "parameters": parameters,
        "training_seconds": round(training, 2),
        "test_seconds": round(test, 2),
    }


def show_result(result: RunResult, folder: Path) -> None:
    """Print the last tables of a run, and where everything is."""
    figures = _results(result)
    info = result.data.info
    features, raw = _on_features(result), _on_raw_bands(result)
    learned = [] if features is None else [f"features of {features.choice.best}"]
    learned += [] if raw is None else [f"raw bands as {raw.choice.best}"]
    console = Console()
    console.print(class_table(figures, info.class_names).to_rich("Accuracy of each class, %"))
    console.print(results_table(figures).to_rich(f"{info.title}: test pixels, %"))
    console.print(
        f"Learned from {'; '.join(learned)}; {sum(result.seconds.values()):.0f} s in all."
    )
    console.print(f"Report, maps and checkpoints: {folder}/report.md", highlight=False)


def _on_features(result: RunResult) -> Outcome | None:
    """What was found on diffusion features; None for a baseline."""
    return None if result.pretrained is None else result.method


def _on_raw_bands(result: RunResult) -> Outcome | None:
    """What was found on raw bands, as the method or as its control; None without a control."""
    return result.method if result.pretrained is None else result.control


def _seen(result: RunResult) -> int | None:
    """Side of the square of pixels that a classifier sees around a pixel; None: the whole scene.

    Of a denoiser's features, the patch of them: what they hold of pixels farther away was learned
    without labels.
    """
    side = result.method.classified.seen
    if side is None or result.pretrained is not None:
        return side
    space = result.method.choice.best
    return None if space.neighbours else side + 2 * blur_radius(space.blur)


def _results(result: RunResult) -> dict[str, dict[str, Any]]:
    """The figures of the method and, where there is one, of its control."""
    outcomes = {"diffusion_features": _on_features(result), "raw_bands": _on_raw_bands(result)}
    labelled = result.data.require_split().labelled
    truth = result.data.labels.ravel()[labelled]
    found = {}
    for name, outcome in outcomes.items():
        if outcome is not None:
            learned = outcome.classified.predicted.ravel()[labelled] == truth
            found[name] = {
                **plain_figures(outcome.classified.metrics),
                TRAINING_ACCURACY: float(learned.mean()),
            }
    return found


def _settings(result: RunResult, settings: RunSettings) -> dict[str, Any]:
    """The settings that made the result."""
    plain = settings.to_dict()
    if result.pretrained is None:
        return plain
    if settings.checkpoint is not None:  # those of the preset were not used
        plain["pretrain"] = {
            "checkpoint": settings.checkpoint,
            "transform": result.data.transform.name,
            "module": dict(result.pretrained.hparams),
        }
    return {**plain, "transform_fitted_on": result.data.transform.fitted_on}


def _own_graphs(settings: RunSettings) -> str:
    """What the method's own graphs are made of."""
    spreading = settings.classifier.propagation
    classified = spreading is not None and spreading.own == "classified"
    return "the features that are classified" if classified else "the restored scenes"


def _spread_choices(
    what: str, outcome: Outcome, result: RunResult, settings: RunSettings
) -> list[ChoiceReport]:
    """How much graphs of what is classified count where labels are spread, and how far they go."""
    spreading = settings.classifier.propagation
    if spreading is None:
        return []
    found = outcome.classified.found or {}
    labelled = len(result.data.require_split().labelled)
    chosen = (
        "By the labels that arrive at validation pixels, or in a cross-validation inside "
        f"the {labelled} training and validation pixels. Test pixels were not looked at."
    )
    return [
        {
            "what": f"{quantity} in the graphs that labels are spread along",
            "chosen": value,
            "how": chosen if several else "Given by the settings.",
            "candidates": [],
        }
        for quantity, value, several in (
            (f"Share of {what}", f"{100 * found[SHARE]:.0f} %", len(spreading.own_shares) > 1),
            (
                f"Share of the neighbours (alpha), with {what},",
                f"{found[ALPHA]:g}",
                len(spreading.other_alphas) > 0,
            ),
        )
    ]


def _choice(
    what: str, choice: Choice[Any], result: RunResult, settings: RunSettings
) -> ChoiceReport:
    estimator = settings.classifier.estimator
    steps = "" if estimator is not None else f" for {settings.choice.steps} steps"
    labelled = len(result.data.require_split().labelled)
    pixels = (
        f"trained{steps} on the training pixels only"
        if result.folds == 1
        else f"trained{steps} in a {result.folds}-fold cross-validation on the {labelled} training "
        "and validation pixels"
    )
    ties = "" if estimator is not None else " (then by the loss)"
    how = (
        f"By the overall accuracy on the validation pixels{ties} of the same classifier, {pixels}. "
        "Test pixels were not looked at."
    )
    return {
        "what": what,
        "chosen": str(choice.best),
        "how": how if len(choice.trials) > 1 else "Given by the settings.",
        "candidates": [
            {
                "name": str(trial.candidate),
                "overall_accuracy": trial.score.accuracy,
                "loss": _plain(trial.score.loss),
            }
            for trial in choice.trials
            if len(choice.trials) > 1
        ],
    }


def _plain(value: Any) -> Any:
    """NaN as None, which JSON can say."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
