from __future__ import annotations

import hashlib
import json
import stat
from typing import TYPE_CHECKING

import numpy as np
import pytest

from hsi_diffusion.files import atomic_path, digest_of, plain_data, remove_temporaries, write_text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_appears_whole_with_usual_rights(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "table.csv"
    (tmp_path / "usual").touch()
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("a,b")
        assert not path.exists()
    assert path.read_text() == "a,b"
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)
    assert list(path.parent.iterdir()) == [path]


def test_only_what_was_being_written_is_removed(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in (".gitignore", ".map-0a.tif", "map.tif", "map-areas.csv")]
    written = [tmp_path / f".{stem}-{'0a' * 8}.tif" for stem in ("map", "other")]
    for path in (*kept, *written):
        path.touch()
    remove_temporaries(tmp_path / "map.tif")
    assert [path.exists() for path in written] == [False, True]
    model = tmp_path / f".model-{'0a' * 8}"  # a folder
    model.mkdir()
    (model / f".weights-{'0b' * 8}.bin").touch()
    remove_temporaries(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="full"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_digest_is_that_of_the_plain_data() -> None:
    written = b'{"a": [1, 2], "b": {"c": null, "d": 0.1}}'
    plain = {"b": {"d": 0.1, "c": None}, "a": (1, 2)}
    assert digest_of(plain) == hashlib.sha256(written).hexdigest()
    assert digest_of({**plain, "a": (2, 1)}) != digest_of(plain)


def test_plain_data_is_strict_json() -> None:
    given = {1: np.float32(0.5), "a": (np.arange(2), float("nan")), "b": [np.inf, None, "x"]}
    found = plain_data(given | {"c": len})
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "1": 0.5, "a": [[0, 1], None], "b": [None, None, "x"], "c": repr(len),
    }  # fmt: skip
