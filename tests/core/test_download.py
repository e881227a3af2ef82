import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NoReturn

import pytest
from official import OFFICIAL, official_file

from lkdn_core import download, models
from lkdn_core.download import cached_download, find_cached
from lkdn_core.errors import DownloadError

CONTENT = bytes(range(256)) * 700


class Server(ThreadingHTTPServer):
    """Serves ``files`` on the loopback address and counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/file.pth": CONTENT, "/short.pth": CONTENT[:1000]}
        self.requests = 0
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        del format, args  # pytest's output stays readable


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("LKDN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LKDN_OFFLINE", raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, name: str = "file.pth", content: bytes = CONTENT) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    return cached_download(server.url + name, sha256=sha256, size=len(content))


def left_behind(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "cache").glob("*") if p.is_file()]


def test_downloads_once_and_then_reads_the_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = get(server)
    assert file.read_bytes() == CONTENT
    monkeypatch.setenv("LKDN_OFFLINE", "1")
    assert get(server) == file
    assert server.requests == 1


def test_a_damaged_cache_is_downloaded_again(server: Server) -> None:
    get(server).write_bytes(b"damaged")
    assert get(server).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("file.pth", CONTENT[::-1], "SHA-256 is wrong"),
        ("file.pth", CONTENT[:-1], "SHA-256 is wrong|could not"),
        ("short.pth", CONTENT, "ended .* bytes early"),
        ("nothing.pth", CONTENT, "could not be downloaded: .*Not Found"),
    ],
)
def test_what_is_not_the_published_file_leaves_nothing(
    server: Server, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    if content == CONTENT[:-1]:  # a server that sends more than the published size
        content = CONTENT[:-1] + b"!"
    with pytest.raises(DownloadError, match=message):
        get(server, name, content)
    assert left_behind(tmp_path) == []


def test_offline_says_what_to_do(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LKDN_OFFLINE", "1")
    with pytest.raises(
        DownloadError, match=r"LKDN_OFFLINE is set.*name it as the weights .--weights"
    ):
        get(server)
    assert server.requests == 0


def test_no_server_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LKDN_CACHE", str(tmp_path))
    with pytest.raises(DownloadError, match="could not be downloaded"):
        cached_download("http://127.0.0.1:9/file.pth", sha256="0" * 64, size=1)


@pytest.mark.posix
def test_others_may_read_what_was_downloaded(server: Server) -> None:
    before = os.umask(0o022)
    try:
        assert get(server).stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_cache_of_someone_else_is_no_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(file: Path) -> str:
        raise PermissionError(13, "Permission denied", str(file))

    file = get(server)
    monkeypatch.setattr(download, "_sha256", forbid)
    assert find_cached(server.url + "file.pth", sha256="0" * 64) is None
    with pytest.raises(DownloadError, match=r"could not be downloaded: .*Permission denied"):
        get(server)
    assert left_behind(tmp_path) == [file]


@pytest.mark.posix
@pytest.mark.parametrize("home", [None, ""])
def test_without_a_home_the_variable_to_set_is_named(
    server: Server, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    def unknown(uid: int) -> NoReturn:
        raise KeyError(uid)

    for name in ("LKDN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert not models.list_models()[-1].at_hand()
    with pytest.raises(DownloadError, match=r"no home directory .*: set LKDN_CACHE"):
        get(server)
    assert server.requests == 0


def test_official_names_download_the_authors_files(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {f"{m.name}-x{m.scale}": m for m in models.list_models() if not m.bundled}
    assert sorted(m.file for m in names.values()) == sorted(OFFICIAL)
    server.files = {f"/{m.file}": official_file(m.file).read_bytes() for m in names.values()}
    monkeypatch.setattr(models, "OFFICIAL_URL", server.url)
    for model in names.values():
        _, config = models.load_model(model.name, model.scale)
        assert config == OFFICIAL[model.file]
    assert server.requests == len(OFFICIAL)


def test_official_url_is_pinned() -> None:
    assert "54df78a491142c2503d9738192b767ceced4d1a1" in models.OFFICIAL_URL
    assert models.OFFICIAL_URL.startswith("https://")


def test_a_cache_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DownloadError, match=r"cache is a file, and no folder to keep downloads in"):
        cached_download(server.url + "file.pth", sha256="0" * 64, size=len(CONTENT))
    assert server.requests == 0
