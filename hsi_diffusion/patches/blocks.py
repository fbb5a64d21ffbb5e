"""A split into spatial blocks: what is tested lies away from all that was labelled.

The way the blocks are drawn is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import maximum_filter

from hsi_diffusion.errors import SplitError
from hsi_diffusion.patches.split import Split
from hsi_diffusion.patches.stratify import (
    check_labels,
    check_val_fraction,
    listed,
    random_validation,
)
from hsi_diffusion.seeding import stable_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
Window = tuple[slice, slice]

TEST_SHARE = 0.1
"""No training block is drawn that would leave a class with less than this share for the test."""

TRAIN_SHARE = 0.5
"""No validation block is drawn that leaves a class less than this fraction of its budget."""


def block_split(
    labels: NDArray[Any],
    *,
    block_size: int = 12,
    train_fraction: float = 0.25,
    guard: int,
    val_fraction: float = 0.2,
    seed: int,
) -> Split:
    """Label whole blocks of the scene, and test what lies farther than ``guard`` from all of them.

    1. **Budget.** Blocks are drawn until their labelled pixels are nearest to ``train_fraction`` of
       all labelled pixels. The class that is furthest behind its own share is served next, by the
       block of a random one of its pixels. A block is refused where it would leave a class that
       lies in two or more blocks with less than a tenth of its pixels for the test. Every class
       gets its first block even beyond the budget.
    2. **Validation.** Whole blocks of the budget, drawn the same way, up to ``val_fraction`` of
       it, that leave every class half of its budget for training. Validation pixels within
       ``guard`` of a training pixel are left out, so that validation is as hard as the test. Where
       no block can be spared, validation pixels are drawn at random, and a note says so.
    3. **Test.** All labelled pixels farther than ``guard`` from every training and validation
       pixel, so ``leakage(2 * guard + 1) == 0``. A class that lies in two or more blocks but would
       have none gets some by giving up the fewest possible training pixels.

    A class that lies in one block trains and is not tested. Distances are the larger of the row and
    the column distance. What could not be had stands in ``settings["notes"]``.

    Args:
        labels: Label map, shape (H, W), 0 = unlabelled.
        block_size: Side of the square blocks in pixels, counted from the upper left corner.
        train_fraction: Fraction of the labelled pixels that is spent on training and validation
            together, between 0 and 1. Met as nearly as whole blocks and the classes allow.
        guard: Pixels between what is labelled and what is tested: ``patch_size // 2`` keeps
            training pixels out of the test patches.
        val_fraction: Fraction of the label budget that validates.
        seed: Names the draw.

    Returns:
        The split. Labelled pixels within the guard are in no part.

    Raises:
        SplitError: A setting is outside what is allowed, the label map is none, or no test pixel is
            left.
    """
    labels = check_labels(labels)
    check_val_fraction(val_fraction)
    if block_size < 1:
        raise SplitError(f"block_size must be at least 1 pixel, got {block_size}")
    if guard < 0:
        raise SplitError(f"guard must be at least 0 pixels, got {guard}")
    if not 0 < train_fraction < 1:
        raise SplitError(f"train_fraction must lie between 0 and 1, got {train_fraction}")

    blocks = _Blocks(labels, block_size, guard)
    random = np.random.default_rng(stable_seed("block-split", seed))
    budget = blocks.cover(_draw_budget(blocks, train_fraction, random))
    notes = _rescue_tests(blocks, budget)
    val = blocks.cover(_draw_validation(blocks.count(budget), val_fraction, random)) & budget
    train = budget & ~val
    val &= ~blocks.near(train)
    if val_fraction > 0 and not val.any():
        notes.append(
            "no block could be spared for validation: its pixels are drawn at random and lie "
            "next to training pixels"
        )
        val = random_validation(labels, budget, val_fraction, seed)
        train = budget & ~val
    test = (labels > 0) & ~blocks.near(train | val)
    if not test.any():
        raise SplitError(
            f"no labelled pixel is farther than guard={guard} from the training blocks; use a "
            "smaller block_size, train_fraction or guard (a smaller patch)"
        )
    return Split.from_labels(
        labels,
        train=np.flatnonzero(train),
        val=np.flatnonzero(val),
        test=np.flatnonzero(test),
        settings={
            "kind": "blocks",
            "seed": int(seed),
            "block_size": block_size,
            "train_fraction": train_fraction,
            "guard": guard,
            "val_fraction": val_fraction,
            "notes": [*notes, *_what_is_missing(blocks, train, val, test)],
        },
    )


class _Blocks:
    """The grid of blocks over a label map.

    Attributes:
        classes: Class numbers that occur, rising, K of them.
        kind: Position in ``classes`` plus 1 of each pixel, 0 = unlabelled, shape (H, W).
        counts: Pixels of each class in each block, shape (blocks, K).
        pixels: Pixels of each class, shape (K,).
        spread: Number of blocks in which each class lies, shape (K,).
    """

    def __init__(self, labels: NDArray[np.int64], block_size: int, guard: int) -> None:
        self.guard = guard
        self.block_size = block_size
        self.classes: list[int] = np.unique(labels[labels > 0]).tolist()
        self.kind = np.where(labels > 0, np.searchsorted(self.classes, labels) + 1, 0)
        rows, columns = (np.arange(size) // block_size for size in labels.shape)
        self.columns = int(columns[-1]) + 1
        self.block = rows[:, None] * self.columns + columns
        self.counts = self.count(self.kind > 0)
        self.pixels = self.counts.sum(axis=0)
        self.spread = (self.counts > 0).sum(axis=0)

    def count(self, mask: Mask) -> Counts:
        """Pixels of each class in each block where ``mask`` is true, shape (blocks, K)."""
        counts = np.zeros((int(self.block.max()) + 1, len(self.classes) + 1), dtype=np.int64)
        np.add.at(counts, (self.block[mask], self.kind[mask]), 1)
        return counts[:, 1:]

    def per_class(self, mask: Mask, window: Window = np.s_[:, :]) -> Counts:
        """Pixels of each class where ``mask`` is true in a window of the scene, shape (K,)."""
        return np.bincount(self.kind[window][mask], minlength=len(self.classes) + 1)[1:]

    def cover(self, chosen: list[int]) -> Mask:
        """The labelled pixels of some blocks, shape (H, W)."""
        covered: Mask = np.isin(self.block, chosen) & (self.kind > 0)
        return covered

    def near(self, mask: Mask) -> Mask:
        """The pixels at most ``guard`` away from where ``mask`` is true, shape of the mask."""
        grown: Mask = maximum_filter(mask, size=2 * self.guard + 1, mode="constant", cval=0)
        return grown

    def window(self, row: int, column: int, size: int) -> Window:
        """Rows and columns of a square that starts there, and of the guard around it."""
        rows, columns = (
            slice(max(0, start - self.guard), start + size + self.guard) for start in (row, column)
        )
        return rows, columns


def _draw_blocks(
    counts: Counts,
    targets: NDArray[np.float64],
    random: np.random.Generator,
    admit: Callable[[int], bool],
    *,
    cover: bool,
) -> list[int]:
    """Draw blocks until their pixels are nearest to the sum of ``targets``.

    Args:
        counts: Pixels of each class in each block, shape (blocks, K).
        targets: Wanted pixels of each class, shape (K,).
        random: Draws.
        admit: Whether a block may be drawn; asked once, right before it is.
        cover: Draw a class's first block even where that leads away from the sum.

    Returns:
        The blocks.
    """
    chosen: list[int] = []
    have = np.zeros(len(targets), dtype=np.int64)
    asked: set[int] = set()
    queues: dict[int, list[int]] = {}
    for kind, target in enumerate(targets):
        holders = np.flatnonzero(counts[:, kind])
        if target > 0 and len(holders):
            # without replacement and in proportion to the pixels, the first one last
            waiting = random.exponential(size=len(holders)) / counts[holders, kind]
            queues[kind] = holders[np.argsort(-waiting)].tolist()
    while queues:
        behind = min(queues, key=lambda kind: (have[kind] / targets[kind], len(queues[kind]), kind))
        block = queues[behind].pop()
        if not queues[behind]:
            del queues[behind]
        missing = targets.sum() - have.sum()
        nearer = abs(missing - counts[block].sum()) < abs(missing)
        if block in asked or not (nearer or (cover and have[behind] == 0)):
            continue
        asked.add(block)
        if admit(block):
            chosen.append(block)
            have += counts[block]
    return chosen


def _draw_budget(blocks: _Blocks, fraction: float, random: np.random.Generator) -> list[int]:
    """The blocks that train and validate."""
    taken = np.zeros(blocks.kind.shape, dtype=bool)  # labelled, or too near for the test
    left = blocks.pixels.copy()
    least = np.where(blocks.spread > 1, np.ceil(TEST_SHARE * blocks.pixels), 0)

    def admit(block: int) -> bool:
        row, column = divmod(block, blocks.columns)
        size = blocks.block_size
        window = blocks.window(row * size, column * size, size)
        inside = (blocks.block[window] == block) & (blocks.kind[window] > 0)
        newly = blocks.near(inside) & ~taken[window]
        lost = blocks.per_class(newly, window)
        if (left - lost < least).any():
            return False
        taken[window] |= newly
        left[:] -= lost
        return True

    chosen = _draw_blocks(blocks.counts, fraction * blocks.pixels, random, admit, cover=True)
    for pixels in blocks.counts.T:
        # training every class comes first; _rescue_tests then looks after the test
        if not pixels[chosen].any():
            chosen.append(int(pixels.argmax()))
    return chosen


def _draw_validation(counts: Counts, fraction: float, random: np.random.Generator) -> list[int]:
    """The blocks of the budget (``counts`` pixels) that validate."""
    left = counts.sum(axis=0)
    least = TRAIN_SHARE * left

    def admit(block: int) -> bool:
        if (left - counts[block] < least).any():
            return False
        left[:] -= counts[block]
        return True

    return _draw_blocks(counts, fraction * left, random, admit, cover=False)


def _rescue_tests(blocks: _Blocks, budget: Mask) -> list[str]:
    """Take pixels out of ``budget``, in place, for classes that would have no test pixels.

    Returns:
        Notes on what was given up.
    """
    notes = []
    labelled = blocks.kind > 0
    for kind, number in enumerate(blocks.classes):
        tested = blocks.per_class(labelled & ~blocks.near(budget))
        if tested[kind] > 0 or blocks.spread[kind] < 2:
            continue
        best: Window | None = None
        fewest = blocks.kind.size
        held = blocks.per_class(budget)
        for row, column in np.argwhere(blocks.kind == kind + 1).tolist():
            window = blocks.window(row, column, 1)
            lost = blocks.per_class(budget[window], window)
            if (held - lost >= 1).all() and lost.sum() < fewest:
                best, fewest = window, int(lost.sum())
        if best is not None:
            budget[best] = False
            notes.append(f"class {number}: {fewest} training pixels are given up for its test")
    return notes


def _what_is_missing(blocks: _Blocks, train: Mask, val: Mask, test: Mask) -> list[str]:
    """Notes on classes and pixels that are in no part, or in too few."""
    notes = []
    tested, validated = blocks.per_class(test), blocks.per_class(val)
    untested = tested == 0
    reasons = (
        (untested & (blocks.spread == 1), "one block holds them whole, which trains; not tested"),
        (untested & (blocks.spread > 1), "no pixel is far enough from training; not tested"),
        ((validated == 0) & val.any(), "no block to spare; not validated"),
    )
    for concerned, reason in reasons:
        if concerned.any():
            numbers = [blocks.classes[kind] for kind in np.flatnonzero(concerned)]
            notes.append(f"{listed(numbers)}: {reason}")
    total = int(blocks.pixels.sum())
    budget = int(train.sum() + val.sum())
    rest = total - budget - int(test.sum())
    notes.append(f"{budget / total:.1%} of the labelled pixels train or validate")
    notes.append(f"{rest / total:.1%} of the labelled pixels lie in the guard and are not used")
    return notes
