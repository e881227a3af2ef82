"""How finely videos were compressed, whatever wrote them."""

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Final

import av
import pytest

from lkdn_media.fineness import fineness
from lkdn_media.probe import probe

FLOWER: Final = Path(__file__).parents[2] / "samples" / "flower.mp4"


def measured(path: Path, codec: str, pix_fmt: str = "yuv420p", **options: str) -> float:
    """The fineness of a piece of the sample, compressed by ``codec``."""
    with av.open(str(FLOWER)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 240, 134, pix_fmt
        for number, frame in enumerate(islice(source.decode(video=0), 7)):
            picture = frame.reformat(format=pix_fmt)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    found = fineness(probe(path))
    assert found is not None
    return found


def test_falls_with_the_quantiser_of_any_codec(tmp_path: Path) -> None:
    def by(name: str, values: tuple[int, ...]) -> list[dict[str, str]]:
        return [{name: str(value)} for value in values]

    x265 = {"x265-params": "log-level=none:pools=none:frame-threads=1"}
    kinds = {
        ("a.mkv", "libx264"): by("crf", (12, 20, 34)),
        ("a.mp4", "libx265"): [x265 | o for o in by("crf", (8, 17, 30))],
        ("a.webm", "libvpx-vp9"): [{"b": "0", "cpu-used": "8"} | o for o in by("crf", (9, 30, 50))],
        ("a.mpg", "mpeg2video"): [{"qmin": str(q), "qmax": str(q)} for q in (2, 5, 12)],
        ("a.avi", "mjpeg"): [{"qmin": str(q), "qmax": str(q)} for q in (2, 5, 24)],
    }
    for (name, codec), settings in kinds.items():
        pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        fine, middle, coarse = (
            measured(tmp_path / name, codec, pix_fmt, **options) for options in settings
        )
        assert 1.5 < fine < 4, name
        assert 0.8 < middle < 1.5, name
        assert 0.3 < coarse < 0.8, name


def test_is_the_same_in_any_container(tmp_path: Path) -> None:
    options = {"crf": "23", "x264-params": "mbtree=0:keyint=2"}
    names = ("a.mkv", "a.mp4", "a.ts", "a.avi")
    first, *others = (measured(tmp_path / name, "libx264", **options) for name in names)
    assert others == pytest.approx([first] * len(others), rel=0.1)


def test_a_damaged_keyframe_does_not_count(tmp_path: Path) -> None:
    options = {"crf": "23", "x264-params": "mbtree=0:keyint=2"}
    path = tmp_path / "a.ts"
    whole = measured(path, "libx264", **options)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    assert fineness(probe(path)) == pytest.approx(whole, rel=0.2)
