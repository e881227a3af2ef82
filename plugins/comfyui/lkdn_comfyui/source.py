"""The file behind a VIDEO, whatever a graph has done with it."""

import inspect
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from lkdn_comfyui.clip import write_clip
from lkdn_comfyui.video import Window
from lkdn_core.errors import ArgumentError
from lkdn_media.demux import main_video, open_media
from lkdn_media.encoder_choice import EncoderChoice

__all__ = ["VideoFile", "source_file"]


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A file to be enlarged, and the part of it that counts.

    ``origin``: the file that the graph began with, ``path`` or an earlier one; ``None`` where the
    frames are the graph's. ``choice``: how its like is encoded.
    """

    path: Path
    origin: Path | None
    window: Window = field(default_factory=Window)
    choice: EncoderChoice = field(default_factory=EncoderChoice)


@contextmanager
def source_file(
    video: Any, folder: Path, *, made_of_frames: bool, progress: Callable[[], object]
) -> Iterator[VideoFile]:
    """The file behind ``video``.

    ``made_of_frames``: the graph made it, so there is no file yet; ``progress`` is called before
    each frame is stored, and what it raises ends the work. Files made here lie in ``folder`` and
    are gone afterwards. Raises ``LKDNError``.
    """
    with tempfile.TemporaryDirectory(prefix="lkdn-", dir=folder) as made:
        if made_of_frames:
            path = Path(made) / "frames.mp4"
            yield VideoFile(path, None, choice=_write_components(video, path, progress))
            return
        source = video.get_stream_source()
        if isinstance(source, BytesIO):
            path = Path(made) / "source"
            with path.open("wb") as file:
                shutil.copyfileobj(source, file)
        else:
            path = Path(source)
        with open_media(path) as media:
            main_video(media, path)  # which there has to be
            stream = media.streams.video[0]  # a cover, at times; ComfyUI tells its size
            size = stream.width, stream.height
        # Versions that can't tell have no edits that keep the size.
        edited = getattr(video, "has_pending_frame_edits", lambda: False)()
        if not edited and sorted(video.get_dimensions()) == sorted(size):
            yield VideoFile(path, path, Window(*_trim_window(video)))
            return
        # Cropped or resized in the graph, not in the file: ComfyUI writes what is meant.
        changed, choice = Path(made) / "changed.mp4", EncoderChoice()
        if "crf" in inspect.signature(video.save_to).parameters:
            video.save_to(str(changed), crf=0)  # as good as without loss, frame by frame
        else:
            choice = _write_components(video, changed, progress)
        yield VideoFile(changed, path, choice=choice)


def _write_components(video: Any, path: Path, progress: Callable[[], object]) -> EncoderChoice:
    parts = video.get_components()
    sound = None
    if parts.audio:
        waveform = parts.audio["waveform"]
        if waveform.ndim != 3 or not all(waveform.shape[:2]):
            shape = tuple(waveform.shape)
            raise ArgumentError(f"audio: a waveform (B, C, T) is accepted, got {shape}")
        sound = waveform[0], int(parts.audio["sample_rate"])
    known = getattr(video, "get_color_space", lambda: "auto")  # not in older versions
    write_clip(path, parts.images, parts.frame_rate, sound, color_space=known(), progress=progress)
    deep = getattr(video, "get_bit_depth", lambda: 8)() > 8
    return EncoderChoice(codec="libx264", pix_fmt="yuv420p10le" if deep else "yuv420p")


def _trim_window(video: Any) -> tuple[float, float]:
    known = getattr(video, "get_active_trim_window", None)
    if known is not None:
        start, duration = known()
        return start, duration
    # Versions that could trim before there was a way to ask.
    start = getattr(video, "_VideoFromFile__start_time", 0.0)
    if start < 0:
        start = max(0.0, video._get_raw_duration() + start)
    return start, getattr(video, "_VideoFromFile__duration", 0.0)
