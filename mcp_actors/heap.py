"""The heap of the C library, which keeps what was freed between other blocks until it is asked to return it."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY = 0.5
"""Seconds between measurements of the memory that the process has."""

GROWTH = 4 * 2**20
"""Bytes by which the process may grow before its free pages are returned."""

PART = 16
"""A process may grow by this part of its least size (1/16) if that is more than `GROWTH`."""

STATM = Path("/proc/self/statm")


def _find_trim() -> Callable[[int], object] | None:
    """Return `malloc_trim` of glibc; other C libraries have none."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return found


_trim = _find_trim()


def release_free_pages() -> None:
    """Return free pages to the system, in an eighth of a millisecond for each MiB, if the C library can."""
    if _trim is not None:
        _trim(0)


def resident_bytes() -> int:
    """Return the memory that the process has; 0 if the system does not tell."""
    try:
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


class GrowthWatch:
    """Releases free pages when the process has grown.

    Requests that were refused and connections that were reset leave free pages between blocks that are in use. Much of
    the next request does not fit there, so that the process would grow with each kind of request.
    """

    def __init__(
        self, resident: Callable[[], int] = resident_bytes, release: Callable[[], None] = release_free_pages
    ) -> None:
        self._resident = resident
        self._release = release
        self._least = resident()

    async def run(self) -> None:
        """Look every `LOOK_EVERY` seconds, without end."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Release free pages if the process has grown from its least size."""
        found = self._resident()
        if found > self._least + max(GROWTH, self._least // PART):
            self._release()
            self._least = self._resident()
        else:
            self._least = min(self._least, found)
