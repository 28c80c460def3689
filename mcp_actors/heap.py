"""The heap of the C library, which keeps what was freed between other blocks until it is asked to return it."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


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
