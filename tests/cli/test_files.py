"""Files appear whole or not at all."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lkdn_core.errors import LKDNError
from lkdn_media.files import part_file, part_of, write_json, write_whole
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command


def through_part_file(path: Path) -> None:
    with part_file(path) as part:
        part.write_bytes(b"new")


@pytest.mark.parametrize(
    "write",
    [through_part_file, lambda path: write_whole(path, b"new"), lambda path: write_json(path, [1])],
    ids=["part_file", "write_whole", "write_json"],
)
def test_the_name_comes_when_all_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
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
    write(target)
    assert on_disk == [target.stat().st_ino]
    assert target.read_bytes() in (b"new", b"[1]")
    assert other.read_bytes() == b"mine"
    assert sorted(tmp_path.iterdir()) == [target, other]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(b"old")
    message = f"^{target}: can't be written: No space left on device$"
    with pytest.raises(LKDNError, match=message), part_file(target) as part:
        part.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(LKDNError, match=r"a/b: can't be written: .*/a is in the way$"):
        write_whole(tmp_path / "a" / "b", b"new")


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
    assert list((tmp_path / "out").iterdir()) == []
