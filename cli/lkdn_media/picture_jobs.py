"""Which picture file becomes which: folders walked, names that never meet, nothing outside OUT."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.image_writers import WRITERS
from lkdn_media.images import READABLE

__all__ = ["Job", "file_identity", "plan_jobs", "write_whole"]


@dataclass(frozen=True, slots=True)
class Job:
    """A picture file and the one it becomes."""

    source: Path
    target: Path


def plan_jobs(
    sources: Sequence[Path],
    output: Path,
    *,
    format: str | None = None,
    recursive: bool = True,
    overwrite: bool = False,
) -> tuple[list[Job], int]:
    """What is to be done, in the order of the names, and the number of targets already there.

    A single file goes to ``output``, unless that is a folder. Otherwise ``output`` is a folder made
    when needed, and the tree of each folder in ``sources`` is kept under it. ``format`` is the
    ending of files put into a folder (the source's by default, ``png`` for one we can't write).
    Targets already there are left out unless ``overwrite``. Raises ``ArgumentError``.
    """
    into_folder = len(sources) > 1 or sources[0].is_dir() or output.is_dir()
    if not into_folder:
        return [_single(sources[0], output, format, overwrite=overwrite)], 0
    if output.exists() and not output.is_dir():
        raise ArgumentError(f"output: a folder is needed for several pictures, {output} is a file")
    for source in sources:
        if source.is_dir() and output.exists() and source.samefile(output):
            raise ArgumentError(f"output: {output} is the input folder")
    found = [pair for source in sources for pair in _walk(source, output, recursive=recursive)]
    if not found:
        raise LKDNError(f"no pictures ({', '.join(READABLE)}) in {', '.join(map(str, sources))}")
    jobs = [Job(source, output / name) for source, name in _named(found, format)]
    inputs = {file_identity(job.source): job.source for job in jobs if job.source.exists()}
    for job in jobs:
        _check_place(job, output, inputs)
    left = [job for job in jobs if overwrite or not job.target.exists()]
    return left, len(jobs) - len(left)


def file_identity(path: Path) -> tuple[int, int]:
    """What two names of one file have in common."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and give it the name at the end. Raises ``LKDNError``."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)  # it may be a link to somewhere else
        with part.open("xb") as file:
            file.write(data)
        os.replace(part, path)
    except FileExistsError as error:  # where a folder is to be made, as a rule
        raise LKDNError(f"{path}: can't be written: {error.filename} is in the way") from error
    except OSError as error:
        raise LKDNError(f"{path}: can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # the error before it says more
            part.unlink()


def _single(source: Path, output: Path, format: str | None, *, overwrite: bool) -> Job:
    if format is not None:
        raise ArgumentError("format: is for folders; the ending of OUT names the format of a file")
    if output.suffix.lower() not in WRITERS:
        endings = ", ".join(WRITERS)
        raise ArgumentError(f"output: a name ending in {endings} is accepted, got {output.name!r}")
    if source.exists() and output.exists() and source.samefile(output):
        raise ArgumentError(f"output: {output} would overwrite the input {source}")
    if output.exists() and not overwrite:
        raise ArgumentError(f"output: {output} is there already; -y overwrites it")
    return Job(source, output)


def _walk(source: Path, output: Path, *, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """(file, its name below the output folder). Links to folders are not followed.

    Names that begin with a dot are hidden: on disks of a Mac, each file has a ``._`` one beside it.
    """
    if not source.is_dir():
        yield source, Path(source.name)
        return
    done = output.resolve()
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        shown = [name for name in sorted(folders) if not name.startswith(".")]
        kept = [name for name in shown if (here / name).resolve() != done]
        folders[:] = kept if recursive else []
        for name in sorted(names):
            path = here / name
            if name.startswith("."):
                continue
            if path.suffix.lower() in READABLE and path.is_file():
                yield path, path.relative_to(source)


def _named(found: list[tuple[Path, Path]], format: str | None) -> list[tuple[Path, Path]]:
    """Each file with the ending of its new format; ``a.png`` and ``a.jpg`` don't both become ``a``.

    Where they would, all keep their whole name: ``a.png.webp``, ``a.jpg.webp``.
    """
    wanted = [(source, name, _ending(name, format)) for source, name in found]
    short: dict[str, set[Path]] = defaultdict(set)
    for source, name, ending in wanted:
        short[_folded(name.with_suffix(ending))].add(source)
    named = []
    taken: dict[str, Path] = {}
    for source, name, ending in wanted:
        new = name.with_suffix(ending)
        if len(short[_folded(new)]) > 1 and name.suffix.lower() != ending:
            new = name.with_name(name.name + ending)
        other = taken.setdefault(_folded(new), source)
        if other is source:
            named.append((source, new))
        elif other.resolve() != source.resolve():  # else it was named twice
            raise ArgumentError(f"output: {other} and {source} would both become {new}")
    return named


def _ending(name: Path, format: str | None) -> str:
    if format is not None:
        return f".{format}"
    return name.suffix if name.suffix.lower() in WRITERS else ".png"


def _folded(name: Path) -> str:
    """As file systems see it that take A and a for one."""
    return str(name).casefold()


def _check_place(job: Job, output: Path, inputs: Mapping[tuple[int, int], Path]) -> None:
    """Refuse what would be put out of the output folder by a link in it, or onto an input."""
    if not job.target.parent.resolve().is_relative_to(output.resolve()):
        raise ArgumentError(f"output: {job.target.parent} is a link that leads out of {output}")
    source = inputs.get(file_identity(job.target)) if job.target.exists() else None
    if source is not None:
        made = f"{job.target}, made from {job.source},"
        raise ArgumentError(f"output: {made} would overwrite the input {source}")
