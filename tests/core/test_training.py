import json
import math
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lkdn_core import Upscaler
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.errors import ArgumentError, FormatError, WeightsError
from lkdn_core.resize import resize
from lkdn_core.training.adan import Adan
from lkdn_core.training.data import MARGIN, Tiles
from lkdn_core.training.muon import Muon, equalize
from lkdn_core.training.pack import Packer, pack, read_pictures
from lkdn_core.training.recipe import Recipe, Stage
from lkdn_core.training.train import Training

CPU = torch.device("cpu")
NETWORK = LKDNConfig(2, 8, 1, "rbsb", "rep")
STAGE = Stage(steps=8, batch_size=2, patch=12, lr=2e-3, warmup=2)
RECIPE = Recipe(network=NETWORK, stages=(STAGE,), clip=1.0)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i, size in enumerate([(48, 60), (50, 45), (20, 20)]):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize(size, Image.Resampling.BICUBIC).save(folder / f"{'AE'[i == 1]}_{i}.png")
    (folder / "notes.txt").write_text("not a picture")
    return folder


@pytest.fixture
def packed(tmp_path: Path, pictures: Path) -> Path:
    pack([pictures], tmp_path / "data")
    return tmp_path / "data"


def test_adan_follows_its_paper() -> None:
    """Algorithm 1 of the Adan paper written out for one number, with its bias corrections."""
    b1, b2, b3, lr, eps, decay = 0.98, 0.92, 0.99, 0.01, 1e-8, 0.02
    theta = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    optimizer = Adan([theta], lr=lr, betas=(b1, b2, b3), eps=eps, weight_decay=decay)
    x, m, v, n, before = 1.5, 0.0, 0.0, 0.0, None
    for k in range(1, 7):
        g = 4 * x**3 - 2
        theta.grad = 4 * theta.detach() ** 3 - 2
        optimizer.step()
        change = 0.0 if before is None else g - before
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * change
        n = b3 * n + (1 - b3) * (g + b2 * change) ** 2
        size = lr / ((n / (1 - b3**k)) ** 0.5 + eps)
        x = (x - size * (m / (1 - b1**k) + b2 * v / (1 - b2**k))) / (1 + lr * decay)
        before = g
        assert float(theta.detach()) == pytest.approx(x, rel=1e-12)


def test_equalized_matrices_keep_their_singular_vectors() -> None:
    random = torch.Generator().manual_seed(3)
    for rows, columns in [(5, 9), (9, 5), (6, 6)]:
        u, v = (torch.randn(2, n, 5, generator=random).double() for n in (rows, columns))
        u, v = torch.linalg.qr(u)[0], torch.linalg.qr(v)[0]
        values = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1], dtype=torch.float64)
        result = u.mT @ equalize(u * values @ v.mT) @ v  # (2, 5, 5)
        diagonal = result.diagonal(dim1=1, dim2=2)  # (2, 5)
        torch.testing.assert_close(result, torch.diag_embed(diagonal), rtol=0, atol=1e-9)
        assert diagonal.min() > 0.65 and diagonal.max() < 1.25


def test_muon_is_torchs_for_matrices_and_adan_for_the_rest() -> None:
    """torch's own Muon takes matrices alone, and rounds its iteration to bfloat16."""
    random = torch.Generator().manual_seed(4)
    shapes = [(12, 4, 1, 1), (4, 3, 3, 3), (12, 4, 1, 1), (6, 1, 3, 3), (6,)]
    start = [torch.randn(shape, generator=random) for shape in shapes]
    ours, theirs = ([torch.nn.Parameter(p.clone()) for p in start] for _ in range(2))
    flat = [torch.nn.Parameter(p.detach().flatten(1)) for p in theirs[:3]]
    muon = Muon(ours, lr=0.02)
    references = torch.optim.Muon(flat, lr=0.02, weight_decay=0.0), Adan(theirs[3:], lr=0.02)
    for _ in range(3):
        for p, q in zip(ours, [*flat, *theirs[3:]], strict=True):
            p.grad = torch.randn(p.shape, generator=random)
            q.grad = p.grad.view_as(q).clone()
        for optimizer in (muon, *references):
            optimizer.step()
    for p, q, first in zip(ours[:3], flat, start[:3], strict=True):
        moved, reference = (p.detach() - first).flatten(), (q.detach() - first.flatten(1)).flatten()
        assert (moved - reference).norm() < 0.05 * reference.norm()
    for p, q in zip(ours[3:], theirs[3:], strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


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
    with Packer(tmp_path / "pairs") as packer:
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
        assert (on_gpu.cpu() == on_cpu).float().mean() > 0.999


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


def test_a_pack_keeps_the_dots_of_its_name(tmp_path: Path, pictures: Path) -> None:
    pack([pictures], tmp_path / "v1.0")
    pack([pictures], tmp_path / "v2.0.json")
    for name in ("v1.0.json", "v1.0", "v2.0"):
        Tiles([tmp_path / name], scale=2, seed=0, device=CPU).batch(1, 8)
    assert {p.name for p in tmp_path.glob("v*")} == {
        f"v{i}.0.{kind}" for i in (1, 2) for kind in ("bin", "json")
    }


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
    for name, data in (("cut.tar", whole.read_bytes()[:3000]), ("no.tar", b"nothing" * 99)):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FormatError, match=rf"data: .*{name}.* can't be read: "):
            list(read_pictures([tmp_path / name]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(FormatError, match=r"A_0\.png can't be read: .*decompression bomb"):
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


def test_a_full_disk_leaves_the_old_state(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Training(RECIPE, tmp_path / "run", [packed], device=CPU)
    run.run(save_every=2)
    before = {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        run.save()
    assert {p.name: p.read_bytes() for p in (tmp_path / "run").iterdir()} == before


def flat(*shape: int) -> np.ndarray:
    return np.full((3, *shape), 9, dtype=np.uint8)


def test_lines_and_flat_pictures_do_not_break_the_data(tmp_path: Path) -> None:
    with Packer(tmp_path / "mixed") as packer:
        for picture in (flat(1, 40), pattern(40, 40), flat(40, 1)):
            packer.add(picture)
    index = json.loads((tmp_path / "mixed.json").read_text())
    assert index[0]["sharpness"] == index[2]["sharpness"] == 0
    index[0]["sharpness"] = float("nan")  # as packs of before have it
    (tmp_path / "mixed.json").write_text(json.dumps(index))
    assert Tiles([tmp_path / "mixed"], scale=2, seed=0, device=CPU).batch(8, 8)[1].std() > 0
    with Packer(tmp_path / "flat") as packer:
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


def test_a_broken_state_is_named(tmp_path: Path, packed: Path) -> None:
    Training(RECIPE, tmp_path / "run", [packed], device=CPU).save()
    (tmp_path / "run" / "state.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"state\.pt is damaged"):
        Training(RECIPE, tmp_path / "run", [packed], device=CPU)


def test_data_errors_are_named(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(ArgumentError, match=r"data: folders and \.tar files are accepted"):
        pack([tmp_path / "nothing"], tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="no readable image"):
        pack([tmp_path / "empty"], tmp_path / "x")
    with pytest.raises(ArgumentError, match="patch: no picture has 216 pixels"):
        Tiles([packed], scale=2, seed=0, device=CPU).batch(1, 100)


def test_the_fast_forward_is_the_network(tmp_path: Path, packed: Path) -> None:
    training = Training(RECIPE, tmp_path / "run", [packed], device=CPU)
    x = torch.rand(2, 3, 12, 10)
    loss = training.forward(x).square().mean()
    plain = training.model(x).square().mean()
    names = [n for n, _ in training.model.named_parameters()]
    parameters = list(training.model.parameters())
    got = torch.autograd.grad(loss, parameters)
    expected = torch.autograd.grad(plain, parameters)
    for name, a, b in zip(names, got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6, msg=name)


def test_training_lowers_the_loss_and_ships(tmp_path: Path, packed: Path) -> None:
    run = tmp_path / "run"
    training = Training(RECIPE.changed({"steps": 60}), run, [packed], device=CPU)
    losses = [float(training.train_step()) for _ in range(60)]
    assert np.mean(losses[-15:]) < 0.8 * np.mean(losses[:15])
    training.save()
    x = torch.rand(1, 3, 20, 20)
    shipped = Upscaler(scale=2, weights=run / "weights.safetensors", device="cpu").up(x)
    averaged = LKDN(training.model.config)
    averaged.load_state_dict(load_file(run / "ema.safetensors"))
    with torch.no_grad():
        torch.testing.assert_close(shipped, averaged(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adan", "adam", "muon"])
def test_a_killed_run_goes_on_as_if_unbroken(tmp_path: Path, packed: Path, optimizer: str) -> None:
    recipe = RECIPE.changed({"optimizer": optimizer, "betas": ()})

    def weights(run: str) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / run / "ema.safetensors")

    Training(recipe, tmp_path / "whole", [packed], device=CPU).run(save_every=4)
    half = Training(recipe, tmp_path / "broken", [packed], device=CPU)
    for _ in range(4):
        half.train_step()
    half.save()
    half.train_step()  # lost with the process
    Training(recipe, tmp_path / "broken", [packed], device=CPU).run(save_every=4)
    for key, value in weights("whole").items():
        torch.testing.assert_close(weights("broken")[key], value, rtol=0, atol=0, msg=key)
    assert (tmp_path / "whole" / "log.csv").read_text().startswith("step,loss,lr,")


def test_another_recipe_is_refused(tmp_path: Path, packed: Path) -> None:
    Training(RECIPE, tmp_path / "run", [packed], device=CPU).save()
    with pytest.raises(ArgumentError, match=r"lr: this folder was trained with 0.002, got 0.001"):
        Training(RECIPE.changed({"lr": 1e-3}), tmp_path / "run", [packed], device=CPU)


def test_a_start_that_does_not_fit_is_refused(
    tmp_path: Path, packed: Path, weights_file: Path
) -> None:
    save_file(LKDN(LKDNConfig(2, 6, 1)).state_dict(), weights_file)
    with pytest.raises(WeightsError, match="start: weights of the same network are accepted"):
        Training(RECIPE, tmp_path / "run", [packed], start=weights_file, device=CPU)


def test_non_finite_gradients_are_skipped(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(RECIPE, tmp_path / "run", [packed], device=CPU)
    before = {k: v.clone() for k, v in training.model.state_dict().items()}
    broken = torch.full((2, 3, 12, 12), torch.nan), torch.zeros(2, 3, 24, 24)
    monkeypatch.setattr(training.tiles, "batch", lambda size, patch, part: broken)
    training.train_step()
    assert (training.step, training.skipped) == (1, 1)
    assert all(torch.equal(before[k], v) for k, v in training.model.state_dict().items())
