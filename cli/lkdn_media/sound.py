"""Sound that the new file takes as plain samples only."""

from typing import Any

import av
from av.container import OutputContainer

__all__ = ["Samples"]


class Samples:
    """Makes PCM of ``stream``, which goes into ``stream`` of its own, in ``out``.

    Nothing is lost where the codec is one of whole numbers; what it rounds itself gets 16 bits.
    """

    def __init__(self, stream: av.AudioStream, out: OutputContainer) -> None:
        self._decoder = decoder = stream.codec_context
        codec = "pcm_s24le" if decoder.format.packed.name == "s32" else "pcm_s16le"
        new = out.add_stream(codec, rate=decoder.sample_rate, layout=decoder.layout)
        assert isinstance(new, av.AudioStream)
        self.stream = new

    def packets(self, packet: "av.Packet[Any]") -> "list[av.Packet[Any]]":
        """What becomes of ``packet``; nothing of a damaged one. An empty one is the end."""
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError:
            return []
        return [new for frame in frames for new in self.stream.encode(frame)]
