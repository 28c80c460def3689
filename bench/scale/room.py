"""One room that many join at once, each with a kilobyte of metadata.

A reply to a join has all members, and each member is told of each later one. So the metadata of each is sent to each,
and what a pair of members costs should not depend on how many there are.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench.accounting import Window
from bench.client import Client, close_all, connect
from bench.dialects import Peers
from bench.figures import MIB
from bench.runner import LoadError
from bench.scale.probe import Probe

if TYPE_CHECKING:
    from bench.plan import Outcome

METADATA = {"about": "x" * 1000}
PATIENCE = 60.0
"""Seconds in which all must have heard of all."""


class Described(Peers):
    """Peers with metadata."""

    def opening(self, room: str, member: str) -> list[bytes]:
        """See `Dialect`."""
        payload = {"peer_id": member, "metadata": METADATA}
        return [json.dumps({"type": "join", "room": room, "payload": payload}).encode()]


class Member(Client):
    """Counts the members that it has been told of, itself included, and the bytes of that."""

    known = size = 0

    def _read(self, frame: bytes) -> None:
        self.size += len(frame)
        if b'"joined"' in frame[:200] or b'"peer-joined"' in frame[:200]:
            self.known += frame.count(b'"about"')
        super()._read(frame)


async def measure(url: str, server: int, count: int, _seconds: float) -> Outcome:
    """Let so many join at once. Raises `LoadError`."""
    probe = Probe(url)
    await probe.started()
    clients = [Member(Described(), "big", f"member-{index:04d}", index) for index in range(count)]
    window, before = Window(server), peak_bytes(server)
    window.begin()
    began = time.monotonic()
    await asyncio.gather(*(connect(url, Described(), client) for client in clients))
    joined = time.monotonic() - began
    await _all_told(clients)
    told = time.monotonic() - began
    pairs = count * count / 2
    outcome = window.end(
        round(pairs),
        joined_ms=joined * 1000,
        told_ms=told * 1000,
        sent_mib=sum(client.size for client in clients) / MIB,
        peak_mib=(peak_bytes(server) - before) / MIB,
    )
    latency = await probe.latency()
    close_all(clients)
    each = {"cpu_us_per_pair": outcome.cpu_us, "told_us_per_pair": told * 1e6 / pairs}
    return replace(outcome, extra=outcome.extra | each | {"room_p50_us": latency.p50, "room_max_us": latency.max})


async def _all_told(clients: list[Member]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(client.known >= len(clients) for client in clients):
        if time.monotonic() > deadline:
            raise LoadError(f"not all {len(clients)} members were told of all within {PATIENCE:.0f} s")
        await asyncio.sleep(0.01)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
