"""``--compare``: the page by its markup, and in a headless Chromium where there is one."""

import base64
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lkdn_cli.image import main as image_main
from lkdn_media.report import Pair, render_report
from tests.cli.clips import Clip, make_clip
from tests.cli.media import Command, frames

NASTY = '<img src=x onerror="alert(1)">&\'.png'


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def pictures(self) -> list[NDArray[Any]]:
        sources = [str(image["src"]) for image in self.all("img")]
        assert all(source.startswith("data:image/webp;base64,") for source in sources)
        data = [base64.b64decode(source.partition(",")[2]) for source in sources]
        return [np.asarray(Image.open(BytesIO(bytes_)).convert("RGB")) for bytes_ in data]


def flat(value: int, height: int = 40, width: int = 60) -> NDArray[Any]:
    return np.full((height, width, 3), value, np.uint8)


def test_names_are_text_and_nothing_comes_from_outside() -> None:
    markup = render_report(NASTY, [(NASTY, NASTY, NASTY)], [Pair(flat(9), flat(99), NASTY)])
    page = Page(markup)
    assert page.text.count(NASTY) == 6  # title, heading, three cells, caption
    assert len(page.all("img")) == 2
    assert not page.all("link")
    assert re.findall(r"https?://|@import|url\(", markup) == []
    assert page.all("html")[0]["lang"] == "en"
    (divider,) = page.all("input")
    assert divider["type"] == "range"
    assert NASTY in str(divider["aria-label"])
    assert all(image["alt"] for image in page.all("img"))
    before, after = page.pictures()
    assert abs(int(before.mean()) - 9) <= 2
    assert abs(int(after.mean()) - 99) <= 2


def test_of_a_large_picture_the_most_detailed_part_is_shown() -> None:
    picture = flat(40, 1000, 2000)
    rng = np.random.default_rng(0)
    picture[700:900, 1500:1900] = rng.integers(0, 256, (200, 400, 3))
    page = Page(render_report("a", [], [Pair(picture, picture, "b")]))
    shown = page.pictures()[1]
    assert shown.shape == (720, 1280, 3)
    noise = np.abs(shown.astype(int) - 40).max(2) > 30
    assert noise.sum() > 0.9 * (np.abs(picture.astype(int) - 40).max(2) > 30).sum()
    assert "1280x720 of 2000x1000 pixels" in page.text


def test_a_video_and_its_page(tmp_path: Path, lkdn_video: Command) -> None:
    here, there, page = make_clip(tmp_path / "a.mkv"), tmp_path / "b.mkv", tmp_path / "c.html"
    assert lkdn_video(here, there, "--codec", "ffv1", "--compare", str(page)) == 0
    found = Page(page.read_text("utf-8"))
    pictures = found.pictures()
    assert len(pictures) == 8
    # Seven frames, four moments in their middles; nothing is lost but by WebP.
    shown = [frames(there)[i].to_ndarray(format="rgb24") for i in (0, 2, 4, 6)]
    for before, after, expected in zip(pictures[::2], pictures[1::2], shown, strict=True):
        assert before.shape == after.shape == expected.shape
        assert np.abs(after.astype(int) - expected).mean() < 4
        assert np.abs(before.astype(int) - expected).mean() < 8
    for word in ("34x26", "68x52", "libx264", "ffv1", "25 fps", "frames/s", "kB", "a.mkv", "b.mkv"):
        assert word in found.text.replace("h264", "libx264")


def test_moments_of_a_recording_are_the_same(tmp_path: Path, lkdn_video: Command) -> None:
    """Its clock does not start at 0, and seeking in it may lead too far."""
    clip = Clip(time_base=Fraction(1, 90000), pts=range(0, 40 * 3600, 3600), options={"g": "10"})
    clip = replace(clip, container_options={"output_ts_offset": "50000"})
    here, page = make_clip(tmp_path / "a.ts", clip), tmp_path / "c.html"
    assert lkdn_video(here, tmp_path / "b.mkv", "--codec", "ffv1", "--compare", str(page)) == 0
    pictures = Page(page.read_text("utf-8")).pictures()
    assert len(pictures) == 8
    for before, after in zip(pictures[::2], pictures[1::2], strict=True):
        assert np.abs(before.astype(int) - after).mean() < 8


def test_pictures_are_upright(tmp_path: Path, lkdn_video: Command) -> None:
    here, page = make_clip(tmp_path / "a.mp4", Clip(rotation=90, pts=(0,))), tmp_path / "c.html"
    assert lkdn_video(here, tmp_path / "b.mp4", "--compare", str(page)) == 0
    stored = frames(tmp_path / "b.mp4")[0].to_ndarray(format="rgb24")
    for shown in Page(page.read_text("utf-8")).pictures():
        assert np.abs(shown.astype(int) - np.rot90(stored)).mean() < 8


def test_padding_and_parts(tmp_path: Path, lkdn_video: Command) -> None:
    clip = Clip(size=(35, 27), codec="ffv1", options={}, pix_fmt="yuv420p", pts=tuple(range(9)))
    here = make_clip(tmp_path / "a.mkv", clip)
    options = ["--start", "0.12", "--compare", str(tmp_path / "c.html"), "--codec", "ffv1"]
    assert lkdn_video(here, tmp_path / "b.mkv", *options, scale=3) == 0
    pictures = Page((tmp_path / "c.html").read_text("utf-8")).pictures()
    assert {p.shape for p in pictures} == {(82, 106, 3)}
    for before, after in zip(pictures[::2], pictures[1::2], strict=True):
        assert np.abs(before.astype(int) - after).mean() < 8  # the same moment


@pytest.mark.parametrize("source", ["in", "in/%05d.png"])
def test_a_video_of_pictures_has_no_file_size(
    tmp_path: Path, lkdn_video: Command, source: str
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(5):
        pixels = np.full((20, 26, 3), 50 * number, np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"in/{number:05d}.png")
    page = tmp_path / "c.html"
    options = ["--codec", "ffv1", "--fps", "10", "--compare", str(page)]
    assert lkdn_video(tmp_path / source, tmp_path / "b.mkv", *options) == 0
    found = Page(page.read_text("utf-8"))
    assert "10 fps" in found.text
    assert re.search(r"<td></td><td>\S+ (bytes|kB)</td>", page.read_text("utf-8"))
    # Each picture is brighter than the one before.
    shown = found.pictures()
    assert [round(p.mean() / 50) for p in shown[::2]] == [0, 1, 3, 4]
    assert [round(p.mean() / 50) for p in shown[1::2]] == [0, 1, 3, 4]


def pictures(folder: Path) -> Path:
    (folder / "in").mkdir()
    ramp = Image.linear_gradient("L").resize((40, 30))
    ramp.convert("RGB").save(folder / "in" / "ramp.png")
    Image.merge("RGBA", (ramp, ramp, ramp, ramp)).save(folder / "in" / "clear.png")
    deep = np.asarray(ramp).astype(np.uint16) * 257
    Image.fromarray(deep).save(folder / "in" / "deep.png")
    return folder / "in"


def test_pictures_and_their_page(tmp_path: Path, nearest: dict[int, Path]) -> None:
    page = tmp_path / "c.html"
    options = ["--scale", "2", "--weights", str(nearest[2]), "--compare", str(page)]
    assert image_main([str(pictures(tmp_path)), str(tmp_path / "out"), *options]) == 0
    found = Page(page.read_text("utf-8"))
    shown = found.pictures()
    assert len(shown) == 6
    for before, after in zip(shown[::2], shown[1::2], strict=True):
        assert before.shape == (60, 80, 3)
        assert np.abs(before.astype(int) - after).mean() < 4
    assert "80x60 PNG" in found.text


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("there.html", "compare: there.html is there already; -y overwrites it"),
        ("page.txt", "compare: a name ending in .html is accepted, got 'page.txt'"),
    ],
)
def test_pages_that_are_refused(
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lkdn_video: Command,
    capsys: pytest.CaptureFixture[str],
    page: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    make_clip(Path("a.mkv"))
    Path("there.html").write_text("mine")
    assert lkdn_video(Path("a.mkv"), Path("b.mkv"), "--compare", page) == 2
    assert capsys.readouterr().err == f"lkdn-video: {message}\n"
    assert not Path("b.mkv").exists()


# In a browser


@contextmanager
def browser() -> Iterator[Callable[..., Any]]:
    """A headless Chromium; the function sends it a WebDriver command."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        pytest.skip("no chromium and chromedriver here (Debian: chromium, chromium-driver)")
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = None
        for line in process.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                port = found[1]
                break
        assert port, "chromedriver did not start"
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1000,900"]
        options = {"binary": chromium, "args": flags}
        root = f"http://127.0.0.1:{port}/session"

        def send(path: str, **body: Any) -> Any:
            data = json.dumps(body).encode() if body or path.endswith("click") else None
            request = urllib.request.Request(root + path, data)
            request.add_header("Content-Type", "application/json")
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]

        caps = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = send("", capabilities={"alwaysMatch": caps})["sessionId"]
        root += f"/{session}"
        yield send
        request = urllib.request.Request(root, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.slow
def test_the_slider_in_chromium(tmp_path: Path) -> None:
    """Red before, blue after: what is on the screen follows mouse and keyboard."""
    red, blue = flat(0, 300, 600), flat(0, 300, 600)
    red[..., 0], blue[..., 2] = 220, 220
    page = tmp_path / "page.html"
    page.write_text(render_report("t", [("a", "b", "c")], [Pair(red, blue, "one")] * 2))
    with browser() as send:
        send("/url", url=page.as_uri())

        def run(script: str) -> Any:
            return send("/execute/sync", script=script, args=[])

        def share_of_red() -> float:
            element = run("return document.querySelector('.stage')")
            (identity,) = element.values()
            shot = base64.b64decode(send(f"/element/{identity}/screenshot"))
            row = np.asarray(Image.open(BytesIO(shot)).convert("RGB"))[60].astype(int)
            return float((row[:, 0] > row[:, 2]).mean())

        loaded = "return [...document.images].every(i => i.complete && i.naturalWidth == 600)"
        assert run(loaded)
        assert share_of_red() == pytest.approx(0.5, abs=0.02)
        keys = [
            {"type": kind, "value": key} for key in ("\ue004",) for kind in ("keyDown", "keyUp")
        ]
        send("/actions", actions=[{"type": "key", "id": "k", "actions": keys}])
        assert run("return document.activeElement.matches('.stage input')")
        outline = "return getComputedStyle(document.querySelector('.stage')).outlineStyle"
        assert run(outline) == "solid"
        keys = [
            {"type": kind, "value": "\ue012"} for _ in range(20) for kind in ("keyDown", "keyUp")
        ]
        send("/actions", actions=[{"type": "key", "id": "k", "actions": keys}])
        assert share_of_red() == pytest.approx(0.4, abs=0.02)
        box = run("return document.querySelector('.stage').getBoundingClientRect().toJSON()")
        x, y = round(box["x"] + box["width"] * 0.8), round(box["y"] + box["height"] / 2)
        moves = [
            {"type": "pointerMove", "x": x, "y": y, "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        send("/actions", actions=[{"type": "pointer", "id": "m", "actions": moves}])
        assert share_of_red() == pytest.approx(0.8, abs=0.03)
        label = "return document.querySelector('.stage input').getAttribute('aria-valuetext')"
        assert re.fullmatch(r"(79|80|81)% bicubic", run(label))
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            command = "Emulation.setEmulatedMedia"
            send("/goog/cdp/execute", cmd=command, params={"features": features})
            colour = run("return getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", colour)[:3])) > 380) == (scheme == "light")
        assert send("/se/log", type="browser") == []
        events = [json.loads(entry["message"]) for entry in send("/se/log", type="performance")]
        asked = [
            event["message"]["params"]["request"]["url"]
            for event in events
            if event["message"]["method"] == "Network.requestWillBeSent"
        ]
        assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
