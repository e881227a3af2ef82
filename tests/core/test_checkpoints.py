import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from networks import TINY
from official import OFFICIAL, official_file
from safetensors.torch import save_file

from lkdn_core import checkpoints, models
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.errors import ArgumentError, WeightsError
from lkdn_core.models import load_model


@pytest.mark.parametrize("config", TINY, ids=str)
@pytest.mark.parametrize("under", ["params_ema", "params", None])
def test_every_layout_is_detected(tmp_path: Path, config: LKDNConfig, under: str | None) -> None:
    weights = LKDN(config).state_dict()
    file = tmp_path / "net.pth"
    torch.save({"params": {}, under: weights} if under == "params_ema" else weights, file)
    if under == "params":
        torch.save({under: weights}, file)
    loaded, detected = read_checkpoint(file)
    assert detected == config
    assert all(torch.equal(loaded[k], v) for k, v in weights.items())


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_checkpoints_are_detected(name: str) -> None:
    assert read_checkpoint(official_file(name))[1] == OFFICIAL[name]


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "hostile.pth"
    torch.save({"params": {"a": Hostile(mark)}}, file)
    with pytest.raises(WeightsError, match="not a safe weights file"):
        read_checkpoint(file)
    file.write_bytes(pickle.dumps(Hostile(mark)))
    with pytest.raises(WeightsError, match="not a safe weights file"):
        read_checkpoint(file)
    assert not mark.exists()


def test_a_small_file_that_unpacks_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, packed = tmp_path / "stored.pth", tmp_path / "packed.pth"
    torch.save({"x": torch.zeros(2**16)}, stored)
    with zipfile.ZipFile(stored) as file, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in file.infolist():
            new.writestr(entry.filename, file.read(entry))
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 2**17)
    assert packed.stat().st_size < 2**13
    with pytest.raises(WeightsError, match=r"packed\.pth unpacks to more than 1 GiB"):
        read_checkpoint(packed)


@pytest.mark.parametrize("suffix", [".SafeTensors", ".sft"])
def test_safetensors_have_two_endings_in_any_case(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"net{suffix}"
    save_file(LKDN(LKDNConfig(2, 8, 1)).state_dict(), file)
    assert read_checkpoint(file)[1] == LKDNConfig(2, 8, 1)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"text, not weights\n", b"\x80\x02", bytes(4096)])
def test_files_of_another_kind_are_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    file = tmp_path / f"file{suffix}"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"^weights: \S+ is damaged") as caught:
        read_checkpoint(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"net{suffix}"
    weights = LKDN(LKDNConfig(2, 8, 1)).state_dict()
    save_file(weights, file) if suffix == ".safetensors" else torch.save(weights, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="is damaged"):
        read_checkpoint(file)


def test_foreign_and_incomplete_networks_are_named(tmp_path: Path) -> None:
    weights = LKDN(LKDNConfig(2, 8, 2)).state_dict()
    cases = {
        "blocks B1": {"conv.weight": torch.zeros(3, 3, 3, 3)},
        "B2.c5.bias is missing": {k: v for k, v in weights.items() if k != "B2.c5.bias"},
        "'extra' is foreign": {**weights, "extra": torch.zeros(1)},
        "c1.bias has shape": {**weights, "c1.bias": torch.zeros(9)},
        "upsampler of 12, 27 or 48": {**weights, "upsampler.0.weight": torch.zeros(75, 8, 3, 3)},
        "not finite, first in c1.bias": {**weights, "c1.bias": torch.full((8,), torch.nan)},
        "not a plain float tensor": {**weights, "c1.bias": torch.zeros(8, dtype=torch.int64)},
    }
    for i, (message, content) in enumerate(cases.items()):
        file = tmp_path / f"{i}.pth"
        torch.save(content, file)
        with pytest.raises(WeightsError, match=message):
            read_checkpoint(file)


@pytest.mark.filterwarnings("ignore")  # torch's, about what it stores
def test_tensors_without_plain_numbers_are_refused(tmp_path: Path) -> None:
    weights = LKDN(LKDNConfig(2, 8, 1)).state_dict()
    bias, file = weights["c1.bias"], tmp_path / "odd.pth"
    cases = {
        "more than 1 GiB": {"extra": bias.half()[:1].expand(2**45)},
        "'c1.bias', not a plain": {"c1.bias": bias.to_sparse()},
        "'extra', not a plain": {"extra": bias.to("meta")},
        "'nested', not a plain": {"nested": torch.nested.nested_tensor([bias, bias[:3]])},
        r"'B1{78} is foreign": {f"B{'1' * 5000}.c1_d.weight": bias},
        r"has shape \(0, 12, 1, 1\) where \(C, 12, 1, 1\) is expected, C even": {
            "fea_conv.pw.weight": torch.zeros(0, 12, 1, 1)
        },
    }
    if hasattr(torch, "float4_e2m1fn_x2"):
        packed = torch.zeros(8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
        cases["floats that can't be read"] = {"c1.bias": packed}
    for message, odd in cases.items():
        torch.save(weights | odd, file)
        with pytest.raises(WeightsError, match=message) as caught:
            read_checkpoint(file)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "nothing.pth", "no such file:"), (tmp_path, "got the folder")):
        with pytest.raises(WeightsError, match=f"{what} {re.escape(str(path))}$"):
            read_checkpoint(path)


def test_load_model_names_what_there_is(weights_file: Path) -> None:
    with pytest.raises(ArgumentError, match=r"lkdn-s, official-lkdn.*got 'nothing'"):
        load_model("nothing")
    with pytest.raises(ArgumentError, match="official-lkdn-s has 4, got 2"):
        load_model("official-lkdn-s", 2)
    with pytest.raises(ArgumentError, match="is a x2 network, got 4"):
        load_model(scale=4, weights=weights_file)
    assert load_model(scale=2, weights=weights_file)[1] == LKDNConfig(2, 8, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bundled_models_are_lkdn_s(scale: int) -> None:
    assert load_model("lkdn-s", scale)[1] == LKDNConfig(scale, 42, 5)


def test_a_file_in_the_weights_folder_is_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lkdn-s-video-x2", "lkdn-s-x4", "lkdn-x2", "calibration"):
        (tmp_path / f"{name}.safetensors").touch()
    monkeypatch.setattr(models, "WEIGHTS_FOLDER", tmp_path)
    found = [(m.name, m.scale, m.bundled) for m in models._bundled()]
    # The default one first.
    assert found[0] == ("lkdn-s", 4, True)
    assert set(found[1:]) == {("lkdn", 2, True), ("lkdn-s-video", 2, True)}
