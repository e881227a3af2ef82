"""The folder of a job: what changes, is damaged or is put there by others is noticed."""

import os
from pathlib import Path

import pytest

from lkdn_core import Upscaler
from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.plan import Plan
from lkdn_media.segmented import upscale_segments
from tests.cli.clips import Clip, make_clip
from tests.cli.test_segments import LENGTH, job_for, plan_for, run


@pytest.fixture(scope="module")
def upscaler(untrained: Path) -> Upscaler:
    return Upscaler(scale=2, weights=untrained, device="cpu")


@pytest.fixture
def begun(tmp_path: Path, upscaler: Upscaler) -> tuple[Plan, Path]:
    """A job of 20 pictures broken off in the second segment."""
    target = tmp_path / "out.mkv"
    plan = plan_for(make_clip(tmp_path / "a.mkv", Clip(pts=range(20))), target)
    run(plan, target, upscaler, limit=LENGTH + 2)
    return plan, target


def test_a_source_that_changes_on_the_way_is_refused(
    begun: tuple[Plan, Path], upscaler: Upscaler
) -> None:
    """Its sound would be that of another file."""
    plan, target = begun
    with job_for(plan, target) as job:
        os.utime(plan.source.path, ns=(0, 0))
        with pytest.raises(LKDNError, match=r"a\.mkv: was changed during the work"):
            upscale_segments(plan, job, upscaler, length=LENGTH, progress=list, stop=bool)
    assert not target.exists()


@pytest.mark.parametrize("name", ["00000.json", "job.json"])
def test_a_flipped_bit_of_a_record_is_noticed(
    begun: tuple[Plan, Path], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    plan, target = begun
    record = target.with_name("out.mkv.lkdn") / name
    content = record.read_bytes()
    at = content.index(b"0", content.index(b'"content"'))
    record.write_bytes(content[:at] + b"1" + content[at + 1 :])
    with job_for(plan, target) as job:
        assert job.frames == 0
    assert ("is damaged" in caplog.text) == (name == "job.json")


def test_long_differences_are_named_only(begun: tuple[Plan, Path]) -> None:
    with pytest.raises(ArgumentError, match=r"another job \(other streams\); --restart"):
        job_for(begun[0], begun[1], streams=[{"index": 0}])


@pytest.mark.posix
def test_a_link_in_the_place_of_packets_is_not_followed(
    begun: tuple[Plan, Path], upscaler: Upscaler
) -> None:
    plan, target = begun
    mine = target.with_name("mine")
    mine.write_bytes(b"mine")
    with job_for(plan, target) as job:
        job.packets().unlink(missing_ok=True)
        job.packets().symlink_to(mine)
        upscale_segments(plan, job, upscaler, length=LENGTH, progress=list, stop=bool)
    assert target.exists() and mine.read_bytes() == b"mine"
