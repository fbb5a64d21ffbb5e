"""Paired tests against scipy, the closed forms and a full enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports import (
    Measurement,
    PairedTest,
    paired,
    significance_table,
    verdicts,
)


def of_seeds(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


def wilcoxon_by_enumeration(differences: list[float]) -> float:
    """Share of all signs that are at least as one-sided as the given ones."""
    ranks = stats.rankdata(np.abs(differences))
    middle = ranks.sum() / 2
    given = abs(ranks[np.array(differences) > 0].sum() - middle)
    found = [
        abs(sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) - middle)
        for signs in itertools.product((False, True), repeat=len(ranks))
    ]
    return float(np.mean([value >= given - 1e-9 for value in found]))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_agrees_with_scipy_and_the_closed_forms(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    first, second = rng.uniform(0.8, 1, (2, seeds))
    test = paired(of_seeds(first.tolist()), of_seeds(second.tolist()))
    points = 100 * (first - second)
    deviation = points.std(ddof=1)
    assert test.pairs == seeds
    assert test.mean == pytest.approx(points.mean())
    assert test.deviation == pytest.approx(deviation)
    assert test.p_t == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert test.p_wilcoxon == pytest.approx(wilcoxon_by_enumeration(points.tolist()))
    half = stats.t.ppf(0.975, seeds - 1) * deviation / math.sqrt(seeds)
    assert test.interval == pytest.approx((points.mean() - half, points.mean() + half))


@pytest.mark.parametrize("pairs", [2, 3, 5, 6])
def test_smallest_p_of_the_wilcoxon_test(pairs: int) -> None:
    first = of_seeds([0.9 + seed / 100 for seed in range(pairs)])
    test = paired(first, dict.fromkeys(first, 0.5))
    assert test.p_wilcoxon == pytest.approx(2 ** (1 - pairs))


def test_only_common_seeds_count() -> None:
    first = {0: 0.9, 1: 0.8, 2: math.nan, 5: 0.7, 8: 0.1}
    second = {5: 0.6, 1: 0.75, 0: 0.7, 2: 0.5, 9: 0.3}
    assert paired(first, second) == paired(of_seeds([0.9, 0.8, 0.7]), of_seeds([0.7, 0.75, 0.6]))


def test_differences_of_zero_are_left_out_by_wilcoxon() -> None:
    test = paired(of_seeds([0.5, 0.6, 0.75, 0.9]), of_seeds([0.5, 0.5, 0.5, 0.5]))
    assert test.pairs == 4
    assert test.p_wilcoxon == pytest.approx(0.25)


def same(test: PairedTest, other: PairedTest) -> None:
    """Equal, where NaN equals NaN."""
    for name in ("pairs", "mean", "deviation", "p_t", "p_wilcoxon"):
        assert getattr(test, name) == pytest.approx(getattr(other, name), nan_ok=True), name
    assert test.interval == pytest.approx(other.interval, nan_ok=True)


NAN = math.nan


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({}, {0: 0.5}, PairedTest(0, NAN, NAN, NAN, NAN, (NAN, NAN))),
        ({0: 0.75}, {0: 0.5}, PairedTest(1, 25, NAN, NAN, NAN, (NAN, NAN))),
        ({0: 0.5, 1: 0.3}, {0: 0.5, 1: 0.3}, PairedTest(2, 0, 0, 1, 1, (0, 0))),
        # 0.97 - 0.95 and 0.96 - 0.94 are equal but for rounding errors
        ({0: 0.97, 1: 0.96}, {0: 0.95, 1: 0.94}, PairedTest(2, 2, 0, NAN, NAN, (NAN, NAN))),
    ],
)
@pytest.mark.filterwarnings("error")
def test_too_little_to_tell(
    first: dict[int, float], second: dict[int, float], expected: PairedTest
) -> None:
    same(paired(first, second), expected)


MEASURED = [
    *(Measurement("ours", "10 %", seed, {"kappa": 0.9 + seed / 100}) for seed in range(3)),
    *(Measurement("SVM", "10 %", seed, {"kappa": 0.8 + seed * seed / 100}) for seed in range(4)),
    Measurement("ours", "blocks", 0, {"kappa": 0.5}),
    Measurement("SVM", "blocks", 0, {"kappa": 0.625}),
    Measurement("kNN", "blocks", 0, {"kappa": None}),
]


def test_table_has_a_row_per_pair_and_column() -> None:
    table = significance_table(MEASURED, [("ours", "SVM"), ("kNN", "ours")], figure="kappa")
    assert table.header == (
        *("kappa, first - second", "on", "seeds", "difference, points"),
        *("95 % interval", "p (t)", "p (Wilcoxon)"),
    )
    points = np.array([10.0, 10.0, 8.0])
    deviation = points.std(ddof=1)
    low, high = stats.t.interval(0.95, 2, points.mean(), deviation / math.sqrt(3))
    assert table.rows == (
        (
            *("ours - SVM", "10 %", "3", f"+{points.mean():.2f} ± {deviation:.2f}"),
            f"{low:+.2f} to {high:+.2f}",
            f"{stats.ttest_1samp(points, 0).pvalue:.3f}",
            "0.250",
        ),
        ("ours - SVM", "blocks", "1", "-12.50", "-", "-", "-"),
        ("kNN - ours", "10 %", "0", "-", "-", "-", "-"),
        ("kNN - ours", "blocks", "0", "-", "-", "-", "-"),
    )


def test_a_verdict_says_whether_it_is_more_than_chance() -> None:
    found = [
        Measurement(row, column, seed, {"overall_accuracy": value + seed / 1000 * (row == "a")})
        for row, column, value in (
            ("a", "x", 0.9),
            ("b", "x", 0.8),
            ("a", "y", 0.8),
            ("b", "y", 0.801),
        )
        for seed in range(6)
    ]
    sure, unsure = verdicts(found, [("a", "b")])
    assert sure.startswith("**a against b, x: +10.25 points** of overall accuracy over 6 seeds, p ")
    assert sure.endswith(" by the paired t-test, 0.031 by Wilcoxon's: more than chance.")
    assert "y: +0.15 points" in unsure
    assert unsure.endswith("Wilcoxon's: it may be chance.")
    few = verdicts([one for one in found if one.seed < 5], [("a", "b")])
    assert few[0].endswith("over 5 seeds, which is too little to tell it from chance: it takes 6.")


def of_gains(gains: list[float]) -> list[Measurement]:
    """Two methods, one of which is so much better in each seed."""
    return [
        Measurement(row, "x", seed, {"overall_accuracy": 0.5 + (row == "a") * gain})
        for seed, gain in enumerate(gains)
        for row in ("a", "b")
    ]


def test_seeds_of_one_split_are_not_judged() -> None:
    gains = [0.1 + seed / 1000 for seed in range(6)]
    [told] = verdicts(of_gains(gains), [("a", "b")], one_split=["x"])
    assert told == (
        "**a against b, x: +10.25 points** of overall accuracy over 6 seeds, on one split, which "
        "says nothing of other training pixels."
    )
    [judged] = verdicts(of_gains(gains), [("a", "b")], one_split=["y"])
    assert judged.endswith("more than chance.")


@pytest.mark.parametrize("gain", [0.0, 0.02])
def test_a_difference_that_is_the_same_in_all_seeds_is_told_so(gain: float) -> None:
    [told] = verdicts(of_gains([gain] * 6), [("a", "b")])
    assert told.endswith(
        "over 6 seeds, the same in all of them, so that nothing says how much it varies."
    )


def test_tests_that_disagree_are_told() -> None:
    gains = [0.001, 0.001, 0.001, 0.001, 0.001, 0.2]  # all above 0, one of them far
    [told] = verdicts(of_gains(gains), [("a", "b")])
    assert told.endswith("0.031 by Wilcoxon's: the tests disagree.")


def test_tiny_p_is_not_shown_as_nothing() -> None:
    measured = [
        Measurement(row, "10 %", seed, {"overall_accuracy": base + seed % 3 / 1e4})
        for row, base in (("ours", 0.9), ("SVM", 0.5))
        for seed in range(9)
        if row == "ours" or seed != 8
    ]
    measured.append(Measurement("SVM", "10 %", 8, {"overall_accuracy": 0.51}))
    (row,) = significance_table(measured, [("ours", "SVM")]).rows
    assert row[5:] == ("< 0.001", "0.004")


def test_unknown_rows_and_figures_are_named() -> None:
    with pytest.raises(ConfigurationError, match="rows, ours, SVM, kNN; got 'svm'"):
        significance_table(MEASURED, [("ours", "svm")], figure="kappa")
    with pytest.raises(ConfigurationError, match="hold, kappa; got 'overall_accuracy'"):
        significance_table(MEASURED, [("ours", "SVM")])
