import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lkdn_cli.train import validation
from lkdn_core import Upscaler
from lkdn_core.arch import LKDN, LKDNConfig
from lkdn_core.errors import ArgumentError, FormatError, LKDNError, WeightsError
from lkdn_core.network import run_network
from lkdn_core.training import forward
from lkdn_core.training.adan import Adan
from lkdn_core.training.data import Tiles
from lkdn_core.training.forward import Forward
from lkdn_core.training.muon import Muon, equalize
from lkdn_core.training.pack import pack
from lkdn_core.training.recipe import Recipe, Stage
from lkdn_core.training.train import Training

CPU = torch.device("cpu")
NETWORK = LKDNConfig(2, 8, 1, "rbsb", "rep")
STAGE = Stage(steps=8, batch_size=2, patch=12, lr=2e-3, warmup=2)
RECIPE = Recipe(network=NETWORK, stages=(STAGE,), clip=1.0)


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


def test_a_broken_state_is_named(tmp_path: Path, packed: Path) -> None:
    Training(RECIPE, tmp_path / "run", [packed], device=CPU).save()
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    (tmp_path / "run" / "state.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"state\.pt is damaged"):
        Training(RECIPE, tmp_path / "run", [packed], device=CPU)
    changes = {"step": -1}, {"step": "two"}, {"optimizer": 5}, {"params_ema": {}}
    for broken in ({"step": 1}, *({**state, **change} for change in changes)):
        torch.save(broken, tmp_path / "run" / "state.pt")
        with pytest.raises(WeightsError, match=r"state\.pt is not the state of this run"):
            Training(RECIPE, tmp_path / "run", [packed], device=CPU)
    for text in ("{", "[]", "1"):
        (tmp_path / "run" / "recipe.json").write_text(text)
        with pytest.raises(FormatError, match=r"recipe\.json is damaged"):
            Training(RECIPE, tmp_path / "run", [packed], device=CPU)


def test_data_errors_are_named(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(ArgumentError, match=r"data: folders and \.tar files are accepted"):
        pack([tmp_path / "nothing"], tmp_path / "x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="no readable image"):
        pack([tmp_path / "empty"], tmp_path / "x")
    with pytest.raises(ArgumentError, match=r"patch: .* got 100, which takes 216 pixels a side"):
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


def test_a_later_stage_that_can_not_be_is_refused_before_the_first(
    tmp_path: Path, packed: Path
) -> None:
    first, later = RECIPE.stages[0], replace(RECIPE.stages[0], patch=80)
    recipe = replace(RECIPE, stages=(first, later))
    with pytest.raises(ArgumentError, match=r"patch: .* got 80, which takes 176 pixels a side"):
        Training(recipe, tmp_path / "run", [packed], device=CPU)


def test_a_start_that_does_not_fit_is_refused(
    tmp_path: Path, packed: Path, weights_file: Path
) -> None:
    save_file(LKDN(LKDNConfig(2, 12, 1)).state_dict(), weights_file)
    with pytest.raises(ArgumentError, match="start: weights of the same network or a smaller one"):
        Training(RECIPE, tmp_path / "run", [packed], start=weights_file, device=CPU)


def test_validation_has_the_fast_way_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found by trying gradients, which there are none of in inference mode."""
    modes = list[bool]()

    def found(device: torch.device, precision: str) -> Forward:
        modes.append(torch.is_inference_mode_enabled())
        return run_network

    monkeypatch.setattr(forward, "fast_network", found)
    Image.new("RGB", (40, 30), (90, 120, 150)).save(tmp_path / "a.png")
    validate = validation(tmp_path, 2)
    assert validate is not None
    assert validate(LKDN(NETWORK))["psnr"] > 5
    assert modes == [False]


def test_non_finite_gradients_are_skipped(
    tmp_path: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(RECIPE, tmp_path / "run", [packed], device=CPU)
    before = {k: v.clone() for k, v in training.model.state_dict().items()}
    broken = torch.full((2, 3, 12, 12), torch.nan), torch.zeros(2, 3, 24, 24)
    monkeypatch.setattr(training.tiles, "batch", lambda size, patch, part: broken)
    training.train_step()
    assert (training.step, training.skipped) == (1, 1)
    with pytest.raises(LKDNError, match="no gradient of the last 100 steps was finite"):
        for _ in range(200):
            training.train_step()
    assert training.step == 99  # the hundredth is not counted: nothing was saved
    assert all(torch.equal(before[k], v) for k, v in training.model.state_dict().items())
