"""Creates and retires rooms through the node, without sockets: `python -m bench.rooms LIVE` prints an outcome.

In five steps LIVE rooms are created; in five steps as many are created and the oldest retire; in five steps the
remaining ones retire. So there are ten equal steps of creating and ten of retiring; each reports CPU time per room.
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
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import NodeId, PeerId, RoomId
from mcp_actors.server import tune_gc

if TYPE_CHECKING:
    from mcp_actors.node import Membership

STEPS = 5
BATCH = 100
"""Joins or leaves that are started before they are awaited, as when many arrive in one turn of the loop."""


class NullClient:
    """A client port that discards everything."""

    detached = congested = False

    def send(self, message: Any, bulk: bool = False) -> bool:
        """See `ClientPort`."""
        return True

    def has_room(self, message: Any) -> bool:
        """See `ClientPort`."""
        return True

    def charge_waiting(self, size: int) -> None:
        """See `ClientPort`."""

    def welcome(self, room: Any, welcome: Any) -> None:
        """See `ClientPort`."""

    def close(self, code: Any) -> None:
        """See `ClientPort`."""

    def removed(self, room: Any, reason: Any) -> None:
        """See `ClientPort`."""

    def moved(self, room: Any) -> bool:
        """See `ClientPort`."""
        return True

    def cutover_complete(self, room: Any) -> None:
        """See `ClientPort`."""

    def recovered(self, message: Any) -> None:
        """See `ClientPort`."""

    def handed_over(self, room: Any, state: Any) -> None:
        """See `ClientPort`."""


class Rooms:
    """Rooms of a node with one peer each."""

    def __init__(self, live: int) -> None:
        self._node = Node(
            NodeId("bench"), MemoryBroker(), room_capacity=500, max_rooms=2 * live, max_inbox=4096, max_pending_acks=100
        )
        self._members: deque[Membership] = deque()
        self._client = NullClient()
        self._number = 0

    def __len__(self) -> int:
        return len(self._node.rooms())

    async def create(self, count: int) -> float:
        """Create rooms. Return the CPU time of each in microseconds."""
        began = time.process_time_ns()
        for _ in range(count // BATCH):
            entering = []
            for _ in range(BATCH):
                self._number += 1
                member = self._node.membership(
                    RoomId(f"room-{self._number:08d}"), Kind.PEER, PeerId("peer-0001"), session="s"
                )
                self._members.append(member)
                entering.append(member.enter(self._client))
            for entered in entering:
                await entered
        return (time.process_time_ns() - began) / 1000 / count

    async def retire(self, count: int) -> float:
        """Empty the oldest rooms, so that they retire. Return the CPU time of each in microseconds."""
        began = time.process_time_ns()
        for _ in range(count // BATCH):
            leaving = [self._members.popleft().leave(None) for _ in range(BATCH)]
            for left in leaving:
                await left
        return (time.process_time_ns() - began) / 1000 / count


async def measure(live: int) -> Outcome:
    """Run all steps."""
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
    logs.set_up("warning", "text")  # as in the measured server
    tune_gc()
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(measure(int(sys.argv[1])))))
