from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

import pytest

from mcp_actors.heap import release_free_pages

MIB = 2**20


def rss() -> int:
    return int(Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps free pages and returns them on request")
def test_pages_that_are_free_between_others_are_returned_to_the_system() -> None:
    kept: list[bytes] = []
    freed: list[bytes] = []
    for number in range(1000):
        freed.append(bytes([number % 256]) * 60_000)
        kept.append(bytes([number % 256]) * 600)  # on the same heap, so that it cannot simply shrink
    full = rss()
    freed.clear()
    release_free_pages()
    assert rss() < full - 40 * MIB
    assert len(kept) == 1000
