from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports import Measurement, measurements_csv, per_class_csv, read_measurements
from hsi_diffusion.reports.tables import SCORES

if TYPE_CHECKING:
    from pathlib import Path


def measured(row: str, seed: int, classes: list[float | None] | None) -> Measurement:
    figures: dict[str, object] = dict.fromkeys(SCORES, 0.1 * seed + 1 / 3)
    if classes is not None:
        figures["per_class_accuracy"] = classes
        figures["training_accuracy"] = 0.875
    made = None if classes is None else "12345678"
    return Measurement(row, "a scene, 10 %", seed, figures, 2.5, 1.25, None, 1000, made)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    wanted = [
        measured("DiffCRN: raw bands", 0, [1.0, None, 2 / 3]),
        measured("DiffCRN: raw bands", 1, [0.0, 0.5, 1 / 7]),
        measured('with "quotes", and commas', 1, None),
    ]
    figures, classes = tmp_path / "benchmark.csv", tmp_path / "per_class.csv"
    figures.write_text(measurements_csv(wanted), encoding="utf-8")
    classes.write_text(per_class_csv(wanted), encoding="utf-8")
    assert read_measurements(figures, classes) == wanted
    without = read_measurements(figures, tmp_path / "none.csv")
    assert without == read_measurements(figures)
    assert [dict(m.figures) for m in without] == [
        {name: value for name, value in m.figures.items() if name != "per_class_accuracy"}
        for m in wanted
    ]


def test_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    wanted, path = measured("SVM", 0, None), tmp_path / "benchmark.csv"
    lines = measurements_csv([wanted]).splitlines()
    path.write_text("\n".join(line.rsplit(",", 2)[0] for line in lines), encoding="utf-8")
    assert read_measurements(path) == [wanted]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,column,seed\n", "it lacks"),
        ("", "it lacks"),
        (None, "give the folder of a benchmark"),
        (measurements_csv([]) + "x,y,z" + ",1" * 9 + "\n", "'z' as seed"),
        (measurements_csv([]) + "x,y," + ",1" * 9 + "\n", "without a seed"),
        (measurements_csv([]) + "x,y,3" + ",much" * 9 + "\n", "'much' as"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "benchmark.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        read_measurements(path)
