"""Sound and subtitles that the new file can't hold as they are: decoded, and encoded anew."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Final

import av
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

from lkdn_media.damage import Damage
from lkdn_media.texts import OneAtATime, Text

__all__ = ["LAYOUTS", "PCM", "Recoder", "fallback_codec", "is_lossy"]

PCM: Final = "pcm"
#: What sound, and subtitles of text, become in each container that can't hold them.
_SOUND: Final = {"matroska": PCM, "mov": PCM, "mp4": "aac", "webm": "libopus"}
_TEXT: Final = {"matroska": "subrip", "mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
#: Subtitles with styles that all the others have too.
_PLAIN_TEXT: Final = ("mov_text", "subrip", "text", "webvtt")
#: Bits a second for each channel, well above what either encoder needs to be transparent.
_BITRATE: Final = 96_000
#: Seconds that samples in MOV, which have no times of their own, may be early; and the longest
#: silence that is put between them.
_EARLY, _LONGEST_SILENCE = Fraction(1, 20), 3600
#: What a number of channels usually means.
LAYOUTS: Final = dict(enumerate(("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1"), 1))


def fallback_codec(container: str, stream: Stream) -> str | None:
    """What ``stream``, which ``container`` can't hold, becomes there: `PCM`, or an encoder's name.

    ``None`` for what is neither sound nor text, or can't be decoded.
    """
    if stream.codec_context is None:
        return None
    if isinstance(stream, av.AudioStream):
        return _SOUND.get(container) if stream.format and stream.sample_rate else None
    if not isinstance(stream, SubtitleStream):
        return None
    decoder = stream.codec_context.codec
    # Those with a delay, captions, give a text with the packet after the one that tells its times.
    return _TEXT.get(container) if decoder.text_sub and not decoder.delay else None


def is_lossy(codec: str, new: str) -> bool:
    """Whether something is lost where ``codec`` becomes ``new``, of `fallback_codec`."""
    return new != PCM and codec not in _PLAIN_TEXT


class Recoder:
    """Encodes what ``old`` holds into ``stream``, a new one of ``out``.

    ``codec``: of `fallback_codec`. PCM loses nothing of a codec of whole numbers; what a
    codec rounds itself gets 16 bits.
    """

    def __init__(self, old: Stream, out: OutputContainer, codec: str, damage: Damage) -> None:
        self.stream: Stream
        self._damage, self._began = damage, False
        self._time_base = old.time_base or Fraction(1, 1000)
        self._decoder: av.AudioCodecContext | SubtitleCodecContext
        if isinstance(old, av.AudioStream):
            self._decoder = old.codec_context
            self.stream = _add_sound(out, codec, self._decoder)
            self._samples = _Samples(self.stream, filled=codec == PCM and out.format.name == "mov")
        else:
            assert isinstance(old, SubtitleStream)
            self._decoder = old.codec_context
            self.stream = _add_text(out, codec, self._decoder)
            self._texts = OneAtATime() if codec == "mov_text" else None

    def packets(self, packet: "av.Packet[Any] | None") -> "Iterable[av.Packet[Any]]":
        """What becomes of ``packet``; a damaged one is counted instead. ``None`` is the end."""
        if isinstance(self._decoder, av.AudioCodecContext):
            return self._sound(self._decoder, packet)
        if self._texts is not None:
            return self._merged(self._texts, self._decoder, packet)
        return self._text(self._decoder, packet) if packet is not None else []

    def _sound(
        self, decoder: av.AudioCodecContext, packet: "av.Packet[Any] | None"
    ) -> "Iterator[av.Packet[Any]]":
        assert isinstance(self.stream, av.AudioStream)
        frames: list[av.AudioFrame | None] = []
        try:
            frames += decoder.decode(packet)
            self._began |= bool(frames)
        except av.FFmpegError:  # in the middle of a file the first one may be of no use alone
            self._damage.refused_packets += self._began
        for frame in frames if packet is not None else [*frames, None]:
            for samples in self._samples.of(frame):
                try:
                    new = self.stream.encode(samples)
                except av.FFmpegError:  # numbers that are none, which damage makes
                    self._damage.refused_packets += 1
                    continue
                yield from new
        if packet is None:
            yield from self.stream.encode(None)

    def _text(
        self, decoder: SubtitleCodecContext, packet: "av.Packet[Any]"
    ) -> "list[av.Packet[Any]]":
        encoder = self.stream.codec_context
        assert isinstance(encoder, SubtitleCodecContext)
        try:
            shown = decoder.decode2(packet)
            if not shown:
                return []
            new = encoder.encode_subtitle(shown)
        except av.FFmpegError:
            self._damage.refused_packets += 1
            return []
        new.time_base, new.pts, new.dts = packet.time_base, packet.pts, packet.dts
        new.duration = packet.duration
        return [new]

    def _merged(
        self, texts: OneAtATime, decoder: SubtitleCodecContext, packet: "av.Packet[Any] | None"
    ) -> "Iterator[av.Packet[Any]]":
        if packet is None:
            yield from self._encoded(texts.rest())
            return
        if packet.pts is None or not packet.duration:
            return  # never seen
        try:
            shown = decoder.decode2(packet)
        except av.FFmpegError:
            self._damage.refused_packets += 1
            return
        for line in shown or ():
            if isinstance(line, AssSubtitle):
                text = Text(packet.pts, packet.pts + packet.duration, line.ass)
                yield from self._encoded(texts.add(text))

    def _encoded(self, texts: Iterator[Text]) -> "Iterator[av.Packet[Any]]":
        encoder = self.stream.codec_context
        assert isinstance(encoder, SubtitleCodecContext)
        for text in texts:
            try:
                new = encoder.encode_subtitle(SubtitleSet.create(text.dialogue, 0, 0))
            except av.FFmpegError:
                self._damage.refused_packets += 1
                continue
            new.time_base, new.pts, new.dts = self._time_base, text.start, text.start
            new.duration = text.end - text.start
            yield new


class _Samples:
    """Decoded sound as ``stream`` takes it, whose format, rate and layout stay what they are.

    ``filled``: with silence where there is none, for a container that has no gaps.
    """

    def __init__(self, stream: av.AudioStream, *, filled: bool) -> None:
        self._stream = stream
        self._filled = filled
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[object, ...] = ()
        self._end: int | None = None  # of all before, in samples
        self._held: tuple[av.AudioFrame, int] | None = None  # after a gap; where it belongs

    def of(self, frame: av.AudioFrame | None) -> Iterator[av.AudioFrame]:
        """What becomes of ``frame``; ``None`` is the end."""
        kind = (frame.format.name, frame.layout.name, frame.sample_rate) if frame else ()
        if kind != self._kind and self._resampler is not None:
            rest, self._resampler = self._resampler.resample(None), None
            for new in rest:
                yield from self._placed(new)
        if frame is None:
            yield from self._after_gap(None)
            return
        self._kind = kind
        if self._resampler is None:
            context = self._stream.codec_context
            self._resampler = av.AudioResampler(context.format, context.layout, context.rate)
        for new in self._resampler.resample(frame):
            yield from self._placed(new)

    def _placed(self, frame: av.AudioFrame) -> Iterator[av.AudioFrame]:
        """``frame`` with a time in samples, behind what it lacks; without a time it goes on."""
        rate, start = frame.sample_rate, self._end
        if frame.pts is not None and frame.time_base is not None:
            start = round(frame.pts * frame.time_base * rate)
        yield from self._after_gap(start)
        if self._filled and self._end is not None and start is not None:
            if _EARLY < Fraction(start - self._end, rate) < _LONGEST_SILENCE:
                self._held = frame, start
                return
            start = self._end
        yield self._next(frame, start or 0)

    def _after_gap(self, following: int | None) -> Iterator[av.AudioFrame]:
        """The frame that came after a gap, if its time is right: what follows is not before it."""
        if self._held is None or self._end is None:
            return
        (frame, start), self._held = self._held, None
        if following is None or following >= start:
            yield from self._silence(frame, start - self._end)
        yield self._next(frame, self._end)

    def _silence(self, frame: av.AudioFrame, missing: int) -> Iterator[av.AudioFrame]:
        """``missing`` samples of the kind of ``frame``."""
        for done in range(0, missing, frame.sample_rate):
            samples = min(frame.sample_rate, missing - done)
            silence = av.AudioFrame(frame.format.name, frame.layout.name, samples)
            silence.sample_rate = frame.sample_rate
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            assert self._end is not None
            yield self._next(silence, self._end)

    def _next(self, frame: av.AudioFrame, start: int) -> av.AudioFrame:
        frame.pts, frame.time_base = start, Fraction(1, frame.sample_rate)
        self._end = start + frame.samples
        return frame


def _add_sound(out: OutputContainer, codec: str, decoder: av.AudioCodecContext) -> av.AudioStream:
    rate = decoder.sample_rate
    if codec == PCM:
        codec = "pcm_s24le" if decoder.format.packed.name == "s32" else "pcm_s16le"
    rates = av.Codec(codec, "w").audio_rates or [rate]
    # The next one up: nothing audible is lost.
    rate = min((r for r in rates if r >= rate), default=max(rates))
    stream = out.add_stream(codec, rate=rate, layout=_layout(codec, rate, decoder.layout))
    assert isinstance(stream, av.AudioStream)
    if not codec.startswith(PCM):
        stream.bit_rate = _BITRATE * stream.layout.nb_channels
    return stream


def _layout(codec: str, rate: int, layout: av.AudioLayout) -> str:
    """The nearest to ``layout`` that ``codec`` takes; the rest is mixed."""
    for name in (layout.name, LAYOUTS.get(layout.nb_channels, "stereo")):
        trial = av.CodecContext.create(codec, "w")
        assert isinstance(trial, av.AudioCodecContext)
        try:
            trial.sample_rate, trial.layout = rate, name
            trial.format = (trial.codec.audio_formats or [av.AudioFormat("s16")])[0]
            trial.open()
        except (av.FFmpegError, ValueError):
            continue
        return name
    return "stereo"


def _add_text(out: OutputContainer, codec: str, decoder: SubtitleCodecContext) -> Stream:
    stream = out.add_stream(codec)
    assert isinstance(stream, SubtitleStream)
    # MP4 counts a gap in 31 bits: of microseconds, PyAV's default, that is half an hour.
    stream.time_base = Fraction(1, 1000)
    stream.codec_context.subtitle_header = _styles(decoder) or _styles(_plain_decoder())
    return stream


def _styles(decoder: SubtitleCodecContext) -> bytes | None:
    decoder.open(strict=False)  # they are there from then on, unless the file has none
    return decoder.subtitle_header


def _plain_decoder() -> SubtitleCodecContext:
    decoder = av.CodecContext.create("subrip", "r")
    assert isinstance(decoder, SubtitleCodecContext)
    return decoder
