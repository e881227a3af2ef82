"""Pictures decoded once into one memory-mapped file, alone or with small pictures made for them."""

import json
import os
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from lkdn_core.errors import ArgumentError, FormatError
from lkdn_core.files import naming, replacing
from lkdn_core.quantize import quantize

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Packer", "Picture", "pack", "pack_files", "pack_mark", "packing", "read_pictures"]

#: An 8-bit RGB picture, (3, H, W) uint8.
Picture = NDArray[np.uint8]
#: What Pillow may try on a file from anywhere: some of its formats start other programs.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")
#: Files so named that hold none of these are damaged; others are passed over.
_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".gif")
#: Pillow's modes of 16-bit gray; it makes white of them where it converts to RGB.
_GRAY16: Final = ("I;16", "I;16L", "I;16B", "I;16N")


def pack_files(pack: Path) -> tuple[Path, Path]:
    """``.bin`` and ``.json`` of a pack, named with its ``.json`` or without."""
    name = pack.name.removesuffix(".json")
    return pack.with_name(f"{name}.bin"), pack.with_name(f"{name}.json")


def pack_mark(pack: Path) -> str:
    """What tells ``pack`` from another one of its name. Raises ``ArgumentError`` without one."""
    index = pack_files(pack)[1]
    try:
        return f"index {sha256(index.read_bytes()).hexdigest()[:16]}"
    except OSError as error:
        raise ArgumentError(f"data: no such pack: {pack}") from error


class Packer:
    """Adds pictures to a pack, see `packing`; ``binary`` is where their samples go."""

    def __init__(self, binary: IO[bytes]) -> None:
        self._binary = binary
        self.index: list[dict[str, Any]] = []

    def add(self, picture: Picture, small: Sequence[Picture] = ()) -> None:
        """Add a picture, alone or with versions of it that are smaller by one whole factor.

        A pack holds pictures of one of the two kinds.
        """
        _, height, width = picture.shape
        entry: dict[str, Any] = {"at": self._binary.tell(), "shape": [height, width]}
        entry["sharpness"] = _sharpness(picture)
        if small:
            entry["scale"], entry["small"] = height // small[0].shape[1], len(small)
        self.index.append(entry)
        for samples in (picture, *small):
            self._binary.write(samples.tobytes())


@contextmanager
def packing(target: Path) -> Iterator[Packer]:
    """Write the pack ``target``: ``target``.bin with all samples, ``target``.json with the index.

    A pack that is there already is replaced when the context ends without an exception, and the
    index exists only for a whole pack. Raises ``ArgumentError`` if nothing was added.
    """
    binary, index = pack_files(target)
    with replacing(index) as listing, replacing(binary) as samples:
        packer = Packer(samples)
        yield packer
        if not packer.index:
            raise ArgumentError("data: there is no picture to pack")
        with naming(index):
            listing.write(json.dumps(packer.index).encode())
            listing.flush()
            os.fsync(listing.fileno())  # a full disk may tell only here
        # Never an index beside the samples of another pack; who has the old ones mapped keeps them.
        index.unlink(missing_ok=True)


def pack(sources: Sequence[Path], target: Path, *, exclude: str = "") -> None:
    """Pack the pictures of folders and ``.tar`` files; ``exclude`` is a glob on file names."""
    with packing(target) as packer:
        for picture in read_pictures(sources, exclude=exclude):
            packer.add(picture)


def read_pictures(sources: Sequence[Path], *, exclude: str = "") -> Iterator[Picture]:
    """The pictures in folders, in order of names, and ``.tar`` files, in theirs.

    Other files, hidden ones and links in ``.tar`` files are passed over. ``exclude``: a glob on
    names without their folders. Raises ``ArgumentError`` for a source of another kind, or if there
    is no picture, and ``FormatError`` for one that is damaged or has samples of another kind.
    """
    from PIL import Image, UnidentifiedImageError  # packing needs it, training does not

    # Its warnings have a path into its own code; see `lkdn_media.images`.
    warnings.filterwarnings("ignore", module=r"PIL\.", append=True)
    found = False
    for path, file in _files(sources):
        if exclude and fnmatch(path.name, exclude):
            continue
        try:
            with Image.open(file, formats=_FORMATS) as image:
                picture = _rgb(image)
        except UnidentifiedImageError as error:
            if path.suffix.lower() in _SUFFIXES:
                raise FormatError(f"data: {path} holds no picture") from error
            continue
        except Exception as error:  # a damaged file fails in any way a parser can
            raise FormatError(f"data: {path} can't be read: {error}") from error
        found = True
        yield np.ascontiguousarray(picture.transpose(2, 0, 1))
    if not found:
        raise ArgumentError(f"data: no readable image in {', '.join(map(str, sources))}")


def _rgb(image: "Image.Image") -> Picture:
    """(H, W, 3), 16-bit gray rounded to 8 bits. Raises ``FormatError`` for other deep samples."""
    if image.mode in _GRAY16:
        gray = torch.from_numpy(np.asarray(image).astype(np.float32)) / 257
        return np.stack([quantize(gray, bits=8).numpy()] * 3, axis=-1)
    if image.mode in {"I", "F"}:
        raise FormatError(f"samples of 8 or 16 bits are accepted, got mode {image.mode}")
    return np.asarray(image.convert("RGB"))


def _files(sources: Sequence[Path]) -> Iterator[tuple[PurePath, Path | IO[bytes]]]:
    """The path of each file, for people, and what Pillow opens."""
    for source in sources:
        if source.suffix == ".tar" and source.is_file():
            try:
                with tarfile.open(source) as tar:
                    for member in tar:
                        file = tar.extractfile(member) if member.isreg() else None
                        if file is not None and not _is_hidden(member.name):
                            yield source / member.name, file
                    _check_end(tar)
            except (tarfile.TarError, EOFError) as error:
                raise FormatError(f"data: {source} can't be read: {error}") from error
        elif source.is_dir():
            yield from ((path, path) for path in sorted(_visible(source)))
        else:
            raise ArgumentError(f"data: folders and .tar files are accepted, got {source}")


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise ``TarError`` unless its end is marked: a damaged head ends the reading too."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is damaged, or cut off")


def _visible(folder: Path) -> Iterator[Path]:
    """The files in ``folder`` and those below it. Raises ``FormatError``."""

    def refuse(error: OSError) -> None:
        raise FormatError(f"data: {error.filename} can't be read: {error.strerror}") from error

    for place, folders, names in folder.walk(on_error=refuse):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        files = (place / name for name in names if not _is_hidden(name))
        yield from (file for file in files if file.is_file())


def _is_hidden(path: str | PurePath) -> bool:
    """Whether ``path``, inside a source, is of a hidden file or folder."""
    return any(part.startswith(".") for part in PurePath(path).parts)


def _sharpness(picture: Picture) -> float:
    """Root mean square of neighbouring differences of the green channel, in 8-bit codes.

    0 for a picture one pixel wide or high.
    """
    if min(picture.shape[1:]) < 2:
        return 0.0
    green = picture[1].astype(np.float32)
    rows, columns = np.diff(green, axis=0), np.diff(green, axis=1)
    return float(np.sqrt((rows**2).mean() + (columns**2).mean()))
