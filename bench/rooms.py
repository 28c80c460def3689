"""Creates and retires rooms through the node, without sockets: `python -m bench.rooms LIVE` prints an outcome.

Twice LIVE rooms in all: five steps in which LIVE rooms come to be, five in which as many are created and the oldest
retired, and five in which those that are left retire. So there are ten equal steps of creating, and ten of retiring;
each reports the CPU time of this process per room.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from bench.accounting import rss_bytes
from bench.plan import Outcome
from mcp_actors import logs
from mcp_actors.actors.mail import Greeting
from mcp_actors.app import spare_the_collector
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId

if TYPE_CHECKING:
    from mcp_actors.node import Membership

STEPS = 5
BATCH = 100
"""Joins or leaves asked for before they are awaited, as the loop sees them when many arrive in one turn."""


class Nobody:
    """An outlet that takes everything and keeps nothing."""

    away = False

    def put(self, frame: bytes) -> bool:
        """See `Outlet`."""
        return True

    def close(self, code: Any) -> None:
        """See `Outlet`."""

    def put_out(self, room: Any, reason: Any) -> None:
        """See `Outlet`."""

    def moved(self, room: Any) -> None:
        """See `Outlet`."""

    def complete(self, room: Any) -> None:
        """See `Outlet`."""

    def recovered(self, frame: Any) -> None:
        """See `Outlet`."""

    def handed_over(self, room: Any, told: Any) -> None:
        """See `Outlet`."""


class Rooms:
    """Rooms of one node, each with one peer in it."""

    def __init__(self, live: int) -> None:
        self._node = Node(
            NodeId("bench"), MemoryBroker(), room_capacity=500, max_rooms=2 * live, max_inbox=4096, max_unanswered=100
        )
        self._members: deque[Membership] = deque()
        self._outlet = Nobody()
        self._number = 0

    def __len__(self) -> int:
        return len(self._node.rooms)

    async def create(self, count: int) -> float:
        """Create so many; us of CPU for each."""
        began = time.process_time_ns()
        for _ in range(count // BATCH):
            entering = []
            for _ in range(BATCH):
                self._number += 1
                member = self._node.membership(
                    RoomId(f"room-{self._number:08d}"), Kind.PEER, PeerId("peer-0001"), session="s"
                )
                self._members.append(member)
                entering.append(member.enter(self._outlet, Greeting()))
            for entered in entering:
                await entered
        return (time.process_time_ns() - began) / 1000 / count

    async def retire(self, count: int) -> float:
        """Empty so many, the oldest first; us of CPU for each."""
        began = time.process_time_ns()
        for _ in range(count // BATCH):
            leaving = [self._members.popleft().leave(None) for _ in range(BATCH)]
            for left in leaving:
                await left
        return (time.process_time_ns() - began) / 1000 / count


async def measure(live: int) -> Outcome:
    """Go through all steps."""
    rooms = Rooms(live)
    await rooms.create(BATCH)
    await rooms.retire(BATCH)
    step = live // STEPS
    before, cpu, began = rss_bytes(os.getpid()), time.process_time_ns(), time.monotonic_ns()
    creates = [await rooms.create(step) for _ in range(STEPS)]
    full = rss_bytes(os.getpid())
    retires = []
    for _ in range(STEPS):
        creates.append(await rooms.create(step))
        retires.append(await rooms.retire(step))
    retires += [await rooms.retire(step) for _ in range(STEPS)]
    if len(rooms):
        raise SystemExit(f"{len(rooms)} rooms did not retire")
    steps = {f"create_us_step_{number:02d}": cost for number, cost in enumerate(creates, 1)}
    steps |= {f"retire_us_step_{number:02d}": cost for number, cost in enumerate(retires, 1)}
    return Outcome(
        operations=2 * STEPS * step,
        seconds=(time.monotonic_ns() - began) / 1e9,
        cpu_ns=time.process_time_ns() - cpu,
        rss_bytes=full,
        extra=steps
        | {
            "live_rooms": step * STEPS,
            "create_us_max": max(creates),
            "retire_us_max": max(retires),
            "create_last_to_first": creates[-1] / creates[0],
            "retire_last_to_first": retires[-1] / retires[0],
            "bytes_per_room": (full - before) / live,
        },
    )


if __name__ == "__main__":
    logs.set_up("warning", "text")  # as the server that is measured
    spare_the_collector()  # likewise
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(measure(int(sys.argv[1])))))
