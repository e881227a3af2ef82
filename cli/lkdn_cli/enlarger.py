"""One video file after another through one engine, as the options of ``lkdn-video`` say."""

import argparse
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lkdn_cli.compare import check_page, write_page
from lkdn_cli.console import OK, SALVAGED, one_line, put
from lkdn_cli.engine_options import asked_network, check_engine, make_upscaler
from lkdn_cli.interrupts import Interrupts
from lkdn_cli.pipe_options import check_ends
from lkdn_cli.progress import Reporter
from lkdn_cli.size_options import scales_of, size_choice
from lkdn_cli.video_options import encoder_choice, source_of
from lkdn_core import Upscaler
from lkdn_core.errors import LKDNError
from lkdn_core.native_library import instruction_sets
from lkdn_media.counts import counted
from lkdn_media.files import followed, writing_to
from lkdn_media.job import Job, identity, is_begun, was_finished
from lkdn_media.network_choice import NetworkChoice
from lkdn_media.pipeline import Result, check_paths, upscale_video
from lkdn_media.pipes import PIPE
from lkdn_media.plan import Plan, make_plan
from lkdn_media.segmented import segment_length, upscale_segments
from lkdn_media.sizes import choose_scale
from lkdn_media.suited_model import suited_model
from lkdn_media.targets import PLAIN

__all__ = ["Enlarger"]

log = logging.getLogger(__name__)


class Enlarger:
    """Enlarges files with the settings in ``arguments``; the engine is made at the first one.

    Raises ``ArgumentError`` at once where no engine could have these settings.
    """

    def __init__(
        self, arguments: argparse.Namespace, reporter: Reporter, interrupts: Interrupts
    ) -> None:
        check_engine(arguments)
        self._arguments = arguments
        self._reporter, self._interrupts = reporter, interrupts
        self._asked = asked_network(arguments)
        self._upscalers: dict[tuple[NetworkChoice, int], Upscaler] = {}

    def _upscaler(self, network: NetworkChoice, scale: int) -> Upscaler:
        key = network, scale
        if key not in self._upscalers:
            self._upscalers[key] = make_upscaler(self._arguments, *key)
        self._upscalers[key].renew()  # another job may have more room
        return self._upscalers[key]

    @property
    def writes(self) -> bool:
        """Whether files are written, not only planned."""
        return not self._arguments.dry_run

    def is_there(self, source: Path, target: Path) -> bool:
        """Whether ``target`` is there and stays."""
        # `exists` of a ``Path`` would raise where a name is too long.
        stays = os.path.exists(target) and not self._arguments.overwrite
        return stays or self._was_finished(source, target)

    def _was_finished(self, source: Path, target: Path) -> bool:
        return not self._arguments.restart and was_finished(source, target)

    def run(self, source: Path, target: Path) -> int:
        """Enlarge ``source`` into ``target``; returns ``OK`` or ``SALVAGED``, or raises."""
        for argument, path in (("input", source), ("output", target)):
            _check_name(argument, path)
        target = followed(target)
        if self._was_finished(source, target):
            self._reporter.tell("done", _names(source, target), f"{target}: was finished before")
            return OK
        plan = self._plan(source, target)
        if self.writes and self._arguments.output_dir is not None:
            with writing_to(target):
                target.parent.mkdir(parents=True, exist_ok=True)
        network = self._asked or suited_model(plan.source)
        if not self.writes:
            network.check(plan.scale)
            lines = plan.describe()
            facts = {**_names(source, target), **network.facts(), "streams": lines}
            self._reporter.tell("plan", facts)
            if not self._arguments.json:
                head = [] if self._arguments.output_dir is None else [f"{source} -> {target}"]
                lines = [*head, *lines, f"network {network} x{plan.scale}"]
                put("".join(f"{one_line(line)}\n" for line in lines))
            return OK
        result = self._enlarge(plan, target, network)
        if result.damage:
            log.warning("warning: %s: %s; the rest is in the output", source, result.damage)
            return SALVAGED
        return OK

    def _plan(self, path: Path, target: Path) -> Plan:
        options = self._arguments
        check_paths(path, target, overwrite=options.overwrite)
        check_ends(path, target, options)
        if options.compare:
            check_page(options.compare, (path, target), overwrite=options.overwrite)
        size, source = size_choice(options), source_of(path, options)
        plan = make_plan(
            source,
            target,
            scale=choose_scale(source, size, scales_of(options)),
            choice=encoder_choice(options),
            size=size,
            deinterlace=options.deinterlace,
            ivtc=options.ivtc,
            headroom=options.headroom,
            format=options.format,
        )
        name = "" if options.output_dir is None else f"{path}: "  # one of many
        for warning in plan.warnings:
            log.warning("warning: %s%s", name, warning)
        return plan

    def _enlarge(self, plan: Plan, target: Path, network: NetworkChoice) -> Result:
        self._upscaler(network, plan.scale)  # made before the clock runs
        length, started = self._segment_length(plan, target, network), time.monotonic()
        if length:
            result, resumed = self._in_segments(plan, target, network, length)
        else:
            result, resumed = self._in_one_pass(plan, target, network), 0
        seconds = time.monotonic() - started
        speed = (result.frames - resumed) / max(seconds, 1e-3)
        work = f"{counted(result.frames, 'frame')} of {plan.width}x{plan.height} by {network.name}"
        self._reporter.tell(
            "done",
            {
                **_names(plan.source.path, target),
                "frames": result.frames,
                "seconds": round(seconds, 3),
                "fps": round(speed, 3),
                "damage": str(result.damage) or None,
            },
            f"{target}: {work}, {speed:.2f} frames/s",
        )
        if self._arguments.compare:
            from lkdn_media.compare import compare_video

            write_page(
                self._arguments.compare,
                lambda: compare_video(plan, target, frames=result.frames, rate=speed),
                overwrite=self._arguments.overwrite,
            )
        return result

    def _segment_length(self, plan: Plan, target: Path, network: NetworkChoice) -> int:
        """Frames in a segment; 0 where the file is written in one pass."""
        # Parts of animations can't be joined.
        plain = target == PIPE or plan.container in (*PLAIN, "gif", "apng")
        if plain or plan.source.opener is not None:
            return 0
        length: int | None = self._arguments.segment
        if length is None:
            length = segment_length(plan, device=self._upscaler(network, plan.scale).device.type)
        if length and not 0 < _expected(plan) <= length:
            return length
        if is_begun(target):  # it was one of segments: refused, or thrown away
            with self._job(plan, target, network, length):
                pass
        return 0  # a clip of one segment has nothing to go on from

    def _in_one_pass(self, plan: Plan, target: Path, network: NetworkChoice) -> Result:
        upscaler = self._upscaler(network, plan.scale)
        self._tell_start(plan, target, network, 0)
        with self._reporter.frames(total=_expected(plan), done=0) as progress:
            overwrite = self._arguments.overwrite
            return upscale_video(plan, target, upscaler, progress=progress, overwrite=overwrite)

    def _in_segments(
        self, plan: Plan, target: Path, network: NetworkChoice, length: int
    ) -> tuple[Result, int]:
        """What came of it, and how many frames were there already."""
        upscaler = self._upscaler(network, plan.scale)
        with self._job(plan, target, network, length) as job:
            resumed, total = job.frames, _expected(plan)
            self._tell_start(plan, target, network, resumed)
            with self._kept(job), self._reporter.frames(total=total, done=resumed) as progress:
                result = upscale_segments(
                    plan,
                    job,
                    upscaler,
                    length=length,
                    progress=progress,
                    stop=lambda: self._interrupts.requested,
                    overwrite=self._arguments.overwrite,
                )
        return result, resumed

    def _job(self, plan: Plan, target: Path, network: NetworkChoice, length: int) -> Job:
        common = self._identity(plan, length, network)
        return Job(target, common, restart=self._arguments.restart)

    def _tell_start(self, plan: Plan, target: Path, network: NetworkChoice, resumed: int) -> None:
        names = _names(plan.source.path, target)
        size = {"frames": _expected(plan) or None, "width": plan.width, "height": plan.height}
        text = f"{target}: goes on after {counted(resumed, 'frame')}" if resumed else ""
        self._reporter.tell("start", {**names, **network.facts(), **size, "resumed": resumed}, text)

    def _identity(self, plan: Plan, length: int, network: NetworkChoice) -> dict[str, object]:
        """What a job that goes on must have in common with the one that was broken off."""
        options, weights = self._arguments, network.weights
        upscaler = self._upscaler(network, plan.scale)
        engine = {
            "model": None if weights else network.model,
            "weights": weights and hashlib.sha256(weights.read_bytes()).hexdigest(),
            "device": upscaler.device.type,
            "precision": upscaler.precision,
            "backend": upscaler.backend,
            "instructions": instruction_sets()[0] if upscaler.backend == "native" else None,
            "batch_size": options.batch_size,
            "tile": options.tile,
            "overlap": options.overlap,
            "tta": options.tta,
            "denoise": network.denoise,
        }
        return identity(plan, segment=length, engine=engine)

    @contextmanager
    def _kept(self, job: Job) -> Iterator[None]:
        """Say what is kept of ``job`` when it is broken off."""
        hint = "interrupted: finishing the segment at hand; a second signal stops at once"
        try:
            with self._interrupts.patient(f"lkdn-video: {hint}"):
                yield
        except BaseException:
            if job.frames and os.path.isdir(job.folder):
                log.warning(
                    "%s: %s kept in %s; the same command goes on from there",
                    *(job.target, counted(job.frames, "frame"), job.folder),
                )
            raise


def _check_name(argument: str, path: Path) -> None:
    """Raise ``LKDNError`` where nothing could have this name, or it may not be looked for."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # what is missing, or in the way, is told where it is opened or made
    except OSError as error:
        raise LKDNError(f"{argument}: {path}: {error.strerror}") from error


def _expected(plan: Plan) -> int:
    """About how many frames there will be; 0 when that is not known."""
    return round(plan.source.frames * plan.filters.frame_rate / plan.source.frame_rate)


def _names(source: Path, target: Path) -> dict[str, object]:
    return {"input": str(source), "output": str(target)}
