"""Tables hold the right figures in both forms."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console
from rich.text import Text
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.tables import (
    TextTable,
    class_table,
    percent,
    results_table,
    split_table,
)

if TYPE_CHECKING:
    from rich.table import Table

RESULTS: dict[str, dict[str, Any]] = {
    "diffusion_features": {
        "overall_accuracy": 0.97312,
        "average_accuracy": 0.95,
        "kappa": 0.9,
        "fwiou": 0.8,
        "miou": 1,
        "per_class_accuracy": [1.0, None],
        "per_class_iou": [0.5, None],
    },
    "raw_bands": {
        "overall_accuracy": 0.9,
        "kappa": float("nan"),
        "miou": None,
        "per_class_accuracy": [0.25, float("nan")],
    },
}


def printed(table: Table) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(table)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.98345, "98.34"),
        (1, "100.00"),
        (np.float64(0.5), "50.00"),
        (-0.01, "-1.00"),
        (None, "-"),
        (float("nan"), "-"),
    ],
)
def test_percent(value: float | None, expected: str) -> None:
    assert percent(value) == expected


def test_results_of_every_method() -> None:
    table = results_table(RESULTS)
    assert table.header == ("method", "OA", "AA", "kappa", "FWIoU", "MIoU")
    assert table.rows == (
        ("diffusion features", "97.31", "95.00", "90.00", "80.00", "100.00"),
        ("raw bands", "90.00", "-", "-", "-", "-"),
    )


def test_results_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 3, (2, 400))
    figures = {
        "overall_accuracy": accuracy_score(truth, predicted),
        "average_accuracy": balanced_accuracy_score(truth, predicted),
        "kappa": cohen_kappa_score(truth, predicted),
    }
    (row,) = results_table({"svm": figures}).rows
    assert [float(cell) for cell in row[1:4]] == pytest.approx(
        [100 * value for value in figures.values()], abs=0.005
    )


def test_classes_in_rows_and_methods_in_columns() -> None:
    table = class_table(RESULTS, ["Corn", "Oats"])
    assert table.header == ("class", "diffusion features: producer's", "raw bands: producer's")
    assert table.rows == (("Corn", "100.00", "25.00"), ("Oats", "-", "-"))
    more = {"per_class_users_accuracy": [0.5, None], "per_class_f1": [2 / 3, None]}
    table = class_table(RESULTS | {"svm": {**RESULTS["raw_bands"], **more}}, ["Corn", "Oats"])
    assert table.header[-3:] == ("svm: producer's", "user's", "F1")
    assert table.rows[0][1:] == ("100.00", "-", "-", "25.00", "-", "-", "25.00", "50.00", "66.67")


def test_values_must_fit_the_classes() -> None:
    with pytest.raises(ConfigurationError, match="must hold 3 values, one per class, got 2"):
        class_table(RESULTS, ["a", "b", "c"])


def test_split_counts_with_totals() -> None:
    per_class = [
        {"class": 1, "train": 1000, "val": 30, "test": 5},
        {"class": 3, "train": 20, "val": 1, "test": 0},
    ]
    table = split_table(per_class, ["Corn", "Oats", "Woods"])
    assert table.rows == (
        ("Corn", "1,000", "30", "5"),
        ("Woods", "20", "1", "0"),
        ("all", "1,020", "31", "5"),
    )
    with pytest.raises(ConfigurationError, match="classes 1 to 2, got 3"):
        split_table(per_class, ["Corn", "Oats"])


def test_markdown_has_a_rule_and_escapes_bars() -> None:
    table = TextTable(("class", "OA"), (("a|b", "1.00"),))
    assert table.to_markdown() == "| class | OA |\n| --- | ---: |\n| a\\|b | 1.00 |"


def test_rich_shows_the_same_cells() -> None:
    text = printed(results_table(RESULTS).to_rich("Results"))
    assert "Results" in text
    for cell in ("diffusion features", "97.31", "raw bands", "FWIoU"):
        assert cell in text


def test_brackets_are_no_markup() -> None:
    table = TextTable(("class [x]", "OA"), (("[bold]Corn", "1.00"),))
    assert "[bold]Corn" in printed(table.to_rich())
    assert "class [x]" in printed(table.to_rich())


def test_rows_must_fit_the_header() -> None:
    with pytest.raises(ConfigurationError, match="rows must have 2 cells"):
        TextTable(("a", "b"), (("1",),))


MARKED = TextTable(
    ("class", "a & b", "c"),
    (("1 Corn", "98.12 ± 0.10", "-1.50"), ("OA", "97.00", "97.00"), ("time", "", "< 1")),
    bold=frozenset({(0, 1), (1, 1), (1, 2), (2, 1)}),
    rules=frozenset({1}),
)


def test_marks_in_markdown() -> None:
    assert MARKED.to_markdown().splitlines() == [
        "| class | a & b | c |",
        "| --- | ---: | ---: |",
        "| 1 Corn | **98.12 ± 0.10** | -1.50 |",
        "| OA | **97.00** | **97.00** |",
        "| time |  | < 1 |",
    ]


def test_marks_in_the_terminal() -> None:
    table = MARKED.to_rich()
    shown = [list(column.cells) for column in table.columns]
    styles = [[str(cell.style) for cell in column if isinstance(cell, Text)] for column in shown]
    assert styles == [["", "", ""], ["bold", "bold", "bold"], ["", "bold", ""]]
    assert [row.end_section for row in table.rows] == [True, False, False]


def test_latex_of_a_narrow_table() -> None:
    assert MARKED.to_latex("5 % of A_B", "tab:a_b").splitlines() == [
        r"\begin{table}[htbp]",
        r"  \centering",
        r"  \caption{5 \% of A\_B}",
        r"  \label{tab:a_b}",
        r"  \begin{tabular}{lrr}",
        r"    \toprule",
        r"    class & a \& b & c \\",
        r"    \midrule",
        r"    1 Corn & \textbf{98.12 $\pm$ 0.10} & $-$1.50 \\",
        r"    \midrule",
        r"    OA & \textbf{97.00} & \textbf{97.00} \\",
        r"    time &  & \textless{} 1 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]


@pytest.mark.parametrize(
    ("methods", "spans", "scaled"), [(2, False, False), (3, True, False), (8, True, True)]
)
def test_latex_of_wide_tables(methods: int, spans: bool, scaled: bool) -> None:
    table = TextTable(("class", *["SpectralDiff"] * methods), (("OA", *["97.00"] * methods),))
    text = table.to_latex("Wide", "tab:wide")
    assert text.startswith(r"\begin{table*}[tp]" if spans else r"\begin{table}[htbp]")
    assert text.endswith(r"\end{table*}" if spans else r"\end{table}")
    assert (r"\resizebox{\textwidth}{!}{%" in text) is scaled
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("plain", "written"),
    [
        ("&%$#_{}", r"\&\%\$\#\_\{\}"),
        ("a\\b", r"a\textbackslash{}b"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        # a row end would take these for its arguments
        ("[1] *", "{[}1] {*}"),
        ("-0.52 to +1.20", "$-$0.52 to +1.20"),
        ("3-D CNN, t-10, 10-fold", "3-D CNN, t-10, 10-fold"),
        ("7 \N{MULTIPLICATION SIGN} 7", r"7 $\times$ 7"),
    ],
)
def test_latex_takes_nothing_for_commands(plain: str, written: str) -> None:
    table = TextTable((plain, "x"), ((plain, "1"),), bold=frozenset({(0, 0)}))
    text = table.to_latex(plain, "tab:x")
    assert rf"\caption{{{written}}}" in text
    assert f"    {written} & x \\\\" in text
    assert rf"    \textbf{{{written}}} & 1 \\" in text


@pytest.mark.parametrize("label", ["", "tab:a b", "tab:{x}", "5%", "a\n"])
def test_labels_that_latex_refuses(label: str) -> None:
    with pytest.raises(ConfigurationError, match=r"label must hold letters, digits and .* got"):
        MARKED.to_latex("Caption", label)


@pytest.mark.parametrize("cell", [(-1, 0), (0, 2), (1, 0)])
def test_marks_must_lie_in_the_table(cell: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match=r"bold must name cells of 1 rows and 2 columns"):
        TextTable(("a", "b"), (("1", "2"),), bold=frozenset({cell}))
    with pytest.raises(ConfigurationError, match=r"rules must name some of 1 rows.* got 1"):
        TextTable(("a", "b"), (("1", "2"),), rules=frozenset({1}))
