"""The memory of a process, and that of the kernel for TCP sockets."""

from __future__ import annotations

import resource
import threading
from contextlib import suppress
from typing import Self

from bench.accounting import PROC

SAMPLE_EVERY = 0.02


class Peak:
    """Samples memory in bytes while the context lasts: the most of one process, and of all TCP sockets together.

    The kernel does not tell which process its memory is for, so nothing else should use the network meanwhile. Of the
    attackers' own sockets it holds what they have not read.
    """

    def __init__(self, pid: int) -> None:
        self.process = self.kernel = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            while not self._ended.wait(SAMPLE_EVERY):
                self._sample()

    def _sample(self) -> None:
        self.process = max(self.process, rss_bytes(self._pid))
        self.kernel = max(self.kernel, kernel_bytes())


def rss_bytes(pid: int) -> int:
    """Return the resident memory of one process. Reads statm, which is cheap enough not to disturb the measurement."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * resource.getpagesize()


def kernel_bytes() -> int:
    """Return the memory of all TCP sockets of this machine; 0 if the system does not tell."""
    try:
        lines = (PROC / "net" / "sockstat").read_text().splitlines()
    except FileNotFoundError:
        return 0
    words = next(line for line in lines if line.startswith("TCP:")).split()
    return int(words[words.index("mem") + 1]) * resource.getpagesize()
