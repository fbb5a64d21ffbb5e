"""Pages and files of figures."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from matplotlib.figure import Figure

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.reports.figures import image_page, save_figure
from tests.reports.layout import check_layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_suffix_decides_the_format(tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / "new" / f"figure{suffix}"
    assert save_figure(Figure(figsize=(1, 1)), path) == path
    assert path.read_bytes().startswith(magic)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"path must end in one of .*\.png.*'map.xyz'"):
        save_figure(Figure(), tmp_path / "map.xyz")
    assert not list(tmp_path.iterdir())


def test_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(*args: object, **options: object) -> None:
        raise OSError("disk full")

    figure = Figure()
    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_pyplot_stays_out() -> None:
    code = (
        "import sys, numpy as np\n"
        "from hsi_diffusion.reports import confusion_matrix\n"
        "confusion_matrix(np.eye(2, dtype=int), ['a', 'b'])\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("size", [(145, 145), (610, 340), (349, 1905), (30, 300), (300, 30)])
@pytest.mark.parametrize("panels", [1, 2])
@pytest.mark.parametrize("names", [0, 3, 17])
def test_images_fill_the_page(size: tuple[int, int], panels: int, names: int) -> None:
    legend = {f"name of class {number}": (0.1, 0.2, 0.3) for number in range(names)}
    figure, axes = image_page(panels, size, legend)
    assert len(axes) == panels
    for axis in axes:
        axis.imshow([[0.0]], extent=(0, size[1], size[0], 0))
        axis.set_title("Title")
    check_layout(figure)
    width, height = figure.get_size_inches()
    assert width < 32
    assert height < 12
    boxes = [axis.get_window_extent() for axis in axes]
    for box in boxes:
        assert box.width / box.height == pytest.approx(size[1] / size[0], rel=0.02)
    rows = 1 if size[1] <= 1.6 * size[0] else panels
    wide = boxes[0].width * (panels if rows == 1 else 1)
    assert wide > 0.85 * figure.bbox.width or figure.bbox.width / figure.dpi < 5
    if names:
        assert len(figure.legends[0].get_texts()) == names
