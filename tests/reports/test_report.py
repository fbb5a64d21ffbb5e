"""The report says everything that a reader needs, in Markdown that renders."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.report import (
    DISJOINT,
    CandidateReport,
    ChoiceReport,
    RunReport,
    SplitReport,
    leakage_sentence,
    render_report,
    write_report,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def run() -> RunReport:
    metrics = {
        "diffusion_features": {
            "overall_accuracy": 0.9731,
            "average_accuracy": 0.95,
            "kappa": 0.94,
            "fwiou": 0.93,
            "miou": 0.92,
            "per_class_accuracy": [0.98, None],
        },
        "raw_bands": {"overall_accuracy": 0.9452, "per_class_accuracy": [0.91, None]},
    }
    split = SplitReport(
        kind="fraction",
        seed=3,
        pixels={"train": 1100, "val": 28, "test": 9225},
        per_class=[
            {"class": 1, "train": 1090, "val": 28, "test": 9225},
            {"class": 2, "train": 10, "val": 0, "test": 0},
        ],
        notes=["Oats: no pixel left to test"],
        patch_size=13,
        leakage=0.99982,
        nearest=(5.0, 9.0),
        labelled_fields=0.25,
        fields=[{"class": 1, "train": 2, "val": 1, "test": 3}],
    )
    choice = ChoiceReport(
        what="Timestep and level",
        chosen="t = 100, level 2",
        how="By the validation pixels.",
        candidates=[
            CandidateReport("t = 5, level 0", 0.9, 0.31),
            CandidateReport("t = 100, level 2", 0.95, None),
        ],
    )
    return RunReport(
        title="spectraldiff on Indian Pines",
        image="145 x 145 pixels with 200 bands.",
        metrics=metrics,
        class_names=["Corn no-till", "Oats"],
        split=split,
        timesteps=None,
        choices=[choice],
        settings={"method": "spectraldiff", "features": {"timesteps": [5, 10]}},
        timings={"scene": 0.42, "pretraining": 1830.0, "raw_bands": 7200.0},
        resumed=False,
        hardware="Xeon, 2 threads; torch 2.13",
        command="hsi-diffusion run --config config.yaml --out again",
    )


def test_report_leads_with_the_result_and_its_control(run: RunReport) -> None:
    lines = render_report(run).splitlines()
    assert lines[0] == "# spectraldiff on Indian Pines"
    assert lines[2] == (
        "**Diffusion features: overall accuracy 97.31 %** on 9,225 test pixels, none of them of "
        "Oats, against 94.52 % of the control (raw bands): +2.79 points, which one run can't tell "
        "from chance "
        "(`hsi-diffusion benchmark --seeds` tests it over several splits)."
    )


@pytest.mark.parametrize(
    "line",
    [
        "| diffusion features | 97.31 | 95.00 | 94.00 | 93.00 | 92.00 |",
        "| raw bands | 94.52 | - | - | - | - |",
        "| Corn no-till | 98.00 | 91.00 |",
        "| Oats | - | - |",
        "![False colour](false_colour.png)",
        "![Ground truth and classification](classification_map.png)",
        "![Confusion matrix of the test pixels](confusion_matrix.png)",
        "| Corn no-till | 1,090 | 28 | 9,225 |",
        "| all | 1,100 | 28 | 9,225 |",
        "- Oats: no pixel left to test",
        "**Timestep and level: t = 100, level 2.** By the validation pixels.",
        "| t = 5, level 0 | 90.00 | 0.310 |",
        "| t = 100, level 2 | 95.00 | - |",
        "hsi-diffusion run --config config.yaml --out again",
        "Machine: Xeon, 2 threads; torch 2.13",
        "| scene | 0.4 s |",
        "| pretraining | 30 min |",
        "| raw bands | 2 h 00 min |",
        "| all | 2 h 31 min |",
    ],
)
def test_report_holds(run: RunReport, line: str) -> None:
    assert line in render_report(run).splitlines()


def test_report_says_of_a_run_that_was_stopped_what_its_times_are(run: RunReport) -> None:
    told = "these are the times of its last session only:"
    assert told not in render_report(run)
    parts = render_report(replace(run, resumed=True)).split(told)
    assert parts[1].startswith("\n\n| stage | time |")


def test_report_says_how_well_the_training_pixels_are_known(run: RunReport) -> None:
    assert "learned from" not in render_report(run)
    features, raw = run.metrics["diffusion_features"], run.metrics["raw_bands"]
    metrics = {
        "diffusion_features": {**features, "training_accuracy": 0.9996},
        "raw_bands": {**raw, "training_accuracy": 0.854},
    }
    known = render_report(replace(run, metrics=metrics))
    assert "learned from: diffusion features 99.96 %, raw bands 85.40 %." in known
    known = render_report(replace(run, metrics={**metrics, "raw_bands": raw}))
    assert "learned from: diffusion features 99.96 %." in known


def test_report_says_what_to_expect_in_fields_without_labels(run: RunReport) -> None:
    known = "25.00 % of the test pixels lie in a field (connected area of one class) that also "
    assert f"{known}holds training or validation pixels; on land of which" in render_report(run)
    metrics = {
        name: {**found, "unseen_fields_accuracy": share}
        for (name, found), share in zip(run.metrics.items(), (0.5, None), strict=True)
    }
    assert (
        "on the other 6,919, in fields without any label: diffusion features 50.00 %."
        in render_report(replace(run, metrics=metrics))
    )


def test_settings_can_be_read_back(run: RunReport) -> None:
    block = re.search(r"```yaml\n(.*?)```", render_report(run), re.DOTALL)
    assert block is not None
    assert yaml.safe_load(block.group(1)) == run.settings


def test_tables_are_rectangular_and_stand_apart(run: RunReport) -> None:
    blocks = render_report(run).split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert all(line.startswith("|") for line in lines)
        assert len({line.count("|") for line in lines}) == 1


def test_report_is_written_whole(tmp_path: Path, run: RunReport) -> None:
    path = tmp_path / "out" / "report.md"
    write_report(path, run)
    text = path.read_text(encoding="utf-8")
    assert text == render_report(run, images={})
    assert "![" not in text
    assert text.endswith("```\n")


def test_images_that_lie_beside_the_report_are_shown(tmp_path: Path, run: RunReport) -> None:
    for name in ("split.png", "reconstruction.png", "other.png"):
        (tmp_path / name).touch()
    write_report(tmp_path / "report.md", run)
    shown = re.findall(r"!\[.*\]\((.*)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert shown == ["split.png", "reconstruction.png"]


def test_single_method_without_choices(run: RunReport) -> None:
    single = replace(run, metrics={"raw_bands": run.metrics["raw_bands"]}, choices=[])
    text = render_report(single, images={})
    reached = "**Raw bands: overall accuracy 94.52 %** on 9,225 test pixels, none of them of Oats"
    assert f"{reached}; there is no" in text
    assert "Chosen on the way" not in text
    assert "## Images" not in text


@pytest.mark.parametrize(
    ("leakage", "nearest", "expected"),
    [
        (0.99982, None, "sees around a test pixel (9 x 9 pixels) holds a training or validation"),
        (0.99982, (1.0, 1.0), "in 99.98 % of all cases"),
        (0.99982, None, "too good for unseen land"),
        (0.99982, None, "from a split into blocks with a guard of at least 4 pixels."),
        (0.01, None, "in 1.00 % of all cases. That is few: the figures flatter slightly."),
        (0.01, (1.0, 7.25), "slightly. The nearest one is 1 pixels away at least, 7.25 in the"),
        (0.0, None, "(9 x 9 pixels) never holds a training or validation pixel."),
        (0.0, (5.0, 18.4), "pixel. The nearest one is 5 pixels away at least, 18.4 in the median;"),
        (None, (1.0, 1.0), "no test pixels"),
        (float("nan"), None, "no test pixels"),
    ],
)
def test_leakage_is_said_in_words(
    leakage: float | None, nearest: tuple[float, float] | None, expected: str
) -> None:
    assert expected in leakage_sentence(leakage, 9, nearest)


def test_who_sees_the_whole_scene_has_nothing_disjoint() -> None:
    assert "nothing is disjoint" in leakage_sentence(None, None, (1.0, 2.0))


def test_only_blocks_say_what_they_keep_apart(run: RunReport) -> None:
    assert DISJOINT not in render_report(run)
    blocks = replace(run.split, kind="blocks", leakage=0.0)
    line = f"{leakage_sentence(0.0, 13, (5.0, 9.0))} {DISJOINT}"
    assert line in render_report(replace(run, split=blocks)).splitlines()
    whole = replace(blocks, patch_size=None, leakage=None)
    text = render_report(replace(run, split=whole))
    assert leakage_sentence(None, None) in text.splitlines()
    assert DISJOINT not in text


def test_settings_must_be_plain(run: RunReport) -> None:
    with pytest.raises(ConfigurationError, match="settings must be plain data"):
        render_report(replace(run, settings={"device": object()}))


def test_a_report_needs_a_method(run: RunReport) -> None:
    with pytest.raises(ConfigurationError, match="at least one method"):
        render_report(replace(run, metrics={}))
