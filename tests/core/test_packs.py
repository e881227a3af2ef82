"""Training data: what is packed, and the patches cut from it."""

import errno
import json
import math
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from lkdn_core.errors import ArgumentError, FormatError
from lkdn_core.resize import resize
from lkdn_core.training.data import MARGIN, Tiles
from lkdn_core.training.pack import pack, packing, read_pictures

CPU = torch.device("cpu")


def test_patches_are_the_papers_bicubic(packed: Path) -> None:
    """A low-resolution patch equals the same place of the whole shrunk picture, to 8 bits."""
    tiles = Tiles([packed], scale=2, seed=3, device=CPU)
    lr, hr = tiles.batch(16, 9)
    assert lr.shape == (16, 3, 9, 9)
    assert hr.shape == (16, 3, 18, 18)
    assert torch.equal((lr * 255).round(), lr * 255)
    # Without its surroundings a patch knows only the inside of its shrunk self.
    shrunk = resize(hr.double(), 9, 9).clamp(0, 1)
    inside = slice(MARGIN // 2, -MARGIN // 2)
    assert (lr - shrunk)[..., inside, inside].abs().max() <= 0.5 / 255 + 1e-6


def pattern(height: int, width: int) -> np.ndarray:
    """Samples that name their place: row, column, and their sum."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([rows, columns, rows + columns])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Two pictures with two small versions each, every other sample raised by 100 and 110."""
    with packing(tmp_path / "pairs") as packer:
        for shape in ((24, 30), (28, 20)):
            large = pattern(*shape)
            packer.add(large, [large[:, ::2, ::2] + 100, large[:, ::2, ::2] + 110])
    return tmp_path / "pairs.json"


def test_stored_pairs_lie_at_the_same_place(pairs: Path) -> None:
    tiles = Tiles([pairs], scale=2, seed=1, device=CPU)
    lr, hr = ((t * 255).round().int() for t in tiles.batch(64, 5))
    assert lr.shape == (64, 3, 5, 5)
    versions, orientations, places = set(), set(), set()
    for small, large in zip(lr, hr, strict=True):
        above = int(small[0, 0, 0] + small[1, 0, 0] - small[2, 0, 0])
        versions.add(above)
        clean = small - above
        # Of each 2x2 of the large patch, one corner is the small sample: it tells the turn.
        corners = [(r, c) for r in (0, 1) for c in (0, 1) if large[:, r::2, c::2].equal(clean)]
        assert len(corners) == 1
        orientations.add((*corners[0], int(large[0, 1, 0]) == int(large[0, 0, 0])))
        places.add((int(clean[0].min()), int(clean[1].min())))
    assert versions == {100, 110}
    assert len(orientations) == 8
    assert len(places) > 20


def test_packs_of_both_kinds_are_mixed(pairs: Path, packed: Path) -> None:
    tiles = Tiles([packed, pairs], scale=2, seed=1, device=CPU)
    lr, hr = tiles.batch(32, 4)
    assert lr.shape == (32, 3, 4, 4)
    stored = [
        bool((s - h[:, ::2, ::2]).abs().min() >= 90 / 255) for s, h in zip(lr, hr, strict=True)
    ]
    assert 0 < sum(stored) < 32
    with pytest.raises(ArgumentError, match="holds small pictures for x2, got x3"):
        Tiles([pairs], scale=3, seed=0, device=CPU)


def test_parts_of_a_batch_join(pairs: Path) -> None:
    whole = Tiles([pairs], scale=2, seed=1, device=CPU)
    halves = [Tiles([pairs], scale=2, seed=1, device=CPU) for _ in range(2)]
    for _ in range(2):
        parts = [t.batch(6, 4, part=slice(i * 3, i * 3 + 3)) for i, t in enumerate(halves)]
        for joined, both in zip(whole.batch(6, 4), zip(*parts, strict=True), strict=True):
            assert torch.equal(torch.cat(both), joined)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_patches_do_not_depend_on_the_device(pairs: Path, packed: Path) -> None:
    cuda = torch.device("cuda")
    batches = [Tiles([packed, pairs], scale=2, seed=1, device=d).batch(64, 4) for d in (CPU, cuda)]
    for on_cpu, on_gpu in zip(*batches, strict=True):
        assert on_gpu.device.type == "cuda"
        # Sums in another order may fall on the other side of a half.
        assert (on_gpu.cpu() - on_cpu).abs().max() <= 1 / 255 + 1e-6
        assert on_gpu.cpu().isclose(on_cpu, rtol=0, atol=1e-6).float().mean() > 0.999


def test_packing_reads_folders_and_shards_and_leaves_out(tmp_path: Path, pictures: Path) -> None:
    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as tar:
        tar.add(pictures, arcname="x")
    pack([shard], tmp_path / "from_tar")
    pack([shard], tmp_path / "left_out", exclude="E_*")
    pack([pictures], tmp_path / "from_folder", exclude="E_*")
    for name, pictures_kept in (("from_tar", 3), ("left_out", 2), ("from_folder", 2)):
        assert len(json.loads((tmp_path / f"{name}.json").read_text())) == pictures_kept


def test_hidden_files_are_passed_over(tmp_path: Path, pictures: Path) -> None:
    (pictures / ".thumbs").mkdir()
    for name in (".A.png", ".thumbs/A.png"):
        (pictures / name).write_bytes((pictures / "A_0.png").read_bytes())
    assert len(list(read_pictures([pictures]))) == 3
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(pictures, arcname="./x")
    assert len(list(read_pictures([tmp_path / "shard.tar"]))) == 3


def test_a_picture_with_nothing_in_it_is_named(tmp_path: Path, pictures: Path) -> None:
    (pictures / "notes.txt").write_text("not one of them")
    assert len(list(read_pictures([pictures]))) == 3
    (pictures / "Z.png").write_bytes(b"")
    with pytest.raises(FormatError, match=r"Z\.png holds no picture"):
        list(read_pictures([pictures]))


def test_two_packs_of_one_name_do_not_mix(tmp_path: Path, pictures: Path) -> None:
    """As two commands that were started at once."""
    first, second = read_pictures([pictures]), read_pictures([pictures])
    with packing(tmp_path / "x") as one:
        one.add(next(first))
        with packing(tmp_path / "x") as other:
            other.add(next(second))
            other.add(next(second))
    (entry,) = json.loads((tmp_path / "x.json").read_text())
    assert (tmp_path / "x.bin").stat().st_size == 3 * entry["shape"][0] * entry["shape"][1]
    assert not list(tmp_path.glob("*.part"))


def test_a_pack_keeps_the_dots_of_its_name(tmp_path: Path, pictures: Path) -> None:
    pack([pictures], tmp_path / "v1.0")
    pack([pictures], tmp_path / "v2.0.json")
    for name in ("v1.0.json", "v1.0", "v2.0"):
        Tiles([tmp_path / name], scale=2, seed=0, device=CPU).batch(1, 8)
    assert {p.name for p in tmp_path.glob("v*")} == {
        f"v{i}.0.{kind}" for i in (1, 2) for kind in ("bin", "json")
    }


@pytest.mark.posix
def test_an_aborted_pack_leaves_the_old_one(tmp_path: Path, pictures: Path, packed: Path) -> None:
    def files() -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in tmp_path.glob("data.*")}

    before, tiles = files(), Tiles([packed], scale=2, seed=0, device=CPU)
    first = Tiles([packed], scale=2, seed=0, device=CPU).batch(4, 8)[1]
    (pictures / "Z.png").write_bytes((pictures / "A_0.png").read_bytes()[:99])
    with pytest.raises(FormatError, match=r"Z\.png can't be read"):
        pack([pictures], packed)
    assert files() == before
    pack([pictures], packed, exclude="[AZ]*")
    assert len(files()["data.bin"]) < len(before["data.bin"])
    assert torch.equal(tiles.batch(4, 8)[1], first)  # the old one is still mapped


def test_an_index_without_room_leaves_nothing(tmp_path: Path, pictures: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with (
        patch("os.fsync", side_effect=full),
        pytest.raises(OSError, match=r"x\.json"),
    ):
        pack([pictures], tmp_path / "new" / "x")
    assert not list((tmp_path / "new").iterdir())


def test_deep_gray_is_divided_and_deeper_refused(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129], [32896, 65406, 65535]], dtype=np.uint16)
    (tmp_path / "gray").mkdir()
    Image.fromarray(deep).save(tmp_path / "gray" / "a.png")
    (picture,) = read_pictures([tmp_path / "gray"])
    assert picture.tolist() == [[[0, 0, 1], [128, 254, 255]]] * 3
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / "gray" / "f.tif")
    with pytest.raises(FormatError, match=r"f\.tif can't be read: .* got mode F"):
        list(read_pictures([tmp_path / "gray"]))


def test_damaged_sources_are_named(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole.tar"
    with tarfile.open(whole, "w") as tar:
        tar.add(pictures, arcname="x")
        last = tar.getmembers()[-1]
    data = whole.read_bytes()
    changed = bytearray(data)
    changed[last.offset + 9] ^= 1  # in its name, beside a sum that says so
    damaged = {"cut": data[:3000], "no": b"nothing" * 99, "early": data[: last.offset]}
    for name, content in (*damaged.items(), ("changed", changed)):
        (tmp_path / f"{name}.tar").write_bytes(content)
        with pytest.raises(FormatError, match=rf"data: .*{name}.tar.* can't be read: "):
            list(read_pictures([tmp_path / f"{name}.tar"]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(FormatError, match=r"A_0\.png can't be read: .*decompression bomb"):
        list(read_pictures([pictures]))


def test_links_in_a_shard_are_passed_over(tmp_path: Path, pictures: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("README", "loop", "again.png"):
            link = tarfile.TarInfo(name)
            link.type = tarfile.SYMTYPE
            link.linkname = {"README": "../../README", "again.png": "x/A_0.png"}.get(name, name)
            tar.addfile(link)
        tar.add(pictures, arcname="x")
    assert len(list(read_pictures([tmp_path / "shard.tar"]))) == 3


@pytest.mark.posix
def test_a_folder_that_may_not_be_read_is_named(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by somebody who isn't root."""
    (pictures / "sub").mkdir()
    real = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(FormatError, match=r"data: .*sub can't be read: Permission denied"):
        list(read_pictures([pictures]))


def test_what_is_no_picture_is_passed_over(pictures: Path) -> None:
    expected = len(list(read_pictures([pictures])))
    # Pillow would start Ghostscript for the one, and knows the other by its first bytes alone.
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"
    (pictures / "a.eps").write_bytes(eps)
    (pictures / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert len(list(read_pictures([pictures]))) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"at": -5000},
        {"sharpness": math.inf},
        {"sharpness": -1},
        {"shape": [-16, -16]},
        {"shape": [0, 9]},
    ],
)
def test_an_index_that_cannot_be_is_named(packed: Path, change: dict[str, object]) -> None:
    file = packed.with_suffix(".json")
    index = json.loads(file.read_text())
    index[0] |= change
    file.write_text(json.dumps(index))
    with pytest.raises(FormatError, match="is not the index of a pack"):
        Tiles([packed], scale=2, seed=0, device=CPU)


def flat(*shape: int) -> np.ndarray:
    return np.full((3, *shape), 9, dtype=np.uint8)


def test_lines_and_flat_pictures_do_not_break_the_data(tmp_path: Path) -> None:
    with packing(tmp_path / "mixed") as packer:
        for picture in (flat(1, 40), pattern(40, 40), flat(40, 1)):
            packer.add(picture)
    index = json.loads((tmp_path / "mixed.json").read_text())
    assert index[0]["sharpness"] == index[2]["sharpness"] == 0
    index[0]["sharpness"] = float("nan")  # as packs of before have it
    (tmp_path / "mixed.json").write_text(json.dumps(index))
    assert Tiles([tmp_path / "mixed"], scale=2, seed=0, device=CPU).batch(8, 8)[1].std() > 0
    with packing(tmp_path / "flat") as packer:
        for _ in range(2):
            packer.add(flat(40, 40))
    hr = Tiles([tmp_path / "flat"], scale=2, seed=0, device=CPU).batch(8, 8)[1]
    assert (hr == 9 / 255).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data.json", lambda old: b"{}", r"data\.json is not the index of a pack"),
        ("data.json", lambda old: old[:-9], r"data\.json is not the index of a pack"),
        ("data.json", lambda old: b'[{"at": 0}]', r"data\.json is not the index of a pack"),
        ("data.bin", lambda old: old[:-1], r"data\.bin is cut off: \d+ bytes are needed"),
        ("data.bin", lambda old: b"", r"data\.bin is cut off: \d+ bytes are needed, got 0"),
    ],
)
def test_broken_packs_are_named(
    packed: Path, name: str, content: Callable[[bytes], bytes], message: str
) -> None:
    file = packed.with_name(name)
    file.write_bytes(content(file.read_bytes()))
    with pytest.raises(FormatError, match=message):
        Tiles([packed], scale=2, seed=0, device=CPU)
