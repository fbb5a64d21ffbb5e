"""The report of a run: one Markdown file that says what came out and how to get it again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.files import write_text
from hsi_diffusion.reports.tables import (
    NOTHING,
    TRAINING_ACCURACY,
    UNSEEN_FIELDS,
    TextTable,
    class_table,
    percent,
    readable,
    results_table,
    split_table,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMAGES: Final = {
    "Method and control beside the ground truth, and where each is right on the test pixels (white "
    "there: other pixels, also those of training and validation inside fields)": "comparison.png",
    "Ground truth and classification": "classification_map.png",
    "False colour": "false_colour.png",
    "Spectra of each class: median, and the middle 68 % of the pixels": "class_spectra.png",
    "Training, validation and test pixels": "split.png",
    "Confusion matrix of the test pixels": "confusion_matrix.png",
    "Timesteps that the classifier trusts": "timesteps.png",
    "What the denoiser restores from several timesteps": "reconstruction.png",
    "Spectra that the denoiser restores": "reconstruction_spectra.png",
}
"""Caption and file, relative to the report, of every image that a run may write."""

LEGEND = (
    "On the test pixels, in percent (kappa times 100). OA: overall accuracy, the share of all "
    "pixels that are right. AA: average accuracy, the mean over the classes. FWIoU, MIoU: "
    "intersection over union, weighted by class size and as a plain mean."
)

CLASSES = (
    "Of each class in percent: the producer's accuracy (recall), the share of its pixels that are "
    "found; the user's accuracy (precision), the share of the pixels that are called so and are; "
    "and F1, their harmonic mean. A dash marks classes without test pixels, and user's accuracies "
    "of classes that no pixel was called."
)

FEW = 0.05
"""Leakage up to which the report speaks of few."""

DISJOINT = (
    "The labels and the classifier's patches are disjoint; a denoiser or a blur sees some pixels "
    "farther, without their labels."
)
"""What a split into blocks keeps apart, and what not."""


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """Which pixels train, validate and test, and what the classifier sees of the others.

    Attributes:
        kind: Kind of the split; None where it does not say.
        seed: Its seed.
        pixels: Number of pixels in "train", "val" and "test".
        per_class: For each class {"class", "train", "val", "test"}; may be empty.
        notes: What could not be had.
        patch_size: Side in pixels of what the classifier sees around a pixel: of its patch, with
            the reach of a blur; None where every pixel is joined with its nearest neighbours of the
            whole scene.
        leakage: Fraction of test pixels around which it holds a training or validation pixel; NaN
            or None where there is no test pixel, or no ``patch_size``.
        nearest: Least and median distance of a test pixel from the nearest of these, in pixels;
            None where there is none.
        labelled_fields: Fraction of test pixels in fields that hold labelled pixels, NaN without.
        fields: For each class {"class", "train", "val", "test"}, its fields in each part; only of a
            split by fields.
    """

    kind: str | None
    seed: int | None
    pixels: Mapping[str, int]
    per_class: Sequence[Mapping[str, int]]
    notes: Sequence[str]
    patch_size: int | None
    leakage: float | None
    nearest: tuple[float, float] | None
    labelled_fields: float
    fields: Sequence[Mapping[str, int]]


@dataclass(frozen=True)
class CandidateReport:
    """One candidate of a choice: its name and what it reached on the validation pixels."""

    name: str
    overall_accuracy: float | None
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class ChoiceReport:
    """A setting that the run chose by itself.

    Attributes:
        what: What was chosen, such as "Timestep and level of the features".
        chosen: The chosen candidate, such as "t = 100, level 2".
        how: A sentence on how, such as "By the overall accuracy on the validation pixels ...".
        candidates: Those that were scored; a table shows them.
    """

    what: str
    chosen: str
    how: str
    candidates: Sequence[CandidateReport] = ()


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything that a report says, as plain data.

    Attributes:
        title: Headline, such as "spectraldiff on Indian Pines".
        image: The size of the image and what else is known of it, a sentence.
        metrics: For each method its metrics on the test pixels, as
            :func:`~hsi_diffusion.reports.tables.results_table` takes them, and, where it is known,
            ``"training_accuracy"``, its overall accuracy on the training and validation pixels, and
            ``"unseen_fields_accuracy"``, that on the test pixels in fields without labels. The
            first one is the run's own method; ``"raw_bands"`` is the control.
        class_names: K names.
        split: Which pixels trained, validated and tested.
        choices: What was chosen on the validation pixels.
        timesteps: How much the classifier trusts each timestep, as
            :func:`~hsi_diffusion.reports.timestep_table` gives it; None where it weighs none.
        settings: The run's settings, nested plain data.
        timings: Seconds of each stage.
        resumed: The run was stopped on its way, and ``timings`` count only its last session.
        hardware: The machine and the versions, one line.
        command: The command that repeats the run.
    """

    title: str
    image: str
    metrics: Mapping[str, Mapping[str, Any]]
    class_names: Sequence[str]
    split: SplitReport
    choices: Sequence[ChoiceReport]
    timesteps: TextTable | None
    settings: Mapping[str, Any]
    timings: Mapping[str, float]
    resumed: bool
    hardware: str
    command: str


def write_report(path: str | Path, run: RunReport) -> None:
    """Write the report of a run, whole or not at all.

    Args:
        path: The Markdown file; it shows those of :data:`IMAGES` that lie beside it.
        run: What to report.

    Raises:
        ConfigurationError: If values don't fit together.
    """
    folder = Path(path).parent
    images = {what: file for what, file in IMAGES.items() if (folder / file).is_file()}
    write_text(path, render_report(run, images=images))


def render_report(run: RunReport, *, images: Mapping[str, str] = IMAGES) -> str:
    """The text that :func:`write_report` writes, with these images."""
    if not run.metrics:
        raise ConfigurationError("metrics must hold at least one method, got none")
    sections = [
        f"# {run.title}",
        _summary(run),
        run.image,
        "## Results",
        LEGEND,
        results_table(run.metrics).to_markdown(),
        *_learned(run.metrics),
        CLASSES,
        class_table(run.metrics, run.class_names).to_markdown(),
        *_images(images),
        *_split(run.split, run.class_names, run.metrics),
        *_choices(run.choices),
        *_timesteps(run.timesteps),
        *_repeat(run),
    ]
    return "\n\n".join(sections) + "\n"


def leakage_sentence(
    leakage: float | None,
    patch_size: int | None,
    nearest: tuple[float, float] | None = None,
) -> str:
    """Say in plain words what the leakage of a :class:`SplitReport` means."""
    if patch_size is None:
        return (
            "Leakage: every pixel is joined with its nearest neighbours in the whole scene, so it "
            "sees the whole scene, and nothing is disjoint."
        )
    if leakage is None or math.isnan(leakage):
        return "There are no test pixels, so nothing can be said about leakage."
    seen = (
        f"Leakage: what the classifier sees around a test pixel ({patch_size} x {patch_size} "
        "pixels)"
    )
    away = ""
    if nearest is not None:
        away = (
            f" The nearest one is {nearest[0]:.3g} pixels away at least, {nearest[1]:.3g} in the "
            "median; figures flatter right beside learned pixels."
        )
    if leakage == 0:
        return f"{seen} never holds a training or validation pixel.{away}"
    share = f"{seen} holds a training or validation pixel in {percent(leakage)} % of all cases."
    if leakage <= FEW:
        return f"{share} That is few: the figures flatter slightly.{away}"
    return (
        f"{share} The classifier has seen part of what it is tested on, so the figures are too "
        "good for unseen land: compare methods by them on the same split, and take what to expect "
        f"elsewhere from a split into blocks with a guard of at least {patch_size // 2} pixels."
    )


def _summary(run: RunReport) -> str:
    """One sentence: what was reached, against which control, and whether it is more than chance."""
    (method, metrics), *others = run.metrics.items()
    reached, tested = metrics.get("overall_accuracy"), run.split.pixels["test"]
    text = (
        f"**{readable(method).capitalize()}: overall accuracy {percent(reached)} %** on "
        f"{tested:,} test pixels"
    )
    untested = [
        run.class_names[counts["class"] - 1]
        for counts in run.split.per_class
        if counts["test"] == 0
    ]
    if untested:
        text += f", none of them of {', '.join(untested)}"
    if not others:
        return f"{text}; there is no control, so nothing says what the method was worth."
    control, figures = others[0]
    other = figures.get("overall_accuracy")
    text += f", against {percent(other)} % of the control ({readable(control)})"
    if reached is None or other is None:
        return f"{text}."
    return (
        f"{text}: {100 * (reached - other):+.2f} points, which one run can't tell from chance "
        "(`hsi-diffusion benchmark --seeds` tests it over several splits)."
    )


def _learned(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How well each classifier knows the pixels that it learned from."""
    shares = _shares(metrics, TRAINING_ACCURACY)
    if not shares:
        return []
    text = (
        f"On the training and validation pixels, which the last training learned from: {shares}. "
        "Where this is far below 100 %, a longer training or a larger classifier may help; where "
        "it is far above the test pixels, more labels do."
    )
    return [text]


def _shares(metrics: Mapping[str, Mapping[str, Any]], figure: str) -> str:
    """A figure of every method that has it, in percent; empty where none has."""
    return ", ".join(
        f"{readable(method)} {percent(found[figure])} %"
        for method, found in metrics.items()
        if found.get(figure) is not None
    )


def _images(images: Mapping[str, str]) -> list[str]:
    links = [f"![{caption}]({file})\n\n*{caption}*" for caption, file in images.items()]
    return ["## Images", *links] if links else []


def _split(
    split: SplitReport, class_names: Sequence[str], metrics: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    pixels = split.pixels
    seed = "" if split.seed is None else f", seed {split.seed}"
    sizes = (
        f"Kind: {split.kind}{seed}. {pixels['train']:,} training and {pixels['val']:,} "
        f"validation pixels (together the labels that were used), {pixels['test']:,} test pixels."
    )
    leakage = leakage_sentence(split.leakage, split.patch_size, split.nearest)
    if split.kind == "blocks" and split.patch_size is not None:
        leakage = f"{leakage} {DISJOINT}"
    sections = ["## Split", sizes, leakage]
    if not math.isnan(split.labelled_fields):
        others = round((1 - split.labelled_fields) * pixels["test"])
        sections.append(
            f"{percent(split.labelled_fields)} % of the test pixels lie in a field (connected "
            "area of one class) that also holds training or validation pixels"
            f"{_unseen(metrics, others)}."
        )
    if split.fields:
        sections.append("Fields of each class in each part:")
        sections.append(split_table(split.fields, class_names).to_markdown())
    if split.per_class:
        sections.append(split_table(split.per_class, class_names).to_markdown())
    if split.notes:
        sections.append("\n".join(f"- {note}" for note in split.notes))
    return sections


def _unseen(metrics: Mapping[str, Mapping[str, Any]], pixels: int) -> str:
    """What to expect on land of which no field was labelled, by so many test pixels there."""
    shares = _shares(metrics, UNSEEN_FIELDS)
    if not shares:
        return "; on land of which none was labelled, expect what a split by fields says"
    return f". Overall accuracy on the other {pixels:,}, in fields without any label: {shares}"


def _choices(choices: Sequence[ChoiceReport]) -> list[str]:
    sections = ["## Chosen on the way"] if choices else []
    for choice in choices:
        sections.append(f"**{choice.what}: {choice.chosen}.** {choice.how}")
        if choice.candidates:
            rows = tuple(
                (
                    one.name,
                    percent(one.overall_accuracy),
                    NOTHING if one.loss is None else f"{one.loss:.3f}",
                )
                for one in choice.candidates
            )
            table = TextTable(("candidate", "validation OA", "validation loss"), rows)
            sections.append(table.to_markdown())
    return sections


def _timesteps(table: TextTable | None) -> list[str]:
    if table is None:
        return []
    meaning = (
        "The weight, in percent, that the classifier gives to the features of each timestep, by "
        "the spectral angles between the scene and what the denoiser restores from there. The "
        "angles are taken in the denoiser's input space (see pretrain.transform in the settings), "
        "not between reflectance spectra."
    )
    return ["## Timesteps", meaning, table.to_markdown()]


def _repeat(run: RunReport) -> list[str]:
    try:
        settings = yaml.safe_dump(dict(run.settings), sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"settings must be plain data: {error}") from error
    rows = [(readable(stage), _duration(seconds)) for stage, seconds in run.timings.items()]
    rows.append(("all", _duration(sum(run.timings.values()))))
    session = "The run was stopped and went on; these are the times of its last session only:"
    return [
        "## To repeat it",
        f"```bash\n{run.command}\n```",
        f"Machine: {run.hardware}",
        *([session] if run.resumed else []),
        TextTable(("stage", "time"), tuple(rows)).to_markdown(),
        "Settings:",
        f"```yaml\n{settings}```",
    ]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"
