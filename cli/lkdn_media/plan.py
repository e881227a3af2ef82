"""What will be written: decided, and told to the user, before any work starts."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

from lkdn_core.formats import FrameFormat
from lkdn_core.resize import FinalSize
from lkdn_media.cut import without_timecode
from lkdn_media.encoder_choice import EncoderChoice
from lkdn_media.encoder_options import encoder_options, pix_fmts_of_profile
from lkdn_media.encoders import (
    check_container,
    default_codec,
    encoder_pix_fmt,
    find_encoder,
    own_codec,
)
from lkdn_media.ffmpeg_codecs import OwnCodec, own_options
from lkdn_media.filters import Deinterlace, FilterChain, film_chain
from lkdn_media.formats import PLANAR, ColourTags, nearest_planar
from lkdn_media.holds import (
    holds_alpha,
    holds_full_range,
    holds_limited_gray,
    location_in,
    matrix_in,
    shape_in,
)
from lkdn_media.hwaccel import unmet
from lkdn_media.losses import (
    field_notes,
    label_losses,
    matroska_losses,
    padding_notes,
    picture_losses,
    plain_losses,
)
from lkdn_media.palette import PALETTE
from lkdn_media.pipes import PIPE
from lkdn_media.recode import PCM
from lkdn_media.sizes import SizeChoice, final_size, size_warnings
from lkdn_media.source import Source
from lkdn_media.streams import copied_streams
from lkdn_media.tags import copied_tags, lost_tags, need_keys
from lkdn_media.targets import PICTURES, PLAIN, container_of, plain_codec
from lkdn_media.upright import TURNED, turning

__all__ = ["Plan", "make_plan"]

#: What players have of each encoder in MP4 and MOV, in which most know no 4:4:4.
_PLAYED: Final = {"libx264": "yuv420p", "libx265": "yuv420p10le"}
#: Pixels a side, of H.264's level 5.2, where the decoders of most devices end.
_MOST_PLAYED: Final = 4096
#: Frames a second that a timecode of MP4 counts; its muxer fails at the end where there are more.
_MOST_TIMECODED: Final = 255


@dataclass(frozen=True, slots=True)
class Plan:
    """How ``source`` becomes a file.

    ``width``, ``height``: of the encoded pictures: of ``size``, or else at most one more than
    ``scale`` times the source's, where subsampled chroma needs even sizes. ``copied``: indexes of
    the other streams that are kept, and what they are encoded anew as, if they are. ``keys``: tags
    go where cameras put them, see `need_keys`. ``upright``: pictures are turned as they are to be
    shown, since the container can't say it. ``program``: the user's ffmpeg, where ``codec`` is
    one of its encoders, which then writes ``own_codec``. ``warnings``: what can't be kept, a line
    each.
    """

    source: Source
    container: str
    scale: int
    filters: FilterChain
    codec: str
    program: str | None
    own_codec: str | None
    options: dict[str, str]
    pix_fmt: str
    input_format: FrameFormat
    output_format: FrameFormat
    tags: ColourTags
    size: FinalSize | None
    upright: bool
    width: int
    height: int
    sample_aspect_ratio: Fraction | None
    copied: dict[int, str | None]
    metadata: dict[str, str]
    keys: bool
    warnings: tuple[str, ...]

    @property
    def alpha(self) -> bool:
        """Whether the new pictures keep the transparency of the source's."""
        kept = holds_alpha(self.container, self.codec, self.pix_fmt)
        return kept and PLANAR[self.source.layout].alpha

    @property
    def shape_in_container(self) -> bool:
        """Whether pixels have a shape that the container has to tell."""
        known = self.sample_aspect_ratio is not None
        return known and shape_in(self.container, self.codec) == "container"

    @property
    def enlarged(self) -> tuple[int, int]:
        """(width, height) of the encoded pictures before they are turned."""
        swapped = self.upright and self.source.sideways
        return (self.height, self.width) if swapped else (self.width, self.height)

    def describe(self) -> list[str]:
        """The mapping of streams, a line each."""
        source = self.source
        settings = " ".join(f"{name}={value}" for name, value in self.options.items())
        cropped = f"{source.width}x{source.height} -> " if source.crop else ""
        enlarged = f"x{self.scale} -> " if self.size else ""
        lines = []
        for stream in source.streams:
            if stream.index == source.video:
                width, height = source.decoded_size
                lines.append(
                    f"{stream} {width}x{height} {source.pix_fmt} -> {cropped}{enlarged}"
                    f"{self.codec} {self.width}x{self.height} {self.pix_fmt} ({settings})"
                )
            elif stream.index in self.copied:
                new = self.copied[stream.index]
                how = f"{new}, " + ("its samples" if new == PCM else "encoded anew")
                lines.append(f"{stream} -> {how if new else 'copied'}")
            else:
                lines.append(f"{stream} -> " + ("rebuilt" if stream.rebuilt else "dropped"))
        return lines


def make_plan(
    source: Source,
    target: Path,
    *,
    scale: int,
    choice: EncoderChoice,
    deinterlace: Deinterlace = "auto",
    ivtc: bool = False,
    size: SizeChoice | None = None,
    headroom: bool = False,
    format: str | None = None,
) -> Plan:
    """Decide how ``source`` is written to ``target``, whose ending names the container.

    ``format``: of a pipe, see `container_of`.

    ``deinterlace`` and ``ivtc``: see `film_chain`. ``headroom``: of `FrameFormat`.

    Raises ``ArgumentError`` for an unknown ending, encoder or setting, and ``FormatError`` for
    pictures the core can't work on.
    """
    container = container_of(target, format)
    if target == PIPE and container == "matroska":  # these are added to a file that is whole
        source = replace(source, matroska=replace(source.matroska, chapters=b""))
    plain = container in PLAIN
    own = None if plain else own_codec(choice)
    if plain:
        codec, pix_fmt = plain_codec(container, target, PLANAR[source.layout], choice)
    else:
        codec, pix_fmt = _codec(container, source.layout, choice, own)
    stored = source.width, source.height
    input_format = replace(source.format, headroom=headroom)
    output_format = _output_format(input_format, container, codec, pix_fmt, stored)
    even = _multiples(output_format)
    final = final_size(source, size or SizeChoice(), scale=scale, multiples=even)
    width, height = _size(stored, final, scale, even)
    ratio = source.sample_aspect_ratio
    if final and ratio and not (size and size.factor):
        ratio = Fraction(1)
    turned = container in TURNED and bool(turning(source))
    if turned and source.sideways:
        width, height, ratio = height, width, 1 / ratio if ratio else ratio
    copied, dropped = copied_streams(source, container)
    filters = film_chain(source, deinterlace=deinterlace, ivtc=ivtc)
    untimed = container in ("mp4", "mov") and filters.frame_rate > _MOST_TIMECODED
    source, given = without_timecode(source) if untimed else source, source
    metadata = copied_tags(source.metadata)
    covers = {stream.index for stream in source.streams if stream.cover}
    plan = Plan(
        source=source,
        container=container,
        scale=scale,
        filters=filters,
        codec=codec,
        program=own.program if own else None,
        own_codec=own.codec if own else None,
        options={} if plain else _options(source, choice, own, codec, pix_fmt, width),
        pix_fmt=pix_fmt,
        input_format=input_format,
        output_format=output_format,
        tags=source.tags.completed(input_format, output_format, height=source.decoded_size[1]),
        size=final,
        upright=turned,
        width=width,
        height=height,
        sample_aspect_ratio=ratio,
        copied=copied,
        metadata=metadata,
        # MP4 has one place for either a cover or these.
        keys=covers.isdisjoint(copied) and need_keys(container, metadata, rate=filters.frame_rate),
        warnings=(),
    )
    lines = unmet(source.hwaccel, source.decoder) + _picture_warnings(plan, size or SizeChoice())
    lines += [*dropped, *_tag_warnings(plan)]
    if source != given:
        lines.append(f"{container} has timecodes up to {_MOST_TIMECODED} frames/s; mkv keeps it")
    return replace(plan, warnings=tuple(lines))


def _size(
    stored: tuple[int, int], final: FinalSize | None, scale: int, multiples: tuple[int, int]
) -> tuple[int, int]:
    """(width, height) of the encoded pictures."""
    if final:
        return final.width, final.height
    width, height = (-(-a * scale // b) * b for a, b in zip(stored, multiples, strict=True))
    return width, height


def _picture_warnings(plan: Plan, size: SizeChoice) -> list[str]:
    """What is changed in, or lost with, the pictures."""
    source, codec = plan.source, plan.codec
    lines = field_notes(source, plan.filters)
    lines += picture_losses(
        source,
        container=plan.container,
        codec=codec,
        pix_fmt=plan.pix_fmt,
        ratio=plan.sample_aspect_ratio,
        filters=plan.filters,
    )
    lines += plain_losses(source, plan.container)
    ranges = plan.input_format.color_range, plan.output_format.color_range
    if plan.input_format.headroom and ranges == ("limited", "full"):
        lines.append(f"{plan.pix_fmt} of full range ends at black and white: no headroom")
    if plan.pix_fmt == PALETTE:
        lines.append("gif has 256 colours a picture, and times of 1/100 s; apng keeps all")
    if plan.codec == "libx264" and max(plan.width, plan.height) > _MOST_PLAYED:
        lines.append(
            f"many players show no H.264 of {plan.width}x{plan.height}; a smaller --scale, "
            "--height 2160 or --codec libx265 is safer"
        )
    if plan.size:
        return lines + size_warnings(source, size, plan.size, scale=plan.scale)
    return lines + padding_notes(source, plan.pix_fmt, plan.enlarged, scale=plan.scale)


def _tag_warnings(plan: Plan) -> list[str]:
    """What is lost of tags, of streams and of the file, and of chapters."""
    source, container = plan.source, plan.container
    lines = matroska_losses(source, container)
    lines += label_losses(source, container=container, copied=plan.copied)
    lost = lost_tags(container, plan.metadata, rate=plan.filters.frame_rate, keys=plan.keys)
    if container in (*PLAIN, "gif", "apng"):
        lost = [*plan.metadata, *(["of chapters"] if source.chapters else [])]
    if lost:
        lines.append(f"{container} can't hold the tags {', '.join(lost)}; mkv can")
    return lines


def _codec(
    container: str, layout: str, choice: EncoderChoice, own: OwnCodec | None
) -> tuple[str, str]:
    """(encoder, its pixel format)."""
    codec = own.name if own else choice.codec or default_codec(container, PLANAR[layout])
    codec = codec if own else find_encoder(codec).name
    check_container(codec, container, writes=own.codec if own else None)
    among = own.pix_fmts if own else pix_fmts_of_profile(codec, choice)
    wanted = choice.pix_fmt
    if wanted == "auto" and container in ("mp4", "mov") and PLANAR[layout].family == "rgb":
        wanted = _PLAYED.get(codec, wanted)
    return codec, encoder_pix_fmt(codec, PLANAR[layout], wanted, among=among)


def _options(  # noqa: PLR0917
    source: Source,
    choice: EncoderChoice,
    own: OwnCodec | None,
    codec: str,
    pix_fmt: str,
    width: int,
) -> dict[str, str]:
    if own:
        return own_options(own, choice)
    return encoder_options(
        codec,
        choice,
        pix_fmt=pix_fmt,
        width=width,
        mastering_display=source.mastering_display,
        content_light=source.content_light,
        constant_rate=source.constant_rate,
    )


def _output_format(
    source: FrameFormat, container: str, codec: str, pix_fmt: str, size: tuple[int, int]
) -> FrameFormat:
    """The format of the new pictures: colour as in the source, layout of ``pix_fmt``.

    RGB turned into YUV follows the documented defaults for its size. RGB and picture files are of
    full range, and so is gray where nothing could say that it is limited; YUV is limited where
    nothing could say that it is full. Chroma lies where it will be taken to lie.
    """
    layout = PLANAR[nearest_planar(pix_fmt)]
    same = layout.family == source.family or "rgb" not in (layout.family, source.family)
    new = FrameFormat(
        family=layout.family,
        bits=layout.bits,
        subsampling=layout.subsampling,
        matrix=source.matrix if same else None,
        color_range=source.color_range if same else None,
        chroma_location=source.chroma_location if layout.subsampling != (0, 0) else None,
    ).resolved(*size)
    if container == PICTURES or new.family == "rgb":
        return replace(new, color_range="full")
    if new.family == "gray":
        limited = holds_limited_gray(container, codec)
        return new if limited else replace(new, color_range="full")
    if new.chroma_location is not None:
        place = location_in(container, codec, layout, new.chroma_location)
        new = replace(new, chroma_location=place)
    if new.matrix is not None:
        new = replace(new, matrix=matrix_in(codec, new.matrix))
    full = holds_full_range(container, codec)
    return new if full else replace(new, color_range="limited")


def _multiples(format: FrameFormat) -> tuple[int, int]:
    """Whole chroma samples: what width and height must be multiples of."""
    return 1 << format.subsampling[0], 1 << format.subsampling[1]
