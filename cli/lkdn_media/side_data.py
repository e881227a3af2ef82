"""What decoded frames carry beside their samples, read and changed with libavfilter's help."""

from fractions import Fraction
from typing import Final

import av
from av.filter import Graph
from av.sidedata.sidedata import Type as SideData

__all__ = [
    "DOLBY_VISION",
    "TIMECODE",
    "has_captions",
    "has_hdr10",
    "has_profile",
    "may_have_fields",
    "progressive",
    "readable",
    "unfielded",
    "unkept_in",
]

#: What is lost of Dolby Vision, which a container may announce.
DOLBY_VISION: Final = "Dolby Vision metadata"
TIMECODE: Final = "the timecode inside the pictures"
#: Side data of pictures that no output has.
_UNKEPT: Final = {
    SideData.SPHERICAL: "the spherical projection",
    SideData.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    SideData.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    SideData.DOVI_METADATA: DOLBY_VISION,
    SideData.AMBIENT_VIEWING_ENVIRONMENT: "the light that HDR pictures are made to be watched in",
    SideData.AFD: "the active format description, which says what part of the picture is bars,",
    SideData.S12M_TIMECODE: TIMECODE,
}
_HDR10: Final = (SideData.MASTERING_DISPLAY_METADATA, SideData.CONTENT_LIGHT_LEVEL)
#: Decoders that give a colour profile its name, which PyAV 19 frees once too often: to look at
#: `side_data` of such a frame at all kills the process.
_NAME_PROFILES: Final = {"apng", "png"}
#: Decoders whose "interlaced" pictures have no two fields to take apart: Adam7 is an order of
#: storing pixels, and HEVC's are single fields.
_WHOLE: Final = {"apng", "hevc", "png"}


def has_captions(frame: av.VideoFrame, decoder: str) -> bool:
    """Whether ``frame``, made by ``decoder``, carries closed captions (ATSC A/53)."""
    return decoder not in _NAME_PROFILES and SideData.A53_CC in frame.side_data


def has_hdr10(frame: av.VideoFrame, decoder: str) -> bool:
    """Whether ``frame``, made by ``decoder``, tells of its mastering display or content light."""
    return decoder not in _NAME_PROFILES and any(kind in frame.side_data for kind in _HDR10)


def unkept_in(frame: av.VideoFrame, decoder: str) -> list[str]:
    """Names of what ``frame``, made by ``decoder``, carries and no output has."""
    if decoder in _NAME_PROFILES:
        return []
    return [name for kind, name in _UNKEPT.items() if kind in frame.side_data]


def has_profile(frame: av.VideoFrame, decoder: str) -> bool:
    """Whether ``frame``, made by ``decoder``, carries an ICC colour profile."""
    if decoder not in _NAME_PROFILES:
        return SideData.ICC_PROFILE in frame.side_data
    return _through(frame, "sidedata", "mode=select:type=ICC_PROFILE") is not None


def readable(frame: av.VideoFrame, decoder: str) -> av.VideoFrame:
    """``frame``, made by ``decoder``, as its ``side_data`` may be looked at: without a profile."""
    if decoder not in _NAME_PROFILES:
        return frame
    plain = _through(frame, "sidedata", "mode=delete:type=ICC_PROFILE")
    assert plain is not None
    return plain


def may_have_fields(decoder: str) -> bool:
    """Whether pictures made by ``decoder`` and flagged as interlaced have two fields."""
    return decoder not in _WHOLE


def unfielded(frame: av.VideoFrame, decoder: str) -> av.VideoFrame:
    """``frame``, made by ``decoder``, flagged as interlaced only if it may have fields."""
    return frame if may_have_fields(decoder) else progressive(frame)


def progressive(frame: av.VideoFrame) -> av.VideoFrame:
    """``frame`` without the flag that says it is interlaced, which PyAV can only read."""
    if not frame.interlaced_frame:
        return frame
    whole = _through(frame, "setfield", "prog")
    assert whole is not None
    return whole


def _through(frame: av.VideoFrame, filter: str, settings: str) -> av.VideoFrame | None:
    """What ``filter`` makes of ``frame``, whose samples are not copied; ``None`` for nothing."""
    graph, base = Graph(), frame.time_base or Fraction(1, 25)
    graph.threads = 1  # else each frame makes a pool of them and ends it
    buffer = graph.add(
        "buffer",
        width=str(frame.width),
        height=str(frame.height),
        pix_fmt=frame.format.name,
        time_base=f"{base.numerator}/{base.denominator}",
        colorspace=str(int(frame.colorspace)),
        range=str(int(frame.color_range)),
    )
    graph.link_nodes(
        buffer,
        graph.add(filter, settings),
        graph.add("buffersink"),
    ).configure()
    graph.vpush(frame)
    graph.vpush(None)
    try:
        return graph.vpull()
    except av.EOFError:
        return None
