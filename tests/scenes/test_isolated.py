"""What foreign files can do to the process that reads them, and what they can't do to ours."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile

from hsi_diffusion.errors import FileFormatError
from hsi_diffusion.scenes import isolated as module
from hsi_diffusion.scenes import read_array
from hsi_diffusion.scenes.isolated import isolated


@isolated
def act(path: Path, how: str) -> Any:
    """Stands for a parser."""
    match how:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            while True:
                pass
        case "memory":
            return bytearray(50 << 30)
        case "exit":
            os._exit(3)
        case "error":
            raise KeyError("a bug")
        case "print":
            os.write(1, b"written by a parser in C")
            warnings.warn(f"odd file in {Path.cwd()}", stacklevel=1)
    return np.arange(6).reshape(2, 3), os.getpid()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("crash", "ended in a crash of its parser .SIGSEGV."),
        ("hang", r"was stopped after .* of computing"),
        ("memory", "asks for more memory"),
        ("exit", "ended with exit code 3"),
    ],
)
def test_death_is_an_error_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    monkeypatch.setattr(module, "SECONDS", 1)
    with pytest.raises(FileFormatError, match=rf"can't read .*cube\.mat: .*{message}"):
        act(tmp_path / "cube.mat", how)
    array, process = act(tmp_path / "cube.mat", "")
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert array.flags.writeable
    assert process != os.getpid()
    assert act(tmp_path / "cube.mat", "")[1] == process


def test_what_a_parser_prints_raises_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match=f"odd file in {tmp_path}"):
        assert act(Path("cube.mat"), "print")[0].shape == (2, 3)
    with pytest.raises(KeyError, match="a bug") as caught:
        act(Path("cube.mat"), "error")
    assert "test_isolated.py" in caught.value.__notes__[0]


def test_forks_read_in_a_process_of_their_own(tmp_path: Path) -> None:
    ours = act(tmp_path, "")[1]
    receive, send = os.pipe()
    if (child := os.fork()) == 0:
        os.write(send, str(act(tmp_path, "")[1]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(receive, 99)) not in (ours, 0)
    assert act(tmp_path, "")[1] == ours


def npy(path: Path) -> None:
    with path.open("wb") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (9999, 9999, 99)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(800))


def mat(path: Path) -> None:
    scipy.io.savemat(path, {"cube": np.zeros((4, 5, 6))}, appendmat=False)
    content = path.read_bytes()
    sizes = np.array([4, 5, 6], dtype="<i4").tobytes()
    path.write_bytes(content.replace(sizes, np.array([9999, 9999, 99], "<i4").tobytes()))


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        shape = (99999, 99999, 99)
        file.create_dataset("cube", shape, "f4", chunks=(10, 10, 10), compression="gzip")


def contiguous(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["cube"] = np.zeros((37, 53))
    content = path.read_bytes()
    sizes = np.array([37, 53], dtype="<u8").tobytes()
    path.write_bytes(content.replace(sizes, np.array([9999, 9999], "<u8").tobytes()))


def tiff(path: Path) -> None:
    tifffile.imwrite(path, np.zeros((41, 43)))
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageWidth"].overwrite(2**31)


def envi(path: Path) -> None:
    path.with_suffix("").write_bytes(bytes(99))
    path.write_text(
        "ENVI\nsamples = 9999\nlines = 9999\nbands = 99\nheader offset = 0\ndata type = 4\n"
        "interleave = bsq\nbyte order = 0\n"
    )


def roi(path: Path) -> None:
    path.write_text(
        "; ENVI Output of ROIs\n; Number of ROIs: 1\n; File Dimension: 999999 x 999999\n"
        "; ROI name: a\n; ROI npts: 1\n1 1 1\n"
    )


@pytest.mark.parametrize("write", [npy, mat, hdf5, contiguous, tiff, envi, roi])
def test_header_that_claims_more_than_the_file_holds(tmp_path: Path, write: Any) -> None:
    path = tmp_path / "cube.hdr"
    write(path)
    with pytest.raises(FileFormatError, match=r"claims|must hold|mmap length|invalid dataset"):
        read_array(path)
