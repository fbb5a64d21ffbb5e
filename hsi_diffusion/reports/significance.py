"""Whether one method is better than another: differences seed by seed, and how sure they are.

What the p-values say is little. They ask whether the mean difference could be chance over the
seeds, that is over the draw of the split and of the networks' weights, on this one scene. They say
nothing of other scenes. Where the split is fixed, such as by published maps, the pairs vary in the
noise of training only, and the p-values say nothing of other training pixels either. Random splits
of one scene share most of their pixels, so the differences are less independent than both tests
assume, and the p-values come out too small rather than too large (Nadeau and Bengio, "Inference for
the generalization error", Machine Learning 52, 2003). With n pairs the Wilcoxon test can't give
less than 2 ** (1 - n): 0.25 for 3 pairs, 0.0625 for 5, so that nothing is significant at 5 % with
fewer than 6. The t-test can, but only by trusting that the differences are normal, which nobody can
see in 3 of them. Where many pairs are compared, some p-values are small by chance; they are not
corrected for that here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.comparison import fractions
from hsi_diffusion.reports.tables import FIGURES, NOTHING, TextTable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from hsi_diffusion.reports.comparison import Measurement

CONFIDENCE = 0.95

FEWEST = 6
"""Seeds from which Wilcoxon's test can give a p below 0.05: its least is 2 / 2^n."""


@dataclass(frozen=True)
class PairedTest:
    """The difference between two methods over the seeds that both have.

    Attributes:
        pairs: How many seeds.
        mean: Mean of first minus second, in percentage points; NaN without pairs.
        deviation: Sample standard deviation of the differences; NaN for fewer than two pairs.
        p_t: p-value of the two-sided paired t-test. NaN for fewer than two pairs, or if all
            differences are equal, so that they don't say how much they vary; 1 where all of them
            are 0.
        p_wilcoxon: p-value of the two-sided Wilcoxon signed-rank test without differences of 0;
            NaN and 1 like ``p_t``.
        interval: Confidence interval (95 %) of the mean, by the t-distribution, in percentage
            points; NaN like ``p_t``, and (0, 0) where all differences are 0.
    """

    pairs: int
    mean: float
    deviation: float
    p_t: float
    p_wilcoxon: float
    interval: tuple[float, float]


def paired(first: Mapping[int, float], second: Mapping[int, float]) -> PairedTest:
    """Compare two methods seed by seed.

    What the p-values are worth with few seeds is said at the top of this module.

    Args:
        first: A figure of merit, as a fraction, for each seed.
        second: Likewise of the other method; seeds that only one has are left out, and so are
            those where one is NaN.

    Example:
        >>> test = paired({0: 0.95, 1: 0.97, 2: 0.96}, {0: 0.94, 1: 0.95, 2: 0.93, 3: 0.9})
        >>> test.pairs, round(test.mean, 2), round(test.p_t, 3), test.p_wilcoxon
        (3, 2.0, 0.074, 0.25)
    """
    # half a second to load, for nobody else
    from scipy import stats  # noqa: PLC0415

    seeds = sorted(first.keys() & second.keys())
    differences = np.array([100 * (first[seed] - second[seed]) for seed in seeds])
    # so that differences that are equal, but for rounding errors, are seen as equal
    points = np.round(differences[~np.isnan(differences)], 9)
    pairs = len(points)
    mean = float(points.mean()) if pairs else math.nan
    if pairs < 2:
        return PairedTest(pairs, mean, math.nan, math.nan, math.nan, (math.nan, math.nan))
    if not points.any():
        return PairedTest(pairs, 0.0, 0.0, 1.0, 1.0, (0.0, 0.0))
    if np.ptp(points) == 0:
        return PairedTest(pairs, mean, 0.0, math.nan, math.nan, (math.nan, math.nan))
    p_wilcoxon = float(stats.wilcoxon(points[points != 0]).pvalue)
    test = stats.ttest_1samp(points, 0)
    low, high = test.confidence_interval(CONFIDENCE)
    return PairedTest(
        pairs,
        mean,
        float(points.std(ddof=1)),
        float(test.pvalue),
        p_wilcoxon,
        (float(low), float(high)),
    )


def significance_table(
    measurements: Sequence[Measurement],
    pairs: Sequence[tuple[str, str]],
    *,
    figure: str = "overall_accuracy",
) -> TextTable:
    """How much better one method is than another, and how sure that is.

    What the p-values are worth with few seeds is said at the top of this module.

    Args:
        measurements: Measurements of all methods, on one split or several.
        pairs: Names of two rows each; the second one is taken from the first.
        figure: Which figure of merit.

    Returns:
        A row for each pair on each column of the measurements: the seeds that both have, mean and
        sample standard deviation of the difference in percentage points, the confidence interval
        of the mean, and p of the paired t-test and of the Wilcoxon signed-rank test. A dash where
        the seeds are too few.

    Raises:
        ConfigurationError: If a pair names a row that was not measured, no measurement holds
            ``figure``, or two are of the same row, column and seed.
    """
    lines = [
        (
            f"{first} - {second}",
            column,
            str(test.pairs),
            _difference(test),
            _interval(test),
            _p(test.p_t),
            _p(test.p_wilcoxon),
        )
        for first, second, column, test in _tests(measurements, pairs, figure)
    ]
    header = (
        f"{FIGURES.get(figure, figure)}, first - second",
        "on",
        "seeds",
        "difference, points",
        f"{100 * CONFIDENCE:.0f} % interval",
        "p (t)",
        "p (Wilcoxon)",
    )
    return TextTable(header, tuple(lines))


def verdicts(
    measurements: Sequence[Measurement],
    pairs: Sequence[tuple[str, str]],
    *,
    one_split: Collection[str] = (),
) -> list[str]:
    """A sentence for each pair on each column that have seeds in common: is it more than chance?

    Args:
        measurements: Measurements of all methods, on one split or several.
        pairs: Names of two rows each; the second one is taken from the first.
        one_split: Columns whose seeds all learn and test the same pixels, so that p-values would
            speak of the noise of training only: the difference is reported, and not judged.

    Raises:
        ConfigurationError: As :func:`significance_table` does.
    """
    found = []
    for first, second, column, test in _tests(measurements, pairs, "overall_accuracy"):
        if test.pairs:
            seeds = "1 seed" if test.pairs == 1 else f"{test.pairs} seeds"
            found.append(
                f"**{first} against {second}, {column}: {test.mean:+.2f} points** of overall "
                f"accuracy over {seeds}, {_verdict(test, one_split=column in one_split)}."
            )
    return found


def _verdict(test: PairedTest, *, one_split: bool) -> str:
    if one_split:
        return "on one split, which says nothing of other training pixels"
    if test.deviation == 0:
        return "the same in all of them, so that nothing says how much it varies"
    if test.pairs < FEWEST:
        return f"which is too little to tell it from chance: it takes {FEWEST}"
    sure = [p < 1 - CONFIDENCE for p in (test.p_t, test.p_wilcoxon)]
    answers = ("it may be chance", "the tests disagree", "more than chance")
    return (
        f"p {_p(test.p_t)} by the paired t-test, {_p(test.p_wilcoxon)} by Wilcoxon's: "
        f"{answers[sum(sure)]}"
    )


def _tests(
    measurements: Sequence[Measurement], pairs: Sequence[tuple[str, str]], figure: str
) -> Iterator[tuple[str, str, str, PairedTest]]:
    """Every pair on every column, with its test."""
    rows = list(dict.fromkeys(m.row for m in measurements))
    columns = list(dict.fromkeys(m.column for m in measurements))
    for pair in pairs:
        for row in pair:
            if row not in rows:
                raise ConfigurationError(
                    f"pairs must name measured rows, {', '.join(rows) or 'none'}; got {row!r}"
                )
    values = fractions(measurements, figure)
    for first, second in pairs:
        for column in columns:
            test = paired(values.get((first, column), {}), values.get((second, column), {}))
            yield first, second, column, test


def _difference(test: PairedTest) -> str:
    if test.pairs == 0:
        return NOTHING
    mean = f"{test.mean:+.2f}"
    return mean if test.pairs == 1 else f"{mean} ± {test.deviation:.2f}"


def _interval(test: PairedTest) -> str:
    low, high = test.interval
    return NOTHING if math.isnan(low) else f"{low:+.2f} to {high:+.2f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
