"""Measures the latency of signals beside other load: `python -m bench.scale.probe URL`, until its input ends.

It is a process of its own, so that its figures do not count how busy that load keeps its clients. It prints `ready`,
then an outcome.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import msgspec
import uvloop

from bench.client import Client, close_all, connect_all
from bench.dialects import DIALECTS
from bench.plan import Latency, Outcome, percentiles
from bench.runner import LoadError
from bench.scenarios.relay import OpenLoop

RATE = 50.0
"""Signals per second."""

ROOM = "probe"


async def probe(url: str) -> Outcome:
    """Let a pair exchange signals until the input of this process ends."""
    dialect = DIALECTS["peers"]
    clients = [Client(dialect, ROOM, f"probe-{index}", index) for index in range(2)]
    for client in clients:
        client.template = dialect.signal("candidate", ROOM, client.index, f"probe-{client.index ^ 1}")
    await connect_all(url, dialect, clients)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    traffic, began = Timed(clients), time.monotonic()
    traffic.start(RATE)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    traffic.stop()
    await traffic.drained()
    close_all(clients)
    seconds = time.monotonic() - began
    return Outcome(
        operations=traffic.arrived, seconds=seconds, cpu_ns=0, rss_bytes=0, latency=percentiles(traffic.latencies)
    )


class Timed(OpenLoop):
    """Signals that are all timed."""

    def __init__(self, clients: list[Client]) -> None:
        super().__init__(clients)
        self._measuring = True


class Probe:
    """The probe, from its start to `latency`."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "bench.scale.probe", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )

    async def started(self) -> None:
        """Wait until it is connected. Raises `LoadError`."""
        if await asyncio.to_thread(self._read_line) != b"ready\n":
            raise LoadError("the probe could not connect")

    async def latency(self) -> Latency:
        """End it, and return what it has measured. Raises `LoadError`."""
        said, _ = await asyncio.to_thread(self._process.communicate)
        if self._process.returncode:
            raise LoadError("a signal of the probe did not arrive")
        return msgspec.json.decode(said, type=Outcome).latency

    def _read_line(self) -> bytes:
        return self._process.stdout.readline() if self._process.stdout else b""


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(uvloop.run(probe(sys.argv[1]))).decode())
