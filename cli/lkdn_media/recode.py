"""Sound and subtitles that the new file can't hold as they are: decoded, and encoded anew."""

from typing import Any, Final

import av
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.stream import SubtitleStream

__all__ = ["LAYOUTS", "PCM", "Recoder", "fallback_codec", "is_lossy"]

PCM: Final = "pcm"
#: What sound, and subtitles of text, become in each container that can't hold them.
_SOUND: Final = {"matroska": PCM, "mov": PCM, "mp4": "aac", "webm": "libopus"}
_TEXT: Final = {"matroska": "subrip", "mov": "mov_text", "mp4": "mov_text", "webm": "webvtt"}
#: Subtitles with styles that all the others have too.
_PLAIN_TEXT: Final = ("mov_text", "srt", "subrip", "text", "webvtt")
#: Bits a second for each channel, well above what either encoder needs to be transparent.
_BITRATE: Final = 96_000
#: What a number of channels usually means.
LAYOUTS: Final = dict(enumerate(("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1"), 1))


def fallback_codec(container: str, stream: Stream) -> str | None:
    """What ``stream``, which ``container`` can't hold, becomes there: `PCM`, or an encoder's name.

    ``None`` for what is neither sound nor text, or can't be decoded.
    """
    if isinstance(stream, av.AudioStream):
        return _SOUND.get(container) if stream.format and stream.sample_rate else None
    text = isinstance(stream, SubtitleStream) and stream.codec_context.codec.text_sub
    return _TEXT.get(container) if text else None


def is_lossy(codec: str, new: str) -> bool:
    """Whether something is lost where ``codec`` becomes ``new``, of `fallback_codec`."""
    return new != PCM and codec not in _PLAIN_TEXT


class Recoder:
    """Encodes what ``old`` holds into ``stream``, a new one of ``out``.

    ``codec``: of `fallback_codec`. PCM loses nothing of a codec of whole numbers; what a
    codec rounds itself gets 16 bits.
    """

    def __init__(self, old: Stream, out: OutputContainer, codec: str) -> None:
        self.stream: Stream
        self._decoder: av.AudioCodecContext | SubtitleCodecContext
        if isinstance(old, av.AudioStream):
            self._decoder = old.codec_context
            self.stream = _add_sound(out, codec, self._decoder)
        else:
            assert isinstance(old, SubtitleStream)
            self._decoder = old.codec_context
            self.stream = _add_text(out, codec, self._decoder)

    def packets(self, packet: "av.Packet[Any] | None") -> "list[av.Packet[Any]]":
        """What becomes of ``packet``; nothing of a damaged one. ``None`` is the end."""
        if isinstance(self._decoder, av.AudioCodecContext):
            return self._sound(self._decoder, packet)
        return self._text(self._decoder, packet) if packet is not None else []

    def _sound(
        self, decoder: av.AudioCodecContext, packet: "av.Packet[Any] | None"
    ) -> "list[av.Packet[Any]]":
        assert isinstance(self.stream, av.AudioStream)
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            frames = []
        new = [encoded for frame in frames for encoded in self.stream.encode(frame)]
        return new if packet is not None else [*new, *self.stream.encode(None)]

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
            return []
        new.time_base, new.pts, new.dts = packet.time_base, packet.pts, packet.dts
        new.duration = packet.duration
        return [new]


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
    stream.codec_context.subtitle_header = _styles(decoder) or _styles(_plain_decoder())
    return stream


def _styles(decoder: SubtitleCodecContext) -> bytes | None:
    decoder.open(strict=False)  # they are there from then on, unless the file has none
    return decoder.subtitle_header


def _plain_decoder() -> SubtitleCodecContext:
    decoder = av.CodecContext.create("subrip", "r")
    assert isinstance(decoder, SubtitleCodecContext)
    return decoder
