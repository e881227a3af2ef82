"""Recipes and stages, presets, and what one step does by hand."""

import csv
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lkdn_cli.train import _recipe
from lkdn_core.arch import LKDN, LKDN_CONFIGS, LKDNConfig
from lkdn_core.checkpoints import read_checkpoint
from lkdn_core.errors import ArgumentError, FormatError
from lkdn_core.fuse import reparameterize
from lkdn_core.training.pack import packing
from lkdn_core.training.recipe import PRESETS, Recipe, Stage, read_recipe
from lkdn_core.training.train import Training

CPU = torch.device("cpu")
NETWORK = LKDNConfig(2, 8, 1, "rbsb", "rep")
TINY = Recipe(network=NETWORK, stages=(Stage(steps=4, batch_size=4, patch=8, lr=2e-3),))


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    with packing(tmp_path / "data") as packer:
        for _ in range(3):
            coarse = random.integers(0, 256, (3, 8, 9), dtype=np.uint8)
            packer.add(coarse.repeat(5, 1).repeat(5, 2))
    return tmp_path / "data.json"


def test_learning_rate_warms_up_and_falls() -> None:
    stage = Stage(steps=100, lr=1.0, final_lr=0.0, warmup=9)
    assert stage.lr_at(0) == pytest.approx(0.1)
    assert stage.lr_at(50) == pytest.approx(0.5)
    assert stage.lr_at(100) == pytest.approx(0)
    assert [Stage(lr=1.0).lr_at(s) for s in (0, 5, 999_999)] == [1, 1, 1]


@pytest.mark.parametrize(("optimizer", "kept"), [("adan", True), ("adam", False), (None, True)])
def test_betas_are_those_of_their_optimizer(
    tmp_path: Path, optimizer: str | None, kept: bool
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('optimizer = "adan"\nbetas = [0.9, 0.8, 0.7]\n[network]\nscale = 2\n')
    given = {} if optimizer is None else {"optimizer": optimizer}
    recipe = _recipe(Namespace(network=None, preset=str(file), **given))
    assert (recipe.betas == (0.9, 0.8, 0.7)) == kept


def test_stages_follow_each_other() -> None:
    recipe = replace(TINY, stages=(Stage(steps=3, lr=1.0), Stage(steps=2, lr=0.5)))
    assert recipe.steps == 5
    assert [recipe.stage_at(s) for s in range(6)] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]
    assert [recipe.lr_at(s) for s in range(5)] == [1, 1, 1, 0.5, 0.5]
    with pytest.raises(ArgumentError, match="lr: a recipe of one stage takes it, this one has 2"):
        recipe.changed({"lr": 0.1})
    assert recipe.changed({"seed": 3}).seed == 3


def test_the_papers_recipes() -> None:
    """Section 4.2 of the paper, and the patches it gives in high-resolution pixels."""
    for scale, patches in ((2, (128, 240)), (3, (85, 160)), (4, (64, 120))):
        recipe = read_recipe("lkdn-s", LKDN_CONFIGS[f"lkdn-s-x{scale}"])
        assert tuple(stage.patch for stage in recipe.stages) == patches
    large = read_recipe("lkdn", LKDNConfig(4))
    (stage,) = large.stages
    assert (large.optimizer, large.betas, large.ema) == ("adan", (0.98, 0.92, 0.99), 0.999)
    assert (stage.steps, stage.batch_size, stage.patch) == (1_000_000, 64, 48)
    assert (stage.lr_at(0), stage.lr_at(999_999), stage.loss) == (5e-3, 5e-3, "l1")
    small = read_recipe("lkdn-s", LKDNConfig(4, 42, 5, "rbsb", "rep"))
    first, second = small.stages
    assert (first.steps, first.batch_size, first.patch, first.loss) == (950_000, 128, 64, "l1")
    assert (second.steps, second.patch, second.loss, second.lr) == (50_000, 120, "l2", 2e-5)
    assert read_recipe("lkdn-s", LKDNConfig(2)).stages[0].patch == 128


@pytest.mark.parametrize("name", [n for n in PRESETS if n not in ("lkdn", "lkdn-s")])
def test_ablations_name_their_network(name: str, tmp_path: Path, packed: Path) -> None:
    recipe = read_recipe(name)
    assert recipe.network.scale == 4
    small = replace(recipe.network, scale=2, blocks=1)
    tiny = replace(recipe, network=small).changed({"batch_size": 1, "patch": 8, "steps": 1})
    Training(tiny, tmp_path / "run", [packed], device=CPU).run()
    assert (tmp_path / "run" / "ema.safetensors").is_file()
    # Only what inference can run gets a file for it.
    assert (tmp_path / "run" / "weights.safetensors").is_file() == small.deployable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = ", "is not a recipe"),
        ("nonsense = 1", "preset: network, stages, .* are accepted, got nonsense"),
        ("network = 2", "network: a table is accepted, got 2"),
        ("[network]\nscale = 2\nwidth = 3", "network: scale, .* are accepted, got width"),
        ("[network]\nblocks = 2", "network: scale is needed, got blocks"),
        ("betas = 5", "betas: a list is accepted, got 5"),
        ("[network]\nscale = 5", "scale: 2, 3 or 4 is accepted, got 5"),
        ("[network]\nscale = 2\nchannels = 43", "channels: an even number is accepted, got 43"),
        ('[network]\nscale = 2\nchannels = "8"', "channels: .* got '8'"),
        ("[network]\nscale = 2\nblocks = 0", "blocks: an integer from 1 to 64 is accepted, got 0"),
        (
            '[network]\nscale = 2\nrefinement = "rbs"',
            "refinement: .* or rbsb is accepted, got 'rbs'",
        ),
        ('[network]\nscale = 2\nupsampler = "x"', "upsampler: conv or rep is accepted, got 'x'"),
        ("[network]\nscale = 2\nattention = -1", "attention: .* got -1"),
        ('loss = "l1"', "loss"),
        ('[[stages]]\nloss = "l3"', "loss: l1 or l2 is accepted, got 'l3'"),
        ("[[stages]]\nsteps = 0", "steps: an integer from 1 to 10+ is accepted, got 0"),
        ("[[stages]]\nsteps = 2.5", "steps: an integer from 1 to 10+ is accepted, got 2.5"),
        ("[[stages]]\nwarmup = -1", "warmup: an integer from 0 to 10+ is accepted, got -1"),
        ("[[stages]]\nlr = nan", "lr: a number of at least 0, finite, is accepted, got nan"),
        ("[[stages]]\nlr = inf", "lr: .* got inf"),
        ('[[stages]]\nlr = "1"', "lr: .* got '1'"),
        (f"[[stages]]\nlr = {10**400}", "lr: a number of at least 0, finite, is accepted, got 10"),
        (f"[[stages]]\nsteps = {10**20}", "steps: an integer from 1 to 1000000000000 is accepted"),
        (f"[[stages]]\nbatch_size = {10**18}", "batch_size: an integer from 1 to 1000000 is"),
        ("[[stages]]\nfinal_lr = -1.0", "final_lr: .* got -1"),
        ("ema = -1", "ema: a number of at least 0, below 1, is accepted, got -1"),
        ("ema = 1", "ema: .* got 1"),
        ("clip = -1", "clip: .* got -1"),
        ("clip = true", "clip: .* got True"),
        ("[[stages]]\npatch = 8\nhr_patch = 64", "hr_patch: without patch is accepted, got both"),
        ("teacher_weight = nan", "teacher_weight: .* got nan"),
        ("seed = -1", "seed: .* got -1"),
        ("seed = 9223372036854775808", "seed: an integer from 0 to 9223372036854775807 is"),
        ("teacher = 3", "teacher: a path is accepted, got 3"),
        ("[stages]\nsteps = 1", r"stages: \[\[stages\]\] is accepted, a list, got"),
        ("stages = [3]", "is not a recipe"),
        ("[[stages]]\nstepss = 1", "stages: steps, batch_size, .* are accepted, got stepss"),
        ("[[stages]]\nhr_patch = 1", "hr_patch: an integer from 2 is accepted, got 1"),
        ("[network]\nscale = 2.0", "scale: 2, 3 or 4 is accepted, got 2.0"),
        ("[network]\nscale = 2\nchannels = 514", "channels: an integer from 2 to 512 is"),
        ("[network]\nscale = 2\nblocks = 65", "blocks: an integer from 1 to 64 is"),
        ("betas = [0.9, 0.99]", "betas: 3 numbers are accepted for adan"),
        ("betas = [0.9, 0.99, 1]", "betas: a number of at least 0, below 1, is accepted, got 1"),
        ('optimizer = "sgd"', "optimizer: adan, adam or muon is accepted, got 'sgd'"),
    ],
)
def test_wrong_recipes_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(text)
    with pytest.raises(ArgumentError, match=message):
        read_recipe(str(file), NETWORK)


def test_wrong_presets_and_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_bytes("# größer\nseed = 1".encode("latin-1"))
    with pytest.raises(ArgumentError, match=r"preset: .*own\.toml is not a recipe: .*utf-8"):
        read_recipe(str(file), NETWORK)
    for scale in (7, 0):
        file.write_text(f"[network]\nscale = {scale}\n[[stages]]\nhr_patch = 64")
        with pytest.raises(ArgumentError, match=f"scale: 2, 3 or 4 is accepted, got {scale}"):
            read_recipe(str(file))
    with pytest.raises(ArgumentError, match=r"preset: .*lkdn-s.* is accepted, got 'nothing'"):
        read_recipe("nothing")
    with pytest.raises(ArgumentError, match="network: lkdn is for any network"):
        read_recipe("lkdn")


@pytest.mark.parametrize(("preset", "rate"), [("lkdn", 5e-3), ("lkdn-s", 1e-3)])
def test_one_preset_step_by_hand(tmp_path: Path, packed: Path, preset: str, rate: float) -> None:
    """The first step: L1 of the modules' own forward pass, the optimiser written out, the EMA."""
    recipe = read_recipe(preset, NETWORK)
    stages = tuple(replace(stage, batch_size=3, patch=10) for stage in recipe.stages)
    recipe = replace(recipe, stages=stages)
    training = Training(recipe, tmp_path / "run", [packed], device=CPU)
    training.tiles.random = np.random.default_rng(5)
    lr, hr = training.tiles.batch(3, 10)
    model = LKDN(NETWORK)
    model.load_state_dict(training.model.state_dict())
    loss = (model(lr) - hr).abs().mean()
    loss.backward()
    expected, average = {}, {}
    for name, p in model.named_parameters():
        # Corrected for their bias, the first momenta and squares of Adan and Adam are the gradient.
        step = p.grad / (p.grad.abs() + 1e-8)
        expected[name] = p.detach() - rate * step
        average[name] = p.detach() + 0.9 * (expected[name] - p.detach())  # decay 1/10 at step 0
    training.tiles.random = np.random.default_rng(5)
    assert float(training.train_step()) == pytest.approx(float(loss.detach()), rel=1e-5)
    after = dict(training.model.named_parameters())
    for name, value in expected.items():
        gradient = dict(model.named_parameters())[name].grad
        sure = gradient.abs() > 1e-6  # elsewhere rounding decides the direction
        torch.testing.assert_close(after[name][sure], value[sure], rtol=0, atol=2e-5, msg=name)
        torch.testing.assert_close(
            training.ema[name][sure], average[name][sure], rtol=0, atol=2e-5, msg=name
        )


def test_a_stage_starts_from_the_average_with_a_new_optimizer(tmp_path: Path, packed: Path) -> None:
    stages = (
        Stage(steps=3, batch_size=2, patch=8, lr=5e-3),
        Stage(steps=2, batch_size=2, patch=12),
    )
    recipe = replace(TINY, stages=(stages[0], replace(stages[1], lr=0.0, loss="l2")))
    training = Training(recipe, tmp_path / "run", [packed], device=CPU)
    for _ in range(3):
        training.train_step()
    average = {k: v.clone() for k, v in training.ema.items()}
    assert not torch.equal(average["c1.weight"], training.model.state_dict()["c1.weight"])
    seen = []
    batch = training.tiles.batch
    training.tiles.batch = lambda size, patch, part: seen.append(batch(size, patch)) or seen[-1]
    loss = training.train_step()  # at a learning rate of 0, so nothing moves
    for name, value in training.model.state_dict().items():
        torch.testing.assert_close(value, average[name], msg=name)
    assert training.optimizer.param_groups[0]["step"] == 1
    (lr, hr), model = seen[0], LKDN(NETWORK)
    assert lr.shape[-1] == 12
    model.load_state_dict(average)
    assert float(loss) == pytest.approx(float(F.mse_loss(model(lr), hr).detach()), rel=1e-4)


def test_a_run_broken_between_stages_goes_on_as_if_unbroken(tmp_path: Path, packed: Path) -> None:
    stages = (TINY.stages[0], replace(TINY.stages[0], patch=12, loss="l2"))
    recipe = replace(TINY, stages=stages, optimizer="adam", betas=())
    Training(recipe, tmp_path / "whole", [packed], device=CPU).run(save_every=4)
    # Out of minutes at once: each call ends at its first save.
    for step in (4, 8):
        training = Training(recipe, tmp_path / "broken", [packed], device=CPU)
        training.run(save_every=4, minutes=0)
        assert training.step == step
    whole, broken = (load_file(tmp_path / r / "ema.safetensors") for r in ("whole", "broken"))
    for name, value in whole.items():
        assert torch.equal(value, broken[name]), name


def test_the_teachers_output_is_a_second_target(tmp_path: Path, packed: Path) -> None:
    torch.manual_seed(7)
    teacher = LKDN(LKDNConfig(2, 6, 2))
    save_file(teacher.state_dict(), tmp_path / "teacher.safetensors")
    losses = []
    for i, weight in enumerate((0.0, 2.0)):
        recipe = replace(TINY, teacher=str(tmp_path / "teacher.safetensors"), teacher_weight=weight)
        training = Training(recipe, tmp_path / f"run{i}", [packed], device=CPU)
        losses.append(float(training.train_step()))
    fresh = Training(TINY, tmp_path / "plain", [packed], device=CPU)
    lr, _ = fresh.tiles.batch(4, 8)
    with torch.no_grad():
        distance = F.l1_loss(fresh.model(lr), teacher(lr))
    assert losses[1] - losses[0] == pytest.approx(2 * float(distance), rel=1e-3)
    save_file(LKDN(LKDNConfig(3, 6, 1)).state_dict(), tmp_path / "x3.safetensors")
    wrong = replace(TINY, teacher=str(tmp_path / "x3.safetensors"))
    with pytest.raises(ArgumentError, match="teacher: a x2 network is accepted, got x3"):
        Training(wrong, tmp_path / "wrong", [packed], device=CPU)


def test_validation_is_in_the_curve_and_the_state_is_a_start(tmp_path: Path, packed: Path) -> None:
    def validate(network: LKDN) -> dict[str, float]:
        return {"psnr": float(network.c1.weight.detach().norm())}

    training = Training(TINY, tmp_path / "run", [packed], device=CPU)
    training.run(save_every=2, validate=validate)
    header, *rows = (tmp_path / "run" / "log.csv").read_text().splitlines()
    assert header == "step,loss,lr,seconds_per_step,skipped,psnr"
    assert [row.split(",")[0] for row in rows] == ["2", "4"]
    assert rows[1].split(",")[-1] == f"{training.ema['c1.weight'].norm():.4f}"
    start = tmp_path / "run" / "state.pt"
    again = Training(TINY, tmp_path / "again", [packed], start=start, device=CPU)
    folded = reparameterize(dict(again.model.state_dict()))
    for name, value in reparameterize(training.ema).items():
        torch.testing.assert_close(folded[name], value, msg=name)


def test_the_best_weights_are_kept(tmp_path: Path, packed: Path) -> None:
    figures = iter([30.0, 32.0, 32.0, 31.5])  # an equal one is none better
    best, run = [], tmp_path / "run"
    recipe = TINY.changed({"steps": 4})

    def validate(_: LKDN) -> dict[str, float]:
        if (run / "best.safetensors").exists():
            best.append((run / "best.safetensors").read_bytes())
        return {"psnr": next(figures)}

    Training(recipe, run, [packed], device=CPU).run(save_every=1, validate=validate, minutes=0)
    for _ in range(3):
        training = Training(recipe, run, [packed], device=CPU)
        training.run(save_every=1, validate=validate, minutes=0)
    assert training.step == 4
    kept, (first, second, third) = (run / "best.safetensors").read_bytes(), best
    assert first != second == third == kept
    with safe_open(run / "best.safetensors", "pt") as file:
        assert file.metadata()["steps"] == "2"
    weights, _ = read_checkpoint(run / "best.safetensors")
    assert weights.keys() == read_checkpoint(run / "weights.safetensors")[0].keys()


def test_a_failing_validation_costs_no_steps(tmp_path: Path, packed: Path) -> None:
    def validate(network: LKDN) -> dict[str, float]:
        raise RuntimeError("no pictures today")

    run = tmp_path / "run"
    training = Training(TINY, run, [packed], device=CPU)
    with pytest.raises(RuntimeError, match="no pictures"):
        training.run(save_every=2, validate=validate)
    training = Training(TINY, run, [packed], device=CPU)
    assert training.step == 2
    training.run(save_every=2, validate=lambda network: {"psnr": 30.0 - training.step})
    with (run / "log.csv").open() as handle:  # what was missed is made up for
        assert [row["psnr"] for row in csv.DictReader(handle)] == ["28.0000", "26.0000"]
    with safe_open(run / "best.safetensors", "pt") as file:
        assert file.metadata()["steps"] == "2"


def test_the_curve_fits_the_steps_over_a_resume(tmp_path: Path, packed: Path) -> None:
    """Rows of steps that were lost go, and figures that come later get a column."""
    run = tmp_path / "run"
    Training(TINY, run, [packed], device=CPU).run(save_every=2, minutes=0)
    log = run / "log.csv"
    log.write_text(log.read_text() + "3,0.5,1e-3,1,0,30.1\n")
    training = Training(TINY, run, [packed], device=CPU)
    training.run(save_every=1, minutes=0, validate=lambda network: {"psnr": 30.0})
    training.run(save_every=1)
    with log.open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["2", "3", "4"]
    assert [row["psnr"] for row in rows] == ["nan", "30.0000", "nan"]
    assert all(len(row) == 6 and float(row["loss"]) != 0.5 for row in rows)
    for damage in (b"two,0.5,1e-3,1,0,30\n", b"\xff\n"):
        log.write_bytes(log.read_bytes() + damage)
        with pytest.raises(FormatError, match=r"log\.csv is damaged; without it, a new one"):
            training.run(save_every=1)
