"""Downloading the published files: several sources, checked, and written whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
import zipfile
from typing import IO, TYPE_CHECKING, Final

from hsi_diffusion.errors import DownloadError
from hsi_diffusion.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from hsi_diffusion.scenes.info import FileRole, SceneInfo, SourceFile

BLOCK: Final = 1 << 20

TIMEOUT: Final = 30.0
"""Seconds to wait for a server's answer."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_official(path: Path, file: SourceFile) -> bool:
    """Whether ``path`` holds the published file, by its checksum (True where none is known)."""
    return file.sha256 is None or sha256_of(path) == file.sha256


def download_scene(
    info: SceneInfo,
    folder: Path,
    *,
    roles: Collection[FileRole] | None = None,
) -> None:
    """Bring the scene's published files into ``folder``.

    Of several files that hold the same thing (a label map as text and as TIFF) one is enough.
    What is already there is left alone.

    Args:
        info: The scene.
        folder: Where to write; made if missing.
        roles: Which files to bring, by what they hold; all by default.

    Raises:
        DownloadError: If a file can't be had; the message says where to get it by hand.
    """
    for role in info.roles if roles is None else roles:
        files = info.files_of(role)
        if not any((folder / file.name).is_file() for file in files):
            download_file(info, files[0], folder)


def download_file(
    info: SceneInfo,
    file: SourceFile,
    folder: Path,
) -> Path:
    """Bring one published file into ``folder``, from the first source that gives the right one.

    A file that comes in an archive is taken out of it; the archive is downloaded if it is not in
    ``folder``, and stays there. A file that is already there is checked and kept.

    Args:
        info: The scene that the file belongs to.
        file: The file, one of ``info.files``.
        folder: Where to write; made if missing.

    Returns:
        The path of the file.

    Raises:
        DownloadError: If no source gives the file with the right size and checksum; the message
            says what went wrong with each, and where to get the file by hand.
    """
    target = folder / file.name
    if target.is_file():
        if is_official(target, file):
            return target
        raise DownloadError(
            f"{target} is not the published file (its checksum differs) and is not replaced; "
            f"move it away and try again"
        )
    failures: list[str] = []
    if file.archive is not None:
        archive = next(other for other in info.files if other.name == file.archive)
        path = download_file(info, archive, folder)
        try:
            _extract(path, file, target)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            failures.append(f"{path}: {error}")
        else:
            return target
    for url in file.urls:
        try:
            _fetch(url, file, target)
        # OSError holds urllib's URLError, timeouts and what _write raises
        except (OSError, http.client.HTTPException, ValueError) as error:
            failures.append(f"{url}: {str(error) or type(error).__name__}")
        else:
            return target
    tried = "".join(f"\n  {failure}" for failure in failures) or " no source is known"
    raise DownloadError(
        f"can't get {file.name} of scene {info.name!r}:{tried}\n"
        f"Get it by hand, for example from {info.homepage or 'its provider'}, and put it into "
        f"{folder}. Terms: {info.licence or 'not known'}."
    )


def _fetch(url: str, file: SourceFile, target: Path) -> None:
    if not url.startswith(("https://", "http://")):
        raise ValueError("a source must be an http or https address")
    # some servers turn away urllib's own name
    request = urllib.request.Request(url, headers={"User-Agent": "hsi-diffusion"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        length = response.headers.get("Content-Length")
        total = int(length) if length is not None else file.size
        _write(response, total, file, target)


def _extract(archive: Path, file: SourceFile, target: Path) -> None:
    """Take one member out of a zip archive; no name inside the archive decides where it goes."""
    with zipfile.ZipFile(archive) as content:
        try:
            member = content.getinfo(file.member or "")
        except KeyError:
            raise DownloadError(f"holds no {file.member}") from None
        with content.open(member) as stream:
            _write(stream, member.file_size, file, target)


def _write(stream: IO[bytes], total: int | None, file: SourceFile, target: Path) -> None:
    """Copy ``stream`` to ``target``, which appears only once size and checksum are right."""
    digest = hashlib.sha256()
    done = 0
    with atomic_path(target) as temporary:
        with temporary.open("wb") as output:
            while block := stream.read(BLOCK):
                output.write(block)
                digest.update(block)
                done += len(block)
        if total is not None and done != total:
            raise DownloadError(f"ended after {done} of {total} bytes")
        if file.size is not None and done != file.size:
            raise DownloadError(f"gave {done} bytes, expected {file.size}")
        if file.sha256 is not None and digest.hexdigest() != file.sha256:
            raise DownloadError(f"gave sha256 {digest.hexdigest()}, expected {file.sha256}")
