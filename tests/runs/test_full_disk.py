"""Files that can't grow: one message, exit code 2, and the old state whole."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from hsi_diffusion.cli import main
from hsi_diffusion.recipes import merge
from tests.runs.tiny import TINY

if sys.platform == "win32":
    pytest.skip("there are no limits of files", allow_module_level=True)
import resource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = ["run", "--no-progress"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What a full disk is like, where everybody else goes on writing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "run"
    config = folder.with_suffix(".yaml")
    # features of 40 kB, less than the classifier's checkpoint
    config.write_text(yaml.safe_dump(merge(TINY, {"features": {"components": 16}})))
    assert main([*RUN, "--config", str(config), "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize(
    ("stage", "size"),
    [
        ("checkpoints/pretrain.ckpt", 60_000),
        ("features/features-", 30_000),
        ("checkpoints/classifier.ckpt", 60_000),
    ],
)
def test_a_run_goes_on_after_a_full_disk(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: str, size: int
) -> None:
    folder = tmp_path / "run"
    command = [*RUN, "--config", str(finished.with_suffix(".yaml")), "--out", str(folder)]
    if "pretrain" not in stage:
        command += ["--pretrained", str(finished / "checkpoints" / "pretrain.ckpt")]
    with largest_file(size):
        assert main(command) == 2
    (message,) = (line for line in capsys.readouterr().err.splitlines() if "error: " in line)
    assert stage in message
    assert "free some space" in message
    assert not [path for path in folder.rglob(".*") if path.is_file()]
    assert not list(folder.rglob(f"{stage.rpartition('/')[2]}*"))
    assert main([*RUN, "--resume", str(folder)]) == 0
    name = "classification_map.npy"
    assert (folder / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize("ending", ["tif", "hdr", "npy", "png"])
def test_a_map_stays_as_it_was(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    image = tmp_path / "image.npy"
    np.save(image, np.random.default_rng(0).normal(size=(80, 80, 16)).astype(np.float32))
    out = tmp_path / "map" / f"map.{ending}"
    command = ["map", "--model", str(finished / "model"), "--image", str(image), "--out", str(out)]
    assert main(command) == 0
    there = {path: path.read_bytes() for path in out.parent.iterdir()}
    capsys.readouterr()
    with largest_file(1000):
        assert main(command) == 2
    (message,) = (line for line in capsys.readouterr().err.splitlines() if "error: " in line)
    assert f"can't write {out.parent}" in message
    for path, content in there.items():
        assert path.read_bytes() == content
    assert main(command) == 0
    assert {path.name for path in out.parent.iterdir()} == {path.name for path in there}
