"""What a plan can't keep, or changes: a line each, before the work."""

from collections.abc import Collection
from fractions import Fraction
from typing import Final

from av.stream import Disposition

from lkdn_media.encoder_options import writes_captions, writes_hdr10
from lkdn_media.filters import FilterChain
from lkdn_media.formats import PLANAR, UNTAGGED, nearest_planar
from lkdn_media.frame_times import times_vary
from lkdn_media.holds import holds_alpha, shape_in
from lkdn_media.pipes import PIPE_FORMATS
from lkdn_media.source import Source
from lkdn_media.tags import copied_tags, language_in
from lkdn_media.targets import PICTURES, PLAIN
from lkdn_media.upright import TURNED, turning

__all__ = [
    "caption_losses",
    "field_notes",
    "label_losses",
    "matroska_losses",
    "padding_notes",
    "picture_losses",
    "plain_losses",
]

#: Tags of a stream that MP4 keeps, or that belong to the file they were in.
_MP4_STREAM_TAGS: Final = {
    *("language", "title", "name", "handler_name", "vendor_id", "creation_time", "timecode"),
    *("filename", "mimetype"),
}
#: What muxers of MP4 say of every stream.
_EMPTY_TAGS: Final = {
    "language": "und",
    "handler_name": "VideoHandler",
    "vendor_id": "[0][0][0][0]",
}
#: Transfers of SDR, which pictures without a tag are taken for.
_SDR: Final = (1, UNTAGGED, 6, 13, 14, 15)
_COMMON_USES: Final = (
    Disposition.default
    | Disposition.dub
    | Disposition.comment
    | Disposition.forced
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.descriptions
    | Disposition.attached_pic
)
#: Dispositions that are kept, where not all are.
_USES: Final = {
    "mov": Disposition.default | Disposition.attached_pic,
    "webm": Disposition.default | Disposition.forced,
    "mp4": _COMMON_USES | Disposition.captions,
    "matroska": _COMMON_USES | Disposition.original,
}
_WITH_ROTATION: Final = ("mp4", "mov", "matroska", "webm")
#: Pictures a second.
_GIF_MOST: Final = 100


def field_notes(source: Source, filters: FilterChain) -> list[str]:
    """What was found out about fields, and what is done about it."""
    unseen = source.ffmpeg_filter is not None and source.ffmpeg_filter.combed
    if not source.interlaced and not unseen:
        return []
    used = [step.partition("=")[0] for step in filters.steps]
    done = f"goes through {', '.join(used)}" if used else "is enlarged as if it were progressive"
    found = "flagged as interlaced"
    if source.telecined:
        found += ", two frames of five, as telecined film is"
    if unseen:
        done += "" if used else "; bwdif among the filters of --ffmpeg-vf makes it whole"
    elif "decimate" not in used:
        done += "; --ivtc restores the frames of telecined film"
    return [f"the picture is {found}, and {done}"]


def picture_losses(
    source: Source,
    *,
    container: str,
    codec: str,
    pix_fmt: str,
    ratio: Fraction | None,
    filters: FilterChain,
) -> list[str]:
    """What pictures of ``pix_fmt`` by ``codec`` lose. ``ratio``: the shape of their pixels."""
    have, new = PLANAR[source.layout], PLANAR[nearest_planar(pix_fmt)]
    shaped = ratio not in (None, 1)
    lost = {
        f"transparency is lost with {codec} in {container}; mkv, mov and webm keep it by default": (
            have.alpha and not holds_alpha(container, codec, pix_fmt)
        ),
        f"{have.bits}-bit pictures are written with {new.bits} bits": new.bits < have.bits,
        f"{source.pix_fmt} is written as {pix_fmt}, with coarser chroma": (
            have.family != "gray"
            and any(n > h for n, h in zip(new.subsampling, have.subsampling, strict=True))
        ),
        f"mastering display and content light of HDR10 are lost with {codec}; libx265, libx264 "
        "and libsvtav1 keep them": (
            bool(source.mastering_display or source.content_light) and not writes_hdr10(codec)
        ),
        f"pixels shaped {ratio} are written as square ones with {codec} in {container}; mkv and "
        "mp4 keep them": shaped and shape_in(container, codec) is None,
        f"pixels shaped {ratio} are shown as square ones in stereo 3D in {container}; mp4 keeps "
        "them": shaped and _keeps_stereo(source, container),
        f"rotation or mirroring is lost in {container}; mkv and mp4 keep it, and --ffmpeg-vf "
        f"{turning(source)} makes up for it": (
            container not in (*_WITH_ROTATION, *TURNED) and bool(turning(source))
        ),
        f"gif shows {_GIF_MOST} pictures a second at most, so {float(filters.frame_rate):g} play "
        "slower; apng keeps them": container == "gif" and filters.frame_rate > _GIF_MOST,
        f"stereo 3D is not kept in {container}": source.stereo
        and not _keeps_stereo(source, container),
    } | {f"{name} can't be kept": True for name in source.unkept}
    lines = caption_losses(codec, filters) if source.captions else []
    return lines + [text for text, true in lost.items() if true]


def matroska_losses(source: Source, container: str) -> list[str]:
    """What is lost of the tags, tracks and chapters of Matroska that FFmpeg does not read."""
    head = source.matroska
    lines = [f"{name} can't be kept" for name in head.unkept]
    fields = [source.own_fields(stream.index, container) for stream in source.streams]
    for names, movable, kept in (
        (head.unread_tracks, head.tracks, any(fields)),
        (head.unread_chapters, head.chapters, source.own_chapters(container)),
    ):
        if kept:
            continue
        if movable and container != "matroska":
            lines += [f"{container} can't hold {name}; mkv can" for name in names]
        else:
            part = " in a part" if movable else ""
            lines += [f"{name} can't be kept{part}" for name in names]
    return lines


def caption_losses(codec: str, filters: FilterChain) -> list[str]:
    """What closed captions inside the pictures, where there are some, lose with ``codec``."""
    if not writes_captions(codec):
        return [
            f"closed captions inside the pictures are lost with {codec}; libx264, libx265 and "
            "mpeg2video keep them"
        ]
    left_out = "closed captions of the frames that --ivtc leaves out are lost; without it all are "
    return [f"{left_out}kept"] if filters.drops else []


def plain_losses(source: Source, container: str) -> list[str]:
    """What is lost where pictures are all there is: colour tags, and times that vary."""
    if container not in (*PLAIN, "gif"):
        return []
    tags = source.tags
    names = {
        "primaries": tags.primaries not in (UNTAGGED, 1),
        "transfer": tags.transfer not in _SDR,
    }
    if container not in (PICTURES, "gif"):  # those are RGB of full range
        names = {
            "primaries": tags.primaries != UNTAGGED,
            "transfer": tags.transfer != UNTAGGED,
            "matrix": tags.matrix != UNTAGGED,
            "color_range": tags.color_range != 0 and container == PIPE_FORMATS["rawvideo"],
        }
    lost = [f"{name} {getattr(tags, name)}" for name, true in names.items() if true]
    holder = "picture files have" if container == PICTURES else f"{container} has"
    colour = f"{holder} no place for the colour tags {', '.join(lost)}; mkv has"
    times = f"{holder} a frame rate only, and the times of the frames vary; mkv keeps them"
    timed = container not in PLAIN  # in hundredths of a second, which is said elsewhere
    return [colour] * bool(lost) + [times] * (not timed and times_vary(source))


def label_losses(source: Source, *, container: str, copied: Collection[int]) -> list[str]:
    """Tags and dispositions of streams that ``container`` has no place for."""
    kept = _USES.get(container, ~Disposition(0))
    uses = [i for i in source.streams if i.index in copied and i.disposition & ~kept]
    lines = []
    if uses:
        mkv = not any(info.disposition & ~_USES["matroska"] for info in uses)
        named = ", ".join(f"#{info.index}" for info in uses)
        able = "; mkv can" if mkv else ""
        lines.append(f"{container} can't hold the dispositions of {named}{able}")
    if container not in ("mp4", "mov"):
        return lines + _lost_stream_tags(source, container, copied)
    tags = [
        f"{name} of #{info.index}"
        for info in source.streams
        for name in copied_tags(info.tags)
        if (info.index in copied and name.lower() not in _MP4_STREAM_TAGS)
        or (info.index == source.video and name == "reel_name" and container == "mp4")
    ]
    tags += [
        f"language {language} of #{info.index}"
        for info in source.streams
        if info.index in copied or info.index == source.video
        if (language := info.tags.get("language")) and not language_in(container, language)
    ]
    lost = [f"{container} can't hold the tags {', '.join(tags)}; mkv can"] if tags else []
    return lost + lines


def _lost_stream_tags(source: Source, container: str, copied: Collection[int]) -> list[str]:
    """Matroska's muxer leaves out one tag; where there are only pictures all are lost."""
    matroska = container in ("matroska", "webm")
    lost = [
        f"{name} of #{info.index}"
        for info in source.streams
        for name, value in copied_tags(info.tags).items()
        if (info.index in copied or info.index == source.video)
        and (name.lower() == "creation_time" or not matroska)
        and _EMPTY_TAGS.get(name) != value
    ]
    other = "mp4" if matroska else "mkv"
    return [f"{container} can't hold the tags {', '.join(lost)}; {other} can"] if lost else []


def _keeps_stereo(source: Source, container: str) -> bool:
    """Matroska has it as a tag; what MP4 has can't be written."""
    return "stereo_mode" in source.stream.tags and container in ("matroska", "webm")


def padding_notes(source: Source, pix_fmt: str, size: tuple[int, int], *, scale: int) -> list[str]:
    """Say where whole samples of chroma make the picture larger than it was asked for."""
    width, height = source.width * scale, source.height * scale
    if size == (width, height):
        return []
    log_w, log_h = PLANAR[nearest_planar(pix_fmt)].subsampling
    needs = "even sizes" if max(log_w, log_h) < 2 else f"multiples of {1 << log_w}x{1 << log_h}"
    return [
        f"{width}x{height} is padded to {size[0]}x{size[1]} by repeating the edge, since "
        f"{pix_fmt} needs {needs}; --pix-fmt yuv444p keeps the size"
    ]
