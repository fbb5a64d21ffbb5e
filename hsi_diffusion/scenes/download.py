"""Downloading the published files: checked, and written whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.parse
import urllib.request
import zipfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

from hsi_diffusion.errors import DownloadError
from hsi_diffusion.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from hsi_diffusion.scenes.info import FileRole, SceneInfo, SourceFile

BLOCK: Final = 1 << 20

LARGEST: Final = 4 << 30
"""Bytes at which a download without a known size is given up."""

ATTEMPTS: Final = 10
"""How often a source is asked for the rest of a file, as long as something comes each time."""

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
    info: SceneInfo, folder: Path, *, roles: Collection[FileRole] | None = None
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


def download_file(info: SceneInfo, file: SourceFile, folder: Path) -> Path:
    """Bring one published file into ``folder``, from the first source that gives the right one.

    A file that comes in an archive is taken out of it; the archive is downloaded if it is not in
    ``folder``, and stays there. A file that is already there is checked and kept.

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
        # OSError holds urllib's URLError, timeouts and what _checked raises
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
    """Download ``file``; where the connection breaks off, it is taken up where it ended."""
    with _checked(file, target) as output:
        for attempt in range(ATTEMPTS):
            before = output.tell()
            try:
                _append(url, file, output)
                return
            except (OSError, http.client.HTTPException):
                got_nothing = output.tell() <= before
                if got_nothing or attempt == ATTEMPTS - 1 or output.tell() > _most(file):
                    raise


def _append(url: str, file: SourceFile, output: BinaryIO) -> None:
    """Download what of ``file`` is not in ``output`` yet."""
    _check_address(url)
    done = output.tell()
    # some servers turn away urllib's own name
    headers = {"User-Agent": "hsi-diffusion"} | ({"Range": f"bytes={done}-"} if done else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT) as response:
        there = response.headers.get("Content-Range", "")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or f"bytes {done}-" not in there:
            done = 0  # the server begins anew
        output.seek(done)
        output.truncate()
        length = response.headers.get("Content-Length")
        total = file.size if length is None else done + int(length)
        _copy(response, file, output)
    if total is not None and output.tell() != total:
        raise DownloadError(f"ended after {output.tell()} of {total} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to an address that may not be a source."""

    def redirect_request(self, *given: Any) -> urllib.request.Request | None:
        _check_address(given[-1])
        return super().redirect_request(*given)


def _check_address(url: str) -> None:
    """Raise a ValueError unless an address is https, or http on this machine."""
    address = urllib.parse.urlsplit(url)
    at_home = address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost")
    if address.scheme != "https" and not at_home:
        raise ValueError(f"a source must be an https address, got {url}")


def _extract(archive: Path, file: SourceFile, target: Path) -> None:
    """Take one member out of a zip archive; no name inside the archive decides where it goes."""
    with zipfile.ZipFile(archive) as content:
        try:
            member = content.getinfo(file.member or "")
        except KeyError:
            raise DownloadError(f"holds no {file.member}") from None
        with content.open(member) as stream, _checked(file, target) as output:
            _copy(stream, file, output)


def _most(file: SourceFile) -> int:
    return LARGEST if file.size is None else file.size


def _copy(stream: IO[bytes], file: SourceFile, output: BinaryIO) -> None:
    while block := stream.read(BLOCK):
        output.write(block)
        if output.tell() > _most(file):
            raise DownloadError(f"gave more than {_most(file)} bytes")


@contextmanager
def _checked(file: SourceFile, target: Path) -> Iterator[BinaryIO]:
    """A file to write to, which becomes ``target`` only if its size and checksum are right."""
    if file.sha256 is None:
        raise DownloadError("its checksum is not known, so nobody could tell whether it is right")
    with atomic_path(target) as temporary:
        with temporary.open("wb") as output:
            yield output
        size, found = temporary.stat().st_size, sha256_of(temporary)
        if file.size is not None and size != file.size:
            raise DownloadError(f"gave {size} bytes, expected {file.size}")
        if found != file.sha256:
            raise DownloadError(f"gave sha256 {found}, expected {file.sha256}")
