"""Filters of libavfilter between the decoder and the network."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby, pairwise, tee
from operator import itemgetter
from typing import Final, Literal

import av
from av.filter import Graph

from lkdn_core.errors import ArgumentError, LKDNError
from lkdn_media.formats import nearest_planar, repacked
from lkdn_media.source import Source

__all__ = ["Deinterlace", "FilterChain", "film_chain"]

Deinterlace = Literal["auto", "bwdif", "off"]
_Pair = tuple[av.VideoFrame, av.VideoFrame]
#: Five frames of telecined film are four of film; a quarter of a tick can tell their times.
_FILM: Final = Fraction(4, 5)
#: Quarters of a frame's time that one of film lasts: evenly, or with a field repeated.
_LONGER: Final = (5, 6)


@dataclass(frozen=True, slots=True)
class FilterChain:
    """Filters, in FFmpeg's notation one by one, and what goes in and comes out of them.

    ``steps``: such as ``"bwdif=deint=interlaced"``; none leaves frames as they are. ``input_rate``:
    frames a second that go in. ``time_base`` and ``frame_rate``: of the frames that come out.
    ``waits``: frames before the first that is flagged as interlaced are left as they are.
    """

    steps: tuple[str, ...]
    input_rate: Fraction
    time_base: Fraction
    frame_rate: Fraction
    waits: bool = False

    @property
    def drops(self) -> bool:
        """Whether some frames are left out, counted from the first one."""
        return any(step.startswith("decimate") for step in self.steps)

    def apply(self, frames: Iterable[av.VideoFrame]) -> Iterator[_Pair]:
        """Run ``frames`` through the filters.

        Gives pairs: a frame that comes out, in the planar format (`nearest_planar`) of ``frames``,
        and the one of these it takes the place of, which alone has its own closed captions:
        filters deal them out anew. Raises ``LKDNError`` where a filter can't work on them.
        """
        if self.waits or not self.steps:
            rest = iter(frames)
            for frame in rest:
                if self.waits and frame.interlaced_frame:
                    yield from self._filtered(chain([frame], rest))
                else:
                    yield frame, frame
        elif not self.drops:
            yield from self._filtered(frames)
        else:
            for film, run in groupby(_film_or_not(frames, self.input_rate), key=itemgetter(0)):
                same = (frame for _, frame in run)
                yield from self._evenly(same) if film else self._filtered(same)

    def _filtered(self, frames: Iterable[av.VideoFrame]) -> Iterator[_Pair]:
        graph, inside = None, dict[int, av.VideoFrame]()
        for number, frame in enumerate(frames):
            if graph is None:
                graph = _graph(self.steps, frame, self.input_rate)
                layout = nearest_planar(frame.format.name)
            inside[number] = frame
            unpacked = repacked(frame, layout)
            unpacked.opaque = number  # filters hand it on
            graph.vpush(unpacked)
            yield from self._pull(graph, inside)
        if graph is not None:
            graph.vpush(None)
            yield from self._pull(graph, inside)

    def _evenly(self, frames: Iterable[av.VideoFrame]) -> Iterator[_Pair]:
        """``frames`` of film, at the times that it had before fields were repeated."""
        step, due = 1 / self.frame_rate, None
        for frame in frames:
            plain = repacked(frame, nearest_planar(frame.format.name))
            if frame.pts is not None:
                time = frame.pts * frame.time_base
                due = time if due is None or abs(due + step - time) > step else due + step
                plain.pts = round(due / self.time_base)
            plain.duration, plain.time_base = round(step / self.time_base), self.time_base
            yield plain, frame

    def _pull(self, graph: Graph, inside: dict[int, av.VideoFrame]) -> Iterator[_Pair]:
        """What is ready, each with what it was made of, which is taken out of ``inside``."""
        while True:
            try:
                frame = graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            number = frame.opaque
            assert isinstance(number, int)
            decoded = inside[number]
            for done in [n for n in inside if n <= number]:  # some may be left out
                del inside[done]
            base = frame.time_base
            if frame.pts is not None:
                frame.pts = round(frame.pts * base / self.time_base)
            frame.duration = round(frame.duration * base / self.time_base)
            frame.time_base = self.time_base
            yield frame, decoded


def film_chain(source: Source, *, deinterlace: Deinterlace, ivtc: bool) -> FilterChain:
    """The filters that make whole pictures of the fields of ``source``.

    ``"auto"`` works on frames flagged as interlaced where the file has, or may have, such;
    ``"bwdif"`` on all.
    Both keep number, times and order of the frames. ``ivtc`` undoes telecine: fields are matched
    and every fifth frame, a repeated one, is left out; frames whose fields only the player is to
    repeat all stay. Raises ``ArgumentError`` for both at once.
    """
    if ivtc and deinterlace == "bwdif":
        raise ArgumentError("ivtc: makes whole pictures itself, got --deinterlace bwdif too")
    base, rate = source.time_base, source.frame_rate
    if ivtc:
        # What matching leaves combed was no film, and is deinterlaced.
        steps = ("fieldmatch=combmatch=full", "bwdif=mode=send_frame:deint=interlaced", "decimate")
        return FilterChain(steps, source.nominal_rate, base / 4, source.nominal_rate * _FILM)
    if deinterlace == "bwdif":
        return FilterChain(("bwdif=mode=send_frame",), rate, base, rate)
    if deinterlace == "auto" and (source.interlaced or source.may_turn_interlaced):
        flagged = ("bwdif=mode=send_frame:deint=interlaced",)
        return FilterChain(flagged, rate, base, rate, waits=not source.interlaced)
    return FilterChain((), rate, base, rate)


def _film_or_not(
    frames: Iterable[av.VideoFrame], rate: Fraction
) -> Iterator[tuple[bool, av.VideoFrame]]:
    """Before each of ``frames``, ``rate`` a second: whether it is one of film, stored as it was.

    Most DVDs have it so, and the player repeats a field of every other frame, which lasts longer.
    """
    before = False
    for (frame, longer), following in _with_next(_longer_or_not(frames, rate)):
        after = following is not None and following[1]
        yield (before or longer or after) and not frame.interlaced_frame, frame
        before = longer


def _longer_or_not(
    frames: Iterable[av.VideoFrame], rate: Fraction
) -> Iterator[tuple[av.VideoFrame, bool]]:
    for frame, following in _with_next(frames):
        time = frame.duration  # Matroska may have the usual one
        if following is not None and following.pts is not None and frame.pts is not None:
            time = following.pts - frame.pts
        yield frame, round(4 * time * frame.time_base * rate) in _LONGER


def _with_next[T](items: Iterable[T]) -> Iterator[tuple[T, T | None]]:
    ahead, behind = tee(items)
    next(ahead, None)
    yield from zip(behind, chain(ahead, [None]), strict=True)


def _graph(steps: Iterable[str], frame: av.VideoFrame, rate: Fraction) -> Graph:
    graph, base = Graph(), frame.time_base
    layout = nearest_planar(frame.format.name)
    refusal = f"filters {', '.join(steps)}: can't work on {frame.format.name}"
    nodes = [
        graph.add(
            "buffer",
            width=str(frame.width),
            height=str(frame.height),
            pix_fmt=layout,
            time_base=f"{base.num}/{base.den}",
            frame_rate=f"{rate.numerator}/{rate.denominator}",
            colorspace=str(frame.colorspace),
            range=str(frame.color_range),
        )
    ]
    try:
        for step in steps:
            name, _, settings = step.partition("=")
            nodes.append(graph.add(name, settings or None))
        nodes += [graph.add("format", layout), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
    except (av.FFmpegError, ValueError) as error:
        raise LKDNError(refusal) from error
    # Where a filter doesn't know the layout, a conversion has come between: colours would suffer.
    for node, following in pairwise(nodes):
        pad = node.outputs[0].linked
        if pad is None or pad.context.name != following.name:
            raise LKDNError(refusal)
    return graph
