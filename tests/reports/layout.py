"""Checks of what a reader sees: nothing cut off, no text over other text."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure
    from matplotlib.text import Text


def shown_texts(figure: Figure) -> list[Text]:
    """Every text that is drawn, after the layout."""
    figure.draw_without_rendering()
    return [text for text in _texts(figure) if text.get_visible() and text.get_text().strip()]


def check_layout(figure: Figure) -> None:
    """Fail where a text leaves the page or overlaps another one."""
    texts = shown_texts(figure)
    page = figure.bbox
    for text in texts:
        box = text.get_window_extent()
        inside = min(box.x0, box.y0) >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
        assert inside, f"{text.get_text()!r} leaves the page: {box} of {page}"
    # the box of a slanted text is far larger than the text
    upright = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_rotation() % 90 == 0]
    for (first, a), (second, b) in combinations(upright, 2):
        width = min(a.x1, b.x1) - max(a.x0, b.x0)
        height = min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(width, height) < 2, f"{first!r} overlaps {second!r}"


def _texts(figure: Figure) -> Iterator[Text]:
    yield from figure.texts
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in figure.axes:
        yield from axes.texts
        yield axes.title
        for axis in (axes.xaxis, axes.yaxis):
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield tick.label1
