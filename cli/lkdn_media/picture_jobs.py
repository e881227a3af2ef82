"""Which picture file becomes which: names that never meet, nothing outside OUT."""

# ``os.path`` asks about files here: methods of ``Path`` raise where a name is too long.
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.encoders import CONTAINERS
from lkdn_media.files import check_free, check_there
from lkdn_media.folders import new_files, walk
from lkdn_media.image_writers import WRITERS
from lkdn_media.images import READABLE

__all__ = ["PictureJob", "Planned", "plan_jobs"]

#: Endings of pictures that we don't read, which is said of those in folders.
_UNREAD: Final = frozenset(
    {
        *(".apng", ".avif", ".avifs", ".bpg", ".cur", ".dds", ".dpx", ".exr", ".hdr", ".heic"),
        *(".heif", ".hif", ".icns", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpf", ".jpx"),
        *(".jxl", ".jxr", ".pam", ".pbm", ".pcx", ".pfm", ".pgm", ".pnm", ".ppm", ".psb", ".psd"),
        *(".qoi", ".ras", ".sgi", ".svg", ".tga", ".xcf", ".xpm"),
        # Raw ones of cameras.
        *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"),
    }
).difference(READABLE)


@dataclass(frozen=True, slots=True)
class PictureJob:
    """A picture file and the one it becomes, in place of one that is there with ``overwrite``."""

    source: Path
    target: Path
    overwrite: bool


class Planned(NamedTuple):
    """What is to be done, in the order of the names.

    ``there``: how many targets are there already. ``unreadable``: folders passed over, an error for
    each. ``others``: pictures in folders that are in no format we read.
    """

    jobs: list[PictureJob]
    there: int
    unreadable: list[LKDNError]
    others: list[Path]


def plan_jobs(
    sources: Sequence[Path],
    output: Path,
    *,
    into_folder: bool = False,
    format: str | None = None,
    recursive: bool = True,
    overwrite: bool = False,
) -> Planned:
    """Find the pictures in ``sources``, and where each goes.

    A single file goes to ``output``, unless that is a folder, or shall be one (``into_folder``).
    Otherwise it is a folder made when needed, and the tree of each folder in ``sources`` is kept
    under it. ``format`` is the ending of files put into a folder (the source's by default, ``png``
    for one we can't write). Targets already there are left out unless ``overwrite``. Raises
    ``ArgumentError``, and ``LKDNError`` where there is no picture.
    """
    if format is not None and f".{format}" not in WRITERS:
        known = ", ".join(ending[1:] for ending in WRITERS)
        raise ArgumentError(f"format: {known} are accepted with this Pillow, got {format}")
    many = len(sources) > 1 or os.path.isdir(sources[0])
    if not (many or into_folder or os.path.isdir(output)):
        return Planned([_single(sources[0], output, format, overwrite=overwrite)], 0, [], [])
    if os.path.exists(output) and not os.path.isdir(output):
        why = "for several pictures" if many else "where a name ends in a slash"
        raise ArgumentError(f"output: a folder is needed {why}, {output} is a file")
    if not into_folder and output.suffix.lower() in WRITERS and not os.path.isdir(output):
        raise ArgumentError(f"output: {output} is a name of a file; a folder is {output}/")
    for source in sources:
        if os.path.isdir(source) and os.path.exists(output) and source.samefile(output):
            raise ArgumentError(f"output: {output} is the input folder")
    unreadable, found, others = list[LKDNError](), list[tuple[Path, Path]](), set[Path]()
    endings = _UNREAD.union(READABLE)
    for source in sources:
        for path, name in walk(
            source, endings, without=output, unreadable=unreadable.append, recursive=recursive
        ):
            if path == source or path.suffix.lower() in READABLE:
                found.append((path, name))
            else:
                others.add(path)
    if not found and not unreadable:
        raise LKDNError(f"no pictures ({', '.join(READABLE)}) in {', '.join(map(str, sources))}")
    named = new_files(found, lambda name: _ending(name, format), output)
    jobs = [PictureJob(source, target, overwrite) for source, target in named]
    left = [job for job in jobs if overwrite or not os.path.exists(job.target)]
    return Planned(left, len(jobs) - len(left), unreadable, sorted(others))


def _single(source: Path, output: Path, format: str | None, *, overwrite: bool) -> PictureJob:
    if format is not None:
        raise ArgumentError("format: is for folders; the ending of OUT names the format of a file")
    if source.suffix.lower() in CONTAINERS and source.suffix.lower() not in READABLE:
        raise ArgumentError(f"input: {source.name} has the name of a video; lkdn-video enlarges it")
    check_there(source)
    if output.suffix.lower() not in WRITERS:
        endings = ", ".join(WRITERS)
        instead = "; lkdn-video enlarges videos" if output.suffix.lower() in CONTAINERS else ""
        raise ArgumentError(
            f"output: a name ending in {endings} is accepted, got {output.name!r}{instead}"
        )
    if os.path.exists(source) and os.path.exists(output) and source.samefile(output):
        raise ArgumentError(f"output: {output} would overwrite the input {source}")
    check_free(output, overwrite=overwrite)
    return PictureJob(source, output, overwrite)


def _ending(name: Path, format: str | None) -> str:
    if format is not None:
        return f".{format}"
    return name.suffix if name.suffix.lower() in WRITERS else ".png"
