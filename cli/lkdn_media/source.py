"""What is known of a video before it is worked on; `lkdn_media.probe` finds it out."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Disposition

from lkdn_core.errors import FormatError
from lkdn_core.formats import FrameFormat
from lkdn_media.demux import JOINED, open_media
from lkdn_media.formats import (
    PLANAR,
    ColourTags,
    frame_format,
    has_alpha,
    nearest_planar,
    without_alpha,
)
from lkdn_media.matroska_head import MatroskaHead

if TYPE_CHECKING:
    from av.container.core import Chapter

__all__ = ["Crop", "FfmpegFilter", "Source", "Span", "StreamInfo"]

Kind = Literal["video", "audio", "subtitle", "attachment", "data", "unknown"]
#: Decoders in whose streams single pictures may be interlaced.
_WITH_FIELDS: Final = ("h264", "mpeg2video", "vc1")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream. ``cover``: a still picture. ``rebuilt``: the muxer makes it (chapters, timecode).

    ``codec``: for an attachment, its file name. ``decoder``: the name of what decodes it, if
    anything does.
    """

    index: int
    kind: Kind
    codec: str
    decoder: str
    tags: Mapping[str, str]
    disposition: Disposition
    cover: bool
    rebuilt: bool

    def __str__(self) -> str:
        kind = "cover" if self.cover else self.kind
        language = self.tags.get("language", "").replace("und", "")
        return " ".join(filter(None, (f"#{self.index}", kind, self.codec, language)))


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a video, in ticks of its time base: ``first`` to before ``end``, if there is one.

    ``first`` becomes 0 in what is written.
    """

    first: int
    end: int | None = None

    def holds(self, pts: int) -> bool:
        """Whether what begins at ``pts`` is part of it."""
        return self.first <= pts and (self.end is None or pts < self.end)


@dataclass(frozen=True, slots=True)
class Crop:
    """Pixels cut off each side of a picture."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        return self != Crop()

    def __str__(self) -> str:
        return ",".join(f"{side}={pixels}" for side, pixels in asdict(self).items() if pixels)


@dataclass(frozen=True, slots=True)
class FfmpegFilter:
    """``filters``, in FFmpeg's notation, run by ``program``, the path of an ffmpeg.

    ``combed``: interlaced pictures go through them, and none makes those whole.
    """

    program: str
    filters: str
    combed: bool = False

    def names(self, *parts: str) -> bool:
        """Whether one of ``parts`` of names is among them."""
        return any(part in self.filters for part in parts)


@dataclass(frozen=True, slots=True)
class Source:
    """A video file. Sizes are pixels of the pictures, before any rotation for display.

    ``video``: index of the stream to enlarge. ``frames``: expected number, 0 when not known.
    ``alpha``: the pictures are transparent somewhere, or may be.
    ``nominal_rate``: frames a second as the codec has it, which is the average but for film whose
    fields the player repeats. ``constant_rate``: by what the container says of its frame rates.
    ``sample_aspect_ratio``: ``None`` when not tagged.
    ``packets``: how many the head of MP4 or MOV lists, else 0.
    ``declared_end``: end of the video in seconds as the file's head says it, when it does.
    ``by_packets``: the times pictures last are those of packets in the order of decoding, and
    mean nothing; ``shown_end`` is where the last one ends then, in ticks, if the head says so.
    ``interlaced``: some frames are flagged so; ``telecined``: just those that telecine makes so.
    ``display_matrix``: nine integers, or ``None``. ``mastering_display`` and ``content_light``:
    FFmpeg's HDR10 structures, or ``b""``. ``captions``: there are some inside the
    pictures. ``unkept``: side data of the pictures, or of the container about them, we can't write.
    ``matroska``: what such a file says beyond what FFmpeg reads.
    ``stereo``: the pictures hold two views. ``early``: the first is shown before time 0.
    ``clock_start``: seconds of the file's own clock that players call 0.
    ``span``: the part of the video that counts; ``None`` is all of it. ``crop``: what is cut off
    the decoded pictures, as stored. ``hwaccel``: the kind of device that decodes them, see
    `lkdn_media.hwaccel`. ``ffmpeg_filter``: what pictures went through before they are as
    described here. ``opener``: opens what is no file of its own (a pipe, numbered pictures);
    ``path`` is only a name then.
    """

    path: Path
    container: str
    video: int
    streams: tuple[StreamInfo, ...]
    width: int
    height: int
    pix_fmt: str
    alpha: bool
    tags: ColourTags
    time_base: Fraction
    frame_rate: Fraction
    nominal_rate: Fraction
    constant_rate: bool
    sample_aspect_ratio: Fraction | None
    display_matrix: tuple[int, ...] | None
    interlaced: bool
    telecined: bool
    frames: int
    packets: int
    declared_end: float | None
    mastering_display: bytes
    content_light: bytes
    captions: bool
    unkept: tuple[str, ...]
    stereo: bool
    early: bool
    chapters: "tuple[Chapter, ...]"
    matroska: MatroskaHead
    metadata: Mapping[str, str]
    clock_start: Fraction = Fraction(0)
    by_packets: bool = False
    shown_end: int | None = None
    span: Span | None = None
    crop: Crop = Crop()
    hwaccel: str = "none"
    ffmpeg_filter: FfmpegFilter | None = None
    opener: Callable[[], InputContainer] | None = None

    def open(self, *, hwaccel: HWAccel | None = None) -> InputContainer:
        """Open the source anew. Raises ``LKDNError``."""
        return self.opener() if self.opener else open_media(self.path, hwaccel=hwaccel)

    @property
    def origin(self) -> Fraction:
        """Where the clock starts that a broadcast or a live stream has; a negative start stays."""
        live = self.container in (*JOINED, "flv")
        return max(Fraction(0), self.clock_start) if live else Fraction(0)

    @property
    def start(self) -> Fraction:
        """Seconds of the file's clock that become 0 in what is written."""
        return self.span.first * self.time_base if self.span else self.origin

    @property
    def decoded_size(self) -> tuple[int, int]:
        """(width, height) of the decoded pictures, before anything is cut off."""
        crop = self.crop
        return self.width + crop.left + crop.right, self.height + crop.top + crop.bottom

    def own_chapters(self, container: str) -> bytes:
        """Chapters in Matroska's own form for a new file of that kind; ``b""`` where FFmpeg's do.

        Those of a part have other times.
        """
        return self.matroska.chapters if container == "matroska" and not self.span else b""

    def own_fields(self, index: int, container: str) -> bytes:
        """Elements in Matroska's own form for the copy of stream ``index`` in a new file."""
        found = container in ("matroska", "webm") and index < len(self.matroska.tracks)
        return self.matroska.tracks[index] if found else b""

    @property
    def may_turn_interlaced(self) -> bool:
        """Whether interlaced pictures may come after others, as on air and on DVDs."""
        return self.decoder in _WITH_FIELDS and self.ffmpeg_filter is None

    @property
    def stream(self) -> StreamInfo:
        """The video itself."""
        return next(stream for stream in self.streams if stream.index == self.video)

    @property
    def decoder(self) -> str:
        """The name of the decoder of the video."""
        return self.stream.decoder

    @property
    def sideways(self) -> bool:
        """Whether width and height change places when the picture is shown."""
        matrix = self.display_matrix
        return matrix is not None and abs(matrix[1]) > abs(matrix[0])

    @property
    def layout(self) -> str:
        """The planar format the pictures are handled in, with alpha where there is any.

        Raises ``FormatError`` where there is none.
        """
        try:
            layout = nearest_planar(self.pix_fmt)
        except FormatError as error:
            raise FormatError(f"{self.path}: {error}") from error
        return layout if self.alpha or not has_alpha(layout) else without_alpha(layout)

    @property
    def format(self) -> FrameFormat:
        """Of the pictures. What has no tags is guessed by the size that was decoded.

        Raises ``FormatError`` where the core can't work on them.
        """
        layout = self.layout
        try:
            tags = self.tags.of_coding(self.decoder, self.container, PLANAR[layout].family)
            return frame_format(layout, tags).resolved(*self.decoded_size)
        except FormatError as error:
            hint = "--ffmpeg-vf setparams=colorspace=bt709 says that it is another"
            raise FormatError(f"{self.path}: {error}; {hint}") from error
