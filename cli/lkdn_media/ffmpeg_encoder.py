"""Pictures encoded by the user's own ffmpeg, whose packets go where those of PyAV would."""

from fractions import Fraction
from threading import Thread
from typing import Any, Final

import av
from av.container import OutputContainer
from av.video.frame import PictureType

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.encode import label_stream, make_frame
from lkdn_media.ffmpeg import FfmpegProcess
from lkdn_media.ffmpeg_codecs import device_of
from lkdn_media.plan import Plan
from lkdn_media.planes import Picture
from lkdn_media.timeline import decoding_time

__all__ = ["FfmpegEncoder"]

#: Pictures are numbered by their times; Matroska, in which they come back, counts milliseconds.
_FASTEST: Final = 400
_USUAL: Final = Fraction(25)
_QUIET: Final = ("-hide_banner", "-v", "error")


class FfmpegEncoder:
    """The encoder of ``plan`` in ``plan.program``, as a stream of ``out``.

    All packets come at the end, when their order is known. Raises ``ArgumentError`` where the
    program refuses its settings.
    """

    def __init__(self, plan: Plan, out: OutputContainer) -> None:
        self._plan = plan
        self.frames = 0
        self._times: list[int] = []
        self._durations: list[int] = []
        self._run: _Run | None = None
        # The head of the file tells what only the encoder knows, so it is asked first.
        trial = _Run(plan)
        try:
            trial.write(_blank(plan), 0)
            trial.end()
            self.extradata = bytes(trial.stream.codec_context.extradata or b"")
            self.stream = out.add_stream_from_template(trial.stream, opaque=True)
        except LKDNError as error:
            raise ArgumentError(f"codec: {plan.codec} refuses: {error}") from error
        finally:
            trial.close()
        self.stream.time_base = plan.filters.time_base
        label_stream(self.stream, plan)

    def open(self) -> None:
        """Nothing: the program starts with the first picture, since all may come from elsewhere."""

    def encode(self, picture: Picture) -> "list[av.Packet[Any]]":
        """Feed ``picture``, an enlarged one."""
        if self._run is None:
            self._run = _Run(self._plan)
        self._run.write(make_frame(picture, self._plan), self.frames)
        self._times.append(picture.pts)
        self._durations.append(picture.duration)
        self.frames += 1
        return []

    def flush(self) -> "list[av.Packet[Any]]":
        """All packets, in the order of decoding, with the times of the source."""
        assert self._run is not None
        packets = self._run.end()
        self._run.close()
        ranks = [self._run.number(packet) for packet in packets]
        if sorted(ranks) != list(range(self.frames)):
            raise LKDNError(f"ffmpeg: {len(packets)} of {self.frames} pictures came back in order")
        delay = max((turn - rank for turn, rank in enumerate(ranks)), default=0)
        for turn, (rank, packet) in enumerate(zip(ranks, packets, strict=True)):
            packet.pts = self._times[rank]
            packet.dts = decoding_time(self._times, turn, delay=delay)
            packet.duration = self._durations[rank]
            packet.time_base = self._plan.filters.time_base
        return packets

    def close(self) -> None:
        """Stop the program, if it still runs."""
        if self._run is not None:
            self._run.close()


class _Run:
    """One run of the program: frames in by a pipe, packets out by another, read by a thread."""

    def __init__(self, plan: Plan) -> None:
        rate = plan.filters.frame_rate
        self._rate = rate if rate <= _FASTEST else _USUAL
        # Matroska wants the head of AV1 before its encoder tells it.
        self._format = "nut" if plan.own_codec == "av1" else "matroska"
        self._process = FfmpegProcess(_arguments(plan, self._format), feed=True)
        self._packets: list[av.Packet[Any]] = []
        self._container: Any = None
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self._feed = av.open(self._process.input, "w", format="nut")
        self._raw = self._feed.add_stream("rawvideo", rate=self._rate)
        assert isinstance(self._raw, av.VideoStream)
        self._raw.width, self._raw.height = plan.width, plan.height
        self._raw.pix_fmt = plan.pix_fmt

    @property
    def stream(self) -> av.VideoStream:
        """What came out, after `end`."""
        stream: av.VideoStream = self._container.streams.video[0]
        return stream

    def write(self, frame: av.VideoFrame, number: int) -> None:
        """Feed ``frame``. Raises ``LKDNError`` with the program's words where it has stopped."""
        frame.pts, frame.time_base = number, 1 / self._rate
        frame.pict_type = PictureType.NONE
        try:
            self._feed.mux(self._raw.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def end(self) -> "list[av.Packet[Any]]":
        """No more frames: all packets, in their order."""
        try:
            self._feed.mux(self._raw.encode(None))
            self._feed.close()
            self._process.input.close()
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        self._reader.join()
        self._process.finish()
        if not self._packets:
            raise LKDNError("ffmpeg: nothing came back")
        return self._packets

    def number(self, packet: "av.Packet[Any]") -> int:
        """Which frame ``packet`` holds."""
        return round((packet.pts or 0) * packet.time_base * self._rate)

    def close(self) -> None:
        """Stop it."""
        self._process.abandon()
        self._reader.join()

    def _failure(self, error: Exception) -> LKDNError:
        self._process.abandon()
        return LKDNError(f"ffmpeg: {self._process.words() or error}")

    def _read(self) -> None:
        try:
            self._container = av.open(self._process.output, "r", format=self._format)
            self._packets += (p for p in self._container.demux(video=0) if p.size)
        except (av.FFmpegError, OSError, IndexError):
            self._process.output.read()  # its end code tells the reason


def _blank(plan: Plan) -> av.VideoFrame:
    frame = av.VideoFrame(plan.width, plan.height, plan.pix_fmt)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    return frame


def _arguments(plan: Plan, format: str) -> list[str]:
    """The command. Raw frames say nothing about their colours and shape, so filters say it."""
    import ffmpeg  # here, so that a front end without it runs

    tags = plan.tags
    said = {
        "range": tags.color_range,
        "color_primaries": tags.primaries,
        "color_trc": tags.transfer,
        "colorspace": tags.matrix,
    }
    filters = "setparams=" + ":".join(f"{name}={value}" for name, value in said.items())
    if plan.sample_aspect_ratio is not None:
        filters += f",setsar={plan.sample_aspect_ratio}"
    device, start = device_of(plan.codec), list(_QUIET)
    layout = {"pix_fmt": plan.pix_fmt}
    if device:
        start += ("-init_hw_device", f"{device}=card", "-filter_hw_device", "card")
        filters, layout = f"{filters},format={plan.pix_fmt},hwupload", {}
    output = {
        "c:v": plan.codec,
        "vf": filters,
        "chroma_sample_location": str(tags.chroma_location),
        "fps_mode": "passthrough",
        "f": format,
        **layout,
        **plan.options,
    }
    command = ffmpeg.output(ffmpeg.input("pipe:0", f="nut"), "pipe:1", **output)
    arguments: list[str] = command.global_args(*start).compile(cmd=plan.program)
    return arguments
