from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

import pytest

from mcp_actors.heap import GROWTH, PART, GrowthWatch, release_free_pages, resident_bytes

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


def test_the_memory_of_the_process_is_told() -> None:
    assert abs(resident_bytes() - rss()) < 16 * MIB


class Memory:
    """The memory of a process, which has so much after a release."""

    def __init__(self, resident: int) -> None:
        self.resident = self.needed = resident
        self.releases = 0

    def release(self) -> None:
        self.releases += 1
        self.resident = self.needed


def test_free_pages_are_returned_when_the_process_has_grown_since_it_had_least() -> None:
    memory = Memory(20 * MIB)
    watch = GrowthWatch(lambda: memory.resident, memory.release)
    for resident in (20 * MIB + GROWTH, 12 * MIB, 12 * MIB + GROWTH):
        memory.resident = resident
        watch.look()
        assert memory.releases == 0
    memory.resident, memory.needed = 12 * MIB + GROWTH + 1, 14 * MIB
    watch.look()
    assert memory.releases == 1
    memory.resident = 14 * MIB + GROWTH
    watch.look()
    assert memory.releases == 1


def test_a_large_process_may_grow_by_a_part_of_itself() -> None:
    memory = Memory(PART * 10 * GROWTH)
    watch = GrowthWatch(lambda: memory.resident, memory.release)
    memory.resident += 10 * GROWTH
    watch.look()
    assert memory.releases == 0
    memory.resident += 1
    watch.look()
    assert memory.releases == 1
