"""The folder in which a long job keeps what is done, until its file is whole."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Self

import av
from filelock import FileLock, Timeout

from lkdn_core import __version__
from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.damage import Damage
from lkdn_media.files import LONGEST_NAME
from lkdn_media.plan import Plan
from lkdn_media.records import read_record, write_record
from lkdn_media.segments import Segment, is_whole

__all__ = ["Job", "Parts", "identity", "is_begun", "was_finished"]

log = logging.getLogger(__name__)
#: How much is hashed at each end of the source.
_END: Final = 2**20
_LOCK: Final = "lock"
_HEAD: Final = "job.json"
_RECORD: Final = "{:05}.json"
_RECORDS: Final = "[0-9]*.json"
_PACKETS: Final = "{:05}.packets"
_END_OF_SOURCE: Final = "end.json"
_SEAL: Final = "done.json"
#: What may be removed, in this order: a kill in between must not leave something else.
_OURS: Final = (_END_OF_SOURCE, _RECORDS, "[0-9]*.packets", "*.json.*.part", _HEAD, _SEAL)


def identity(plan: Plan, *, segment: int, engine: Mapping[str, object]) -> dict[str, Any]:
    """What has to stay the same for a job to go on: the source, the settings, our versions.

    ``engine``: the settings of the network. ``segment``: pictures in a segment.
    """
    settings = asdict(plan)
    probed = settings.pop("source")
    del settings["warnings"], probed["path"]
    content = {
        "source": _source(plan.source.path),
        "settings": settings | dict(engine) | {"segment": segment},
        "probed": probed,
        "versions": {"lkdn": __version__, "av": av.__version__},
    }
    loaded: dict[str, Any] = json.loads(json.dumps(content, default=str))
    return loaded


def is_begun(target: Path) -> bool:
    """Whether there is a job that was broken off on the way to ``target``."""
    return (_folder(target) / _HEAD).exists()


def was_finished(source: Path, target: Path) -> bool:
    """Whether a job on ``source`` gave ``target`` its name, but did not get to removing its folder.

    Removes it then.
    """
    folder = _folder(target)
    seal = read_record(folder / _SEAL)
    if seal is None or not (source.is_file() and target.exists()):
        return False
    if seal != {"result": _state(target), "source": _source(source)}:
        return False
    _clear(folder)
    _remove(folder)
    return True


class Job:
    """The state of a job in a folder beside ``target``, which no other process may use meanwhile.

    A context manager. Raises ``ArgumentError`` where the folder holds a job that differs from
    ``identity``, unless ``restart`` throws that job away.
    """

    def __init__(self, target: Path, identity: dict[str, Any], *, restart: bool) -> None:
        self.target = target
        self.folder = _folder(target)
        self._source = identity["source"]
        self.segments = 0
        self.frames = 0
        #: The record of the last segment, if there is one.
        self.last: Segment | None = None
        try:
            self.folder.mkdir(exist_ok=True)
            self._lock = FileLock(self.folder / _LOCK)
            self._lock.acquire(timeout=0)
            try:
                self._open(identity, restart=restart)
            except BaseException:
                self._lock.release()
                raise
        except Timeout:
            raise LKDNError(f"{target}: another process is writing it") from None
        except FileExistsError as error:
            raise LKDNError(f"{target}: can't be written: {self.folder} is in the way") from error
        except OSError as error:
            _remove(self.folder)
            raise LKDNError(f"{target}: can't be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            if not self.segments:  # nothing to go on from
                _clear(self.folder)
            self._lock.release()
            if not self.segments:
                _remove(self.folder)

    @property
    def end(self) -> Damage | None:
        """What was wrong with the source, once all of it is in segments."""
        end = read_record(self.folder / _END_OF_SOURCE)
        if end is None or end["segments"] != self.segments:
            return None
        return Damage(**end["damage"])

    @end.setter
    def end(self, damage: Damage) -> None:
        end = {"segments": self.segments, "damage": asdict(damage)}
        write_record(self.folder / _END_OF_SOURCE, end)

    def packets(self) -> Path:
        """Where the packets of the next segment go."""
        return self.folder / _PACKETS.format(self.segments)

    def add(self, segment: Segment) -> None:
        """Keep the segment whose packets are in `packets`."""
        write_record(self.folder / _RECORD.format(self.segments), asdict(segment))
        self._count(segment)

    def parts(self) -> "Parts":
        """All segments: records, and files of packets."""
        return Parts(self.folder, self.segments)

    def check_source(self, path: Path) -> None:
        """Raise ``LKDNError`` where the file at ``path`` is not the one that the job began with."""
        try:
            same = _source(path) == self._source
        except OSError as error:
            raise LKDNError(f"{path}: {error.strerror}") from error
        if not same:
            raise LKDNError(f"{path}: was changed during the work; --restart starts over")

    def seal(self, path: Path) -> None:
        """Note that ``path`` is the whole result, about to get its name."""
        seal = {"result": _state(path), "source": self._source}
        write_record(self.folder / _SEAL, seal)

    def clear(self) -> None:
        """Forget all segments: the result has its name."""
        _clear(self.folder)
        self.segments = self.frames = 0

    def _open(self, identity: dict[str, Any], *, restart: bool) -> None:
        head = self.folder / _HEAD
        begun = None if restart else read_record(head)
        if begun is None:
            if head.exists() and not restart:
                log.warning("warning: %s: is damaged, and its job begun anew", head)
            _clear(self.folder)
            write_record(head, identity)
        elif begun != identity:
            what = "; ".join(_differences(begun, identity))
            raise ArgumentError(
                f"output: {self.folder} holds the beginning of another job ({what}); "
                "--restart throws it away"
            )
        for segment, path in Parts(self.folder):
            if not is_whole(segment, path):
                log.warning("warning: %s: is damaged, and made anew from there on", path)
                break
            self._count(segment)
        for path in self.folder.glob(_RECORDS):  # behind a gap
            if int(path.stem) >= self.segments:
                path.unlink()

    def _count(self, segment: Segment) -> None:
        self.segments += 1
        self.frames += segment.frames
        self.last = segment


class Parts:
    """The segments in a folder, read one by one. ``count``: how many; ``None``: up to a gap."""

    def __init__(self, folder: Path, count: int | None = None) -> None:
        self._folder, self._count = folder, count

    def __iter__(self) -> Iterator[tuple[Segment, Path]]:
        number = 0
        while self._count is None or number < self._count:
            record = self._folder / _RECORD.format(number)
            try:
                segment = Segment.load(record)
            except ValueError:
                if self._count is None:
                    return
                raise LKDNError(f"{record}: is gone or damaged; --restart starts over") from None
            yield segment, self._folder / _PACKETS.format(number)
            number += 1


def _folder(target: Path) -> Path:
    name = os.fsencode(target.name)
    if len(name) > LONGEST_NAME:  # there would be no room for the ending
        name = name[:LONGEST_NAME] + b"." + hashlib.sha256(name).hexdigest()[:8].encode()
    return target.parent / f"{os.fsdecode(name)}.lkdn"


def _state(path: Path) -> dict[str, Any]:
    state = path.stat()
    return {"size": state.st_size, "time": state.st_mtime_ns}


def _source(path: Path) -> dict[str, Any]:
    state = _state(path)
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_END))
        file.seek(max(0, state["size"] - _END))
        digest.update(file.read())
    return state | {"ends": digest.hexdigest()}


def _clear(folder: Path) -> None:
    for pattern in _OURS:
        for path in folder.glob(pattern):
            path.unlink()


def _remove(folder: Path) -> None:
    """Remove the folder, unless somebody put files of their own there."""
    with suppress(OSError):
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()


def _differences(begun: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """What is not as it was, in words."""
    groups = ["settings", "probed", "versions"]
    if begun.get("source") != now["source"]:
        yield "the source has changed"
        groups.remove("probed")
    for group in groups:
        old, new = begun.get(group, {}), now[group]
        for name in sorted(old | new):
            a, b = old.get(name), new.get(name)
            if a != b:
                short = _is_flat(a) and _is_flat(b)
                yield f"{name}: {_text(a)} then, {_text(b)} now" if short else f"other {name}"


def _is_flat(value: object) -> bool:
    values = value.values() if isinstance(value, dict) else [value]
    return not any(isinstance(v, dict | list) for v in values)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" for k, v in value.items()) or "nothing"
    return str(value)
