"""Geometric self-ensemble: the mean of what a network makes of a picture in several positions.

Lim et al., *Enhanced Deep Residual Networks for Single Image Super-Resolution*, CVPRW 2017, section
4.3; other programs call it test-time augmentation, TTA.
"""

from typing import Final

from torch import Tensor

from lkdn_core.backends import Network
from lkdn_core.progress import Work

__all__ = ["POSITIONS", "SelfEnsemble"]

#: How many positions can be asked for.
POSITIONS: Final = (1, 2, 4, 8)

#: Dimensions that are mirrored, then whether rows and columns change places. Those that keep the
#: shape come first, so that up to four positions need one CUDA graph only.
_ALL: Final[list[tuple[tuple[int, ...], bool]]] = [
    (mirrored, swapped) for swapped in (False, True) for mirrored in ((), (2, 3), (2,), (3,))
]


class SelfEnsemble:
    """A `Network` that runs ``network`` on ``positions`` of each picture and takes the mean.

    ``positions``: 2 (as it is, and turned by half a turn), 4 (all mirrorings) or 8 (these with rows
    and columns swapped too). Time grows as they do. ``scale``: the network's.
    """

    def __init__(self, network: Network, positions: int, scale: int) -> None:
        self._network, self._positions, self._scale = network, _ALL[:positions], scale
        self.dtype, self.memory_format = network.dtype, network.memory_format

    def __call__(self, x: Tensor, out: Tensor, work: Work | None = None) -> None:
        """See `Network`."""
        self._network(x, out, work)
        for mirrored, swapped in self._positions[1:]:
            if work is not None and work.stopped:
                return
            turned = _swapped(_mirrored(x, mirrored), swapped)
            part = out.new_empty(_swapped(out, swapped).shape)
            self._network(turned.contiguous(memory_format=self.memory_format), part, work)
            out += _mirrored(_swapped(part, swapped), mirrored)
        out /= len(self._positions)

    def bytes_for(self, height: int, width: int) -> int:
        """See `Network`. A picture turned, its result, and that turned back come on top."""
        own = 3 * height * width * (self.dtype.itemsize + 2 * 4 * self._scale**2)
        runs = [self._network.bytes_for(height, width)]
        if any(swapped for _, swapped in self._positions):
            runs.append(self._network.bytes_for(width, height))
        return own + max(runs)

    def release(self) -> None:
        """See `Network`."""
        self._network.release()


def _mirrored(x: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    return x.flip(dimensions) if dimensions else x  # which would copy it all the same


def _swapped(x: Tensor, swapped: bool) -> Tensor:
    return x.mT if swapped else x
