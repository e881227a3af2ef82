"""What a run may take on a device, and what shortages of memory leave of that."""

import logging
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

import torch

from lkdn_core.errors import OutOfMemoryError
from lkdn_core.memory import working_budget

__all__ = ["MIN_TILE", "Limits", "Room"]

log = logging.getLogger(__name__)
#: Tiles get no smaller than this side, which is tried whatever memory seems to be free.
MIN_TILE: Final = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """``budget``: bytes that the network's maps may take. ``tile``: its side, 0 for any."""

    budget: int
    tile: int


class Room:
    """The limits of an engine on ``device``, shared by its threads; ``tile`` as the user wants."""

    def __init__(self, device: torch.device, tile: int) -> None:
        self._device, self._tile, self._lock = device, tile, Lock()
        self.limits = Limits(working_budget(device), tile)

    def lower(self, begun: Limits, tried: int, *, least: int, several: bool) -> None:
        """After a run that ``begun`` with those limits had no room: half its bytes, or its tile.

        ``tried``: bytes of its frames untiled, ``least``: of one in the smallest tiles;
        ``several``: there was more than one. Limits that another thread's failure has lowered since
        stay. Raises ``OutOfMemoryError`` when nothing is left to halve, and changes nothing then:
        another picture may have room.
        """
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        with self._lock:
            now = self.limits
            if now != begun:
                return
            most = min(now.budget, tried)
            if several or (not now.tile and most > least):
                self.limits = replace(now, budget=most // 2)
                log.warning("out of memory: going on with %d MiB", self.limits.budget // 2**20)
            elif now.tile >= 2 * MIN_TILE:
                self.limits = replace(now, tile=now.tile // 2)
                log.warning("out of memory: going on with tile=%d", self.limits.tile)
            else:
                size = f"{now.tile or MIN_TILE} pixels"
                raise OutOfMemoryError(f"{self._device} has no room for a tile of {size}")

    def renew(self) -> None:
        """Forget shortages: memory may be free again."""
        with self._lock:
            budget = max(self.limits.budget, working_budget(self._device))
            self.limits = Limits(budget, self._tile)
