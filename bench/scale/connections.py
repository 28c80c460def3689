"""Many joined connections that send nothing, four to a room.

How long it takes to accept them, their memory in the server and in the kernel, the CPU of their heartbeats, and the
latency of signals of others meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bench.accounting import Window, cpu_ns, rss_bytes
from bench.client import Client, close_all, connect
from bench.dialects import DIALECTS
from bench.scale.probe import Probe
from bench.scenarios.idle import HEARTBEAT, WARM_UP_CLIENTS, crowd

if TYPE_CHECKING:
    from bench.plan import Outcome

AT_ONCE = 64
"""Clients that connect at a time."""

PER_SOURCE = 10_000
"""Connections from one address, which has some 28,000 ports."""

SETTLING = 2.0
PAGE = 4096


async def measure(url: str, server: int, count: int, seconds: float) -> Outcome:
    """Connect so many clients, keep them for so many seconds, and measure. Raises `LoadError`."""
    close_all(await _connect_all(url, crowd(DIALECTS["peers"], WARM_UP_CLIENTS, "before")))
    await asyncio.sleep(min(SETTLING, seconds))
    memory, kernel = rss_bytes(server), kernel_bytes()
    probe = Probe(url)
    await probe.started()
    used, began = cpu_ns(server), time.monotonic()
    clients = await _connect_all(url, crowd(DIALECTS["peers"], count, "many"))
    accepting, used = time.monotonic() - began, cpu_ns(server) - used
    while_accepting = await probe.latency()
    await asyncio.sleep(seconds)  # the first pings find all, or none
    memory, kernel = rss_bytes(server) - memory, kernel_bytes() - kernel
    probe = Probe(url)
    await probe.started()
    window = Window(server)
    window.begin()
    await asyncio.sleep(seconds)
    outcome = window.end(
        0,
        accept_us=accepting * 1e6 / count,
        accept_cpu_us=used / 1000 / count,
        bytes_each=memory / count,
        kernel_bytes_each=kernel / count,
        accept_p50_us=while_accepting.p50,
        accept_p99_us=while_accepting.p99,
    )
    idle = await probe.latency()
    close_all(clients)
    extra = {"idle_p50_us": idle.p50, "idle_p99_us": idle.p99}
    if seconds >= HEARTBEAT:
        extra["heartbeat_us"] = outcome.cpu_ns / 1000 / seconds / count
    return replace(outcome, operations=count, extra=outcome.extra | extra)


def kernel_bytes() -> int:
    """Return what sockets take in the kernel of this machine: of its slabs, and of buffers of TCP."""
    slabs = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Slab:"))
    buffers = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(slabs.split()[1]) * 1024 + int(buffers.split()[-1]) * PAGE


async def _connect_all(url: str, clients: list[Client]) -> list[Client]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, client: Client) -> Client:
        async with gate:
            source = f"127.0.1.{1 + number // PER_SOURCE}"
            return await connect(url, DIALECTS["peers"], client, source=source)

    return list(await asyncio.gather(*(one(number, client) for number, client in enumerate(clients))))
