"""Pictures decoded once into one memory-mapped file, alone or with small pictures made for them."""

import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from lkdn_core.errors import ArgumentError

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Packer", "Picture", "pack", "read_pictures"]

#: An 8-bit RGB picture, (3, H, W) uint8.
Picture = NDArray[np.uint8]


class Packer:
    """Writes the pack ``target``: ``target``.bin with all samples, ``target``.json with the index.

    A context: the index is written when it ends without an exception, so it exists only for a
    whole pack. Raises ``ArgumentError`` if nothing was added.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._index: list[dict[str, Any]] = []
        target.parent.mkdir(parents=True, exist_ok=True)
        self._binary = target.with_suffix(".bin").open("wb")

    def add(self, picture: Picture, small: Sequence[Picture] = ()) -> None:
        """Add a picture, alone or with versions of it that are smaller by one whole factor.

        A pack holds pictures of one of the two kinds.
        """
        _, height, width = picture.shape
        entry: dict[str, Any] = {"at": self._binary.tell(), "shape": [height, width]}
        entry["sharpness"] = _sharpness(picture)
        if small:
            entry["scale"], entry["small"] = height // small[0].shape[1], len(small)
        self._index.append(entry)
        for samples in (picture, *small):
            self._binary.write(samples.tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: "TracebackType | None"
    ) -> None:
        self._binary.close()
        if kind is None:
            if not self._index:
                raise ArgumentError("data: there is no picture to pack")
            part = self._target.with_suffix(".json.part")
            part.write_text(json.dumps(self._index))
            os.replace(part, self._target.with_suffix(".json"))


def pack(sources: Sequence[Path], target: Path, *, exclude: str = "") -> None:
    """Pack the pictures of folders and ``.tar`` files; ``exclude`` is a glob on file names."""
    with Packer(target) as packer:
        for picture in read_pictures(sources, exclude=exclude):
            packer.add(picture)


def read_pictures(sources: Sequence[Path], *, exclude: str = "") -> Iterator[Picture]:
    """The pictures in folders and ``.tar`` files, in order of names; other files are passed over.

    Raises ``ArgumentError`` for a source of another kind, or if no picture can be read.
    """
    from PIL import Image, UnidentifiedImageError  # packing needs it, training does not

    found = False
    for name, data in _files(sources):
        if exclude and fnmatch(name, exclude):
            continue
        try:
            picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        except UnidentifiedImageError:
            continue
        found = True
        yield np.ascontiguousarray(picture.transpose(2, 0, 1))
    if not found:
        raise ArgumentError(f"data: no readable image in {', '.join(map(str, sources))}")


def _files(sources: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    for source in sources:
        if source.suffix == ".tar" and source.is_file():
            with tarfile.open(source) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    if file is not None:
                        yield member.name, file.read()
        elif source.is_dir():
            for path in sorted(p for p in source.rglob("*") if p.is_file()):
                yield path.name, path.read_bytes()
        else:
            raise ArgumentError(f"data: folders and .tar files are accepted, got {source}")


def _sharpness(picture: Picture) -> float:
    """Root mean square of neighbouring differences of the green channel, in 8-bit codes."""
    green = picture[1].astype(np.float32)
    rows, columns = np.diff(green, axis=0), np.diff(green, axis=1)
    return float(np.sqrt((rows**2).mean() + (columns**2).mean()))
