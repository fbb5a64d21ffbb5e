"""Tables of results, for the terminal (rich), Markdown and LaTeX, from the same rows."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from hsi_diffusion.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Metrics = Mapping[str, Any]

SCORES = {
    "overall_accuracy": "OA",
    "average_accuracy": "AA",
    "kappa": "kappa",
    "fwiou": "FWIoU",
    "miou": "MIoU",
}
"""Names of the scalar metrics, and how papers abbreviate them."""

TRAINING_ACCURACY = "training_accuracy"
"""Name of the overall accuracy on the pixels that a classifier learned from. It says nothing about
how good the classifier is, but whether it learned what it was shown."""

UNSEEN_FIELDS = "unseen_fields_accuracy"
"""Name of the overall accuracy on the test pixels in fields, connected areas of one class, of which
no pixel was labelled."""

EXTRAS = {TRAINING_ACCURACY: "OA of what it learned from", UNSEEN_FIELDS: "OA in unseen fields"}
"""Names of the scalar figures that not every measurement has, and how tables call them."""

FIGURES = SCORES | EXTRAS
"""Names of all scalar figures of a measurement, and how tables call them."""

CLASS_FIGURES = {
    "per_class_accuracy": "producer's",
    "per_class_users_accuracy": "user's",
    "per_class_f1": "F1",
}
"""Names of the figures of a class, and how tables call them."""

NOTHING = "-"
"""What a cell shows where there is no value, such as the accuracy of an absent class."""


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # without these, LaTeX prints other signs in its usual font encoding
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # after the end of a row these would be taken for its arguments
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MINUS SIGN}": "$-$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
"""What stands in LaTeX for characters that mean something else there."""

COLUMN, LINE = 230, 345
"""Points of a line of text in LaTeX's article, in two columns and in one."""


@dataclass(frozen=True)
class TextTable:
    """A table of strings; the first column is left-aligned, the others right-aligned.

    Attributes:
        header: One string per column.
        rows: Strings, as many per row as columns.
        bold: Cells that stand out, as (row, column) from 0, the header not counted.
        rules: Rows, from 0, above which a line is drawn. Markdown knows no such lines.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    rules: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        """Refuse rows that don't fit the header, and marks outside the table."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ConfigurationError(
                    f"rows must have {len(self.header)} cells, as many as {self.header}, got {row}"
                )
        height, width = len(self.rows), len(self.header)
        for cell in sorted(self.bold):
            if cell[0] not in range(height) or cell[1] not in range(width):
                raise ConfigurationError(
                    f"bold must name cells of {height} rows and {width} columns, counted from 0, "
                    f"got {cell}"
                )
        for number in sorted(self.rules):
            if number not in range(height):
                raise ConfigurationError(
                    f"rules must name some of {height} rows, counted from 0, got {number}"
                )

    def to_rich(self, title: str | None = None) -> Table:
        """For ``rich.print``."""
        table = Table(title=title)
        for index, name in enumerate(self.header):
            table.add_column(Text(name), justify="right" if index else "left", no_wrap=index > 0)
        for number, row in enumerate(self.rows):
            if number in self.rules:
                table.add_section()
            # Text, so that brackets in names are not taken for markup
            table.add_row(
                *(
                    Text(cell, style="bold" if (number, column) in self.bold else "")
                    for column, cell in enumerate(row)
                )
            )
        return table

    def to_markdown(self) -> str:
        """A Markdown table, without a newline at its end."""
        header, rows = self._written(lambda text: text.replace("|", r"\|"), "**{}**")
        rule = ["---", *("---:" for _ in header[1:])]
        return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))

    def to_latex(self, caption: str, label: str) -> str:
        r"""A floating LaTeX table, without a newline at its end.

        It needs ``\usepackage{booktabs}``. By a rough count of its letters, a table that is too
        wide for a column spans both where a page has two (``table*``), and one that is too wide
        for a page in one column is scaled to the page's width, which needs
        ``\usepackage{graphicx}`` too.

        Args:
            caption: Plain text: what LaTeX would take for commands is escaped, as in the cells.
            label: Name for ``\ref``, such as ``"tab:indian_pines"``.

        Raises:
            ConfigurationError: If ``label`` holds a character that LaTeX does not allow there.
        """
        if not re.fullmatch(r"[\w:./+-]+", label, re.ASCII):
            raise ConfigurationError(
                f"label must hold letters, digits and : . / + - _ only, got {label!r}"
            )
        header, rows = self._written(_latex, r"\textbf{{{}}}")
        lines = [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"  \toprule",
            f"  {' & '.join(header)} \\\\",
            r"  \midrule",
        ]
        for number, row in enumerate(rows):
            if number in self.rules:
                lines.append(r"  \midrule")
            lines.append(f"  {' & '.join(row)} \\\\")
        lines += [r"  \bottomrule", r"\end{tabular}"]
        # roughly, in 10-point type: 5 points a letter, 12 between columns
        columns = zip(self.header, *self.rows, strict=True)
        width = sum(5 * max(map(len, column)) + 12 for column in columns)
        if width > LINE:
            lines = [r"\resizebox{\textwidth}{!}{%", *lines[:-1], rf"{lines[-1]}%", "}"]
        # what spans two columns can't stand "here"
        float_name, place = ("table*", "tp") if width > COLUMN else ("table", "htbp")
        return "\n".join(
            [
                rf"\begin{{{float_name}}}[{place}]",
                r"  \centering",
                rf"  \caption{{{_latex(caption)}}}",
                rf"  \label{{{label}}}",
                *(f"  {line}" for line in lines),
                rf"\end{{{float_name}}}",
            ]
        )

    def _written(
        self, escape: Callable[[str], str], marked: str
    ) -> tuple[list[str], list[list[str]]]:
        """Header and rows with every cell escaped, and the bold ones put into ``marked``."""
        rows = [list(map(escape, row)) for row in self.rows]
        for row, column in self.bold:
            if text := rows[row][column]:  # two marks with nothing between them would be seen
                rows[row][column] = marked.format(text)
        return list(map(escape, self.header)), rows


def results_table(results: Mapping[str, Metrics]) -> TextTable:
    """OA, AA, kappa, FWIoU and MIoU in percent, a row per method.

    Args:
        results: For each method (``"diffusion_features"``, ``"raw_bands"``, ...) its metrics by
            name as fractions 0..1; None and NaN leave the cell empty.
    """
    return TextTable(
        ("method", *SCORES.values()),
        tuple(
            (readable(method), *(percent(metrics.get(name)) for name in SCORES))
            for method, metrics in results.items()
        ),
    )


def class_table(
    results: Mapping[str, Metrics],
    class_names: Sequence[str],
) -> TextTable:
    """The accuracy of every class in percent, a row per class.

    Args:
        results: As for :func:`results_table`, with some of :data:`CLASS_FIGURES`, K fractions each;
            None and NaN stand for classes that are absent from the test pixels.
        class_names: K names.

    Returns:
        For each method a column for each of these figures that any method holds; the first one
        names the method.

    Raises:
        ConfigurationError: If a method has another number of values than there are classes.
    """
    held = {name for metrics in results.values() for name in metrics}
    figures = {name: label for name, label in CLASS_FIGURES.items() if name in held}
    header, columns = ["class"], []
    for method, metrics in results.items():
        for name, label in figures.items():
            values = metrics.get(name)
            values = [None] * len(class_names) if values is None else values
            if len(values) != len(class_names):
                raise ConfigurationError(
                    f"{name} of {method!r} must hold {len(class_names)} values, one per "
                    f"class, got {len(values)}"
                )
            first = name == next(iter(figures))
            header.append(f"{readable(method)}: {label}" if first else label)
            columns.append(values)
    return TextTable(
        tuple(header),
        tuple(
            (name, *(percent(values[index]) for values in columns))
            for index, name in enumerate(class_names)
        ),
    )


def split_table(per_class: Sequence[Mapping[str, int]], class_names: Sequence[str]) -> TextTable:
    """Pixels of every class in training, validation and test.

    They are counted as in the settings of a :class:`~hsi_diffusion.patches.Split`: for each class
    a mapping with ``"class"`` (1..K), ``"train"``, ``"val"`` and ``"test"``.

    Raises:
        ConfigurationError: If a class has no name.
    """
    parts = ("train", "val", "test")
    rows = []
    for counts in per_class:
        if not 1 <= counts["class"] <= len(class_names):
            raise ConfigurationError(
                f"per_class must count the classes 1 to {len(class_names)}, got {counts['class']}"
            )
        name = class_names[counts["class"] - 1]
        rows.append((name, *(f"{counts[part]:,}" for part in parts)))
    totals = (f"{sum(counts[part] for counts in per_class):,}" for part in parts)
    return TextTable(("class", *parts), (*rows, ("all", *totals)))


def percent(value: Any) -> str:
    """A fraction as a percentage with two decimals; None and NaN as a dash."""
    if value is None or math.isnan(float(value)):
        return NOTHING
    return f"{100 * float(value):.2f}"


def readable(name: str) -> str:
    """A key such as ``"raw_bands"`` for people."""
    return name.replace("_", " ")


def _latex(text: str) -> str:
    """Plain text for LaTeX, a hyphen before a number as a minus."""
    text = re.sub(r"(?<![\w.-])-(?=\d)", "\N{MINUS SIGN}", text)
    return text.translate({ord(sign): written for sign, written in LATEX.items()})
