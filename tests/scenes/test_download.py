from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from hsi_diffusion.errors import DownloadError
from hsi_diffusion.scenes import SceneInfo, SourceFile, download_scene
from hsi_diffusion.scenes.download import download_file, is_official, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 9000
"""A little more than two blocks of the downloader."""

INFO = SceneInfo(
    name="toy",
    title="Toy",
    height=3,
    width=4,
    bands=5,
    wavelengths=None,
    class_names=(),
    class_ids=(),
    palette=(),
    rgb_bands=(4, 2, 0),
    licence="no redistribution",
    homepage="https://example.org/toy",
)


class Server:
    """A web server on this machine that knows a few answers and counts the questions."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes, int | None]] = {}
        self.asked: list[str] = []
        self.breaks = 0
        """How many answers break off after half of what they should give."""
        self.ranges = True
        self.given: list[int] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                status, body, length = server.answers.get(self.path, (404, b"", 0))
                start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if start and server.ranges:
                    status, body = 206, body[int(start[1]) :]
                    length = len(body)
                self.send_response(status)
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start[1]}-/*")  # type: ignore[index]
                if status == 302:
                    self.send_header("Location", body.decode())
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                if server.breaks:
                    server.breaks -= 1
                    body = body[: len(body) // 2]
                server.given.append(len(body))
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keep the tests' output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def give(self, path: str, body: bytes, *, status: int = 200, length: int | None = None) -> str:
        self.answers[path] = (status, body, len(body) if length is None else length)
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    def close(self) -> None:
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    yield server
    server.close()


def a_file(*urls: str, name: str = "cube.mat", content: bytes = CONTENT) -> SourceFile:
    sha256 = hashlib.sha256(content).hexdigest()
    return SourceFile(name=name, urls=urls, sha256=sha256, size=len(content), role="cube")


def test_file_arrives_whole(server: Server, tmp_path: Path) -> None:
    file = a_file(server.give("/cube.mat", CONTENT))
    path = download_file(INFO, file, tmp_path / "new")
    assert path == tmp_path / "new" / "cube.mat"
    assert path.read_bytes() == CONTENT
    assert sha256_of(path) == file.sha256


def test_wrong_sources_are_passed_over(server: Server, tmp_path: Path) -> None:
    wrong = bytes(len(CONTENT))
    file = a_file(
        server.give("/wrong", wrong),
        server.give("/page", b"<html>down for maintenance</html>"),
        server.url("/not-there"),
        server.give("/broken", b"", status=500),
        server.give("/truncated", CONTENT[:1000], length=len(CONTENT)),
        "http://127.0.0.1:1/nobody-listens",
        server.give("/good", CONTENT),
        server.give("/spare", CONTENT),
    )
    path = download_file(INFO, file, tmp_path)
    assert path.read_bytes() == CONTENT
    asked = ["/wrong", "/page", "/not-there", "/broken", "/truncated", "/truncated", "/good"]
    assert server.asked == asked
    assert list(tmp_path.iterdir()) == [path]


def test_failure_of_all_sources_says_why_and_what_to_do(server: Server, tmp_path: Path) -> None:
    file = a_file(
        server.give("/wrong", bytes(len(CONTENT))),
        server.give("/short", CONTENT[:-1]),
        server.give("/truncated", CONTENT[:1000], length=len(CONTENT)),
        server.url("/not-there"),
        "ftp://127.0.0.1/cube.mat",
        "http://example.org/cube.mat",
        server.give("/moved", b"ftp://127.0.0.1/", status=302),
        server.give("/endless", CONTENT * 9),
    )
    with pytest.raises(DownloadError) as caught:
        download_file(INFO, file, tmp_path)
    message = str(caught.value)
    assert message.startswith("can't get cube.mat of scene 'toy':")
    for part in (
        f"/wrong: gave sha256 {hashlib.sha256(bytes(len(CONTENT))).hexdigest()}, expected",
        f"/short: gave {len(CONTENT) - 1} bytes, expected {len(CONTENT)}",
        "/truncated: ",
        "/not-there: HTTP Error 404",
        "ftp://127.0.0.1/cube.mat: a source must be an https address",
        "http://example.org/cube.mat: a source must be an https address",
        "/moved: a source must be an https address, got ftp://127.0.0.1/",
        f"/endless: gave more than {len(CONTENT)} bytes",
        "Get it by hand, for example from https://example.org/toy",
        f"put it into {tmp_path}",
        "Terms: no redistribution",
    ):
        assert part in message
    assert not list(tmp_path.iterdir())


def test_nothing_is_downloaded_without_a_checksum(server: Server, tmp_path: Path) -> None:
    file = replace(a_file(server.give("/cube.mat", CONTENT)), sha256=None)
    with pytest.raises(DownloadError, match="its checksum is not known"):
        download_file(INFO, file, tmp_path)
    assert not server.asked
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_broken_connection_is_taken_up(
    server: Server, tmp_path: Path, ranges: bool, size: int | None
) -> None:
    server.breaks, server.ranges = 3 if ranges else 1, ranges
    file = replace(a_file(server.give("/cube.mat", CONTENT)), size=size)
    assert download_file(INFO, file, tmp_path).read_bytes() == CONTENT
    assert (sum(server.given) == len(CONTENT)) == ranges, "what had come is not asked for again"
    assert [path.name for path in tmp_path.iterdir()] == ["cube.mat"]


def test_source_that_always_breaks_is_given_up(server: Server, tmp_path: Path) -> None:
    server.breaks = 99
    with pytest.raises(DownloadError, match=f"ended after .* of {len(CONTENT)} bytes"):
        download_file(INFO, a_file(server.give("/cube.mat", CONTENT)), tmp_path)
    assert len(server.asked) == 10
    assert not list(tmp_path.iterdir())


def test_file_without_a_source(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no source is known"):
        download_file(INFO, a_file(), tmp_path)


def test_right_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    file = a_file(server.give("/cube.mat", CONTENT))
    (tmp_path / "cube.mat").write_bytes(CONTENT)
    assert is_official(download_file(INFO, file, tmp_path), file)
    assert server.asked == []


def test_another_file_of_that_name_is_not_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cube.mat").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"not the published file.*is not replaced; move it"):
        download_file(INFO, a_file(server.give("/cube.mat", CONTENT)), tmp_path)
    assert (tmp_path / "cube.mat").read_bytes() == b"mine"


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def archived_scene(url: str, archive: bytes, member: str = "inner/cube.mat") -> SceneInfo:
    whole = replace(a_file(url, name="all.zip", content=archive), role="archive")
    cube = replace(a_file(), archive="all.zip", member=member)
    return replace(INFO, files=(whole, cube))


def test_member_of_an_archive(server: Server, tmp_path: Path) -> None:
    archive = zipped({"../evil.txt": b"out", "inner/cube.mat": CONTENT, "inner/other": b"-"})
    download_scene(archived_scene(server.give("/all.zip", archive), archive), tmp_path / "toy")
    assert (tmp_path / "toy" / "cube.mat").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["all.zip", "cube.mat", "toy"]


def test_archive_fetched_by_hand_is_used(tmp_path: Path) -> None:
    archive = zipped({"inner/cube.mat": CONTENT})
    (tmp_path / "all.zip").write_bytes(archive)
    download_scene(archived_scene("http://127.0.0.1:1/all.zip", archive), tmp_path)
    assert (tmp_path / "cube.mat").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (zipped({"other": CONTENT}), "holds no inner/cube.mat"),
        (zipped({"inner/cube.mat": CONTENT[:-1]}), f"gave {len(CONTENT) - 1} bytes"),
        (zipped({"inner/cube.mat": bytes(len(CONTENT))}), "gave sha256"),
        (b"no archive at all", "not a zip file"),
    ],
)
def test_bad_archives(tmp_path: Path, archive: bytes, reason: str) -> None:
    (tmp_path / "all.zip").write_bytes(archive)
    with pytest.raises(DownloadError, match=f"can't get cube.mat of scene 'toy':\n.*{reason}"):
        download_scene(archived_scene("", archive), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["all.zip"]


def test_one_file_of_each_role_is_enough(server: Server, tmp_path: Path) -> None:
    url = server.give("/any", CONTENT)
    text, image = (replace(a_file(url, name=name), role="labels") for name in ("a.txt", "a.tif"))
    info = replace(INFO, files=(a_file(url), text, image))
    tmp_path.joinpath("a.tif").write_bytes(b"already there")
    download_scene(info, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "cube.mat"]
    download_scene(info, tmp_path / "new", roles=["labels"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]
