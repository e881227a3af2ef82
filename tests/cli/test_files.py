"""Files appear whole or not at all."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from PIL import Image

from lkdn_cli import image, video
from lkdn_core.errors import LKDNError
from lkdn_media.files import check_place, followed, part_file, part_of, write_whole
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command
from tests.cli.test_bad_input import environment


def through_part_file(path: Path) -> None:
    with part_file(path, overwrite=True) as part:
        part.write_bytes(b"new")


WAYS: Final = {
    "part_file": through_part_file,
    "write_whole": lambda path: write_whole(path, b"new", overwrite=True),
}


@pytest.mark.posix
@pytest.mark.parametrize("way", WAYS)
def test_the_name_comes_when_all_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    target, other = tmp_path / "a", tmp_path / "b"
    target.write_bytes(b"old")
    other.write_bytes(b"mine")
    part_of(target).symlink_to(other)
    fsync, on_disk = os.fsync, []

    def synced(descriptor: int) -> None:
        assert target.read_bytes() == b"old"
        on_disk.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    WAYS[way](target)
    assert on_disk == [target.stat().st_ino]
    assert target.read_bytes() == b"new"
    assert other.read_bytes() == b"mine"
    assert target.stat().st_mode & 0o7777 == other.stat().st_mode & 0o7777
    assert sorted(tmp_path.iterdir()) == [target, part_of(target), other]


@pytest.mark.parametrize("way", ["part_file", "write_whole"])
def test_a_file_of_somebodys_own_stays(tmp_path: Path, way: str) -> None:
    target = tmp_path / "a.png"
    part_of(target).write_bytes(b"a download that goes on")
    for _ in range(2):
        WAYS[way](target)
        assert target.read_bytes() == b"new"
        assert part_of(target).read_bytes() == b"a download that goes on"
        assert sorted(tmp_path.iterdir()) == [target, part_of(target)]


@pytest.mark.posix
def test_what_a_killed_run_left_makes_way(tmp_path: Path) -> None:
    target = tmp_path / "a.mkv"
    code = "import os, sys; from lkdn_media.files import part_file; from pathlib import Path\n"
    code += "with part_file(Path('a.mkv'), overwrite=False) as part:\n"
    code += "    part.write_bytes(b'half'); os._exit(9)"
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), check=False
    )
    assert killed.returncode == 9 and part_of(target).read_bytes() == b"half"
    through_part_file(target)
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"new"


def test_a_name_that_just_fits(tmp_path: Path) -> None:
    target = tmp_path / ("ä" * 127)
    write_whole(target, b"new", overwrite=False)
    assert list(tmp_path.iterdir()) == [target]
    through_part_file(target)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.posix
def test_two_runs_do_not_share_a_file(tmp_path: Path) -> None:
    target = tmp_path / "a.mkv"
    with part_file(target, overwrite=True) as first:
        first.write_bytes(b"first")
        with part_file(target, overwrite=False) as second:
            assert second != first == part_of(target)
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("links", [True, False])
def test_what_came_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:  # as on the file systems of memory cards
        monkeypatch.setattr(os, "link", no_link)
    target = tmp_path / "a.mkv"
    taken = pytest.raises(LKDNError, match=r"a\.mkv: is there by now; -y overwrites it")
    with taken, part_file(target, overwrite=False) as part:
        part.write_bytes(b"new")
        target.write_bytes(b"mine")
    assert target.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [target]
    target.unlink()
    with part_file(target, overwrite=False) as part:
        part.write_bytes(b"new")
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.posix
@pytest.mark.parametrize("way", ["part_file", "write_whole"])
def test_permissions_stay(tmp_path: Path, way: str) -> None:
    target = tmp_path / "a.mkv"
    target.write_bytes(b"old")
    for mode in (0o600, 0o664, 0o444):
        target.chmod(mode)
        WAYS[way](target)
        assert target.read_bytes() == b"new"
        assert target.stat().st_mode & 0o7777 == mode


@pytest.mark.posix
def test_links_are_followed(tmp_path: Path) -> None:
    real, first, second, loop = (tmp_path / name for name in ("real", "first", "second", "loop"))
    second.symlink_to(first)
    first.symlink_to("real")
    loop.symlink_to("loop")
    assert followed(second) == followed(real) == real  # there or not
    with pytest.raises(LKDNError, match="loop: can't be written: Too many levels of symbolic"):
        followed(loop)


@pytest.mark.posix
def test_where_no_file_can_be(tmp_path: Path) -> None:
    check_place("plot", tmp_path / "a" / "b" / "c.png")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    for name, why in (
        ("fifo", "it is there already, and no file"),
        ("file/a/b.png", "Not a directory"),
        ("", "Is a directory"),
        ("loop/a.png", "Too many levels of symbolic links"),
        ("n" * 300, "File name too long"),
    ):
        path = tmp_path / name
        with pytest.raises(LKDNError, match=f"^plot: {path} can't be written: {why}$"):
            check_place("plot", path)


@pytest.mark.posix
@pytest.mark.parametrize("command", [video.main, image.main])
def test_a_pipe_with_a_name_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: Callable[[list[str]], int]
) -> None:
    """Who waits at it for a file would wait for ever."""
    if command is image.main:
        here, there = tmp_path / "a.png", tmp_path / "b.png"
        Image.new("L", (8, 8)).save(here)
    else:
        here, there = make_clip(tmp_path / "a.mkv", Clip()), tmp_path / "b.mkv"
    os.mkfifo(there)
    assert command([str(here), str(there), "-y"]) == 2
    assert f"output: {there} is there already, and no file\n" in capsys.readouterr().err
    assert there.is_fifo()


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    message = f"^{re.escape(str(target))}: can't be written: No space left on device$"
    with pytest.raises(LKDNError, match=message), part_file(target, overwrite=True) as part:
        part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(LKDNError) as raised:
        write_whole(tmp_path / "a" / "b", b"new", overwrite=False)
    way, target = tmp_path / "a", tmp_path / "a" / "b"
    assert str(raised.value) == f"{target}: can't be written: {way} is in the way"


def test_no_room_for_numbered_pictures(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here, there = make_clip(tmp_path / "a.mkv", Clip(pts=(0, 1))), tmp_path / "out" / "%d.png"

    def full(_: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert lkdn_video(here, there, "-q") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == f"lkdn-video: {there}: can't be written: No space left on device"
    assert not (tmp_path / "out").exists()
