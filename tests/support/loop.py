"""What tests of rooms stand on: an outlet that remembers, and waiting for a named thing with a deadline."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.errors import CloseCode
    from mcp_actors.protocol.events import LeaveReason
    from mcp_actors.protocol.handover import Handover
    from mcp_actors.protocol.identifiers import RoomId

DEADLINE = 5.0
"""Seconds after which what a test waits for will not come."""

EAGER_TURNS = 200
PAUSE = 0.001
"""Seconds between looks, after so many in a row: longer waits leave the processor to what they wait for."""


async def until(condition: Callable[[], object], what: str) -> None:
    """Let the loop turn until the condition holds; `what` names it if it never does."""
    try:
        async with asyncio.timeout(DEADLINE):
            for turn in itertools.count():
                if condition():
                    return
                await asyncio.sleep(0 if turn < EAGER_TURNS else PAUSE)
    except TimeoutError:
        raise AssertionError(f"waited {DEADLINE:g} s in vain: {what}") from None


async def turns(count: int) -> None:
    """Let the loop turn so many times, for what must not happen in them."""
    for _ in range(count):
        await asyncio.sleep(0)


class RecordingOutlet:
    """An `Outlet` that keeps what rooms give it."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.accepts = accepts
        self.away = False
        self.frames: list[bytes] = []
        self.closes: list[CloseCode] = []
        self.told: list[tuple[Any, ...]] = []

    def put(self, frame: bytes) -> bool:
        """See `Outlet`."""
        if self.accepts:
            self.frames.append(frame)
        return self.accepts

    def close(self, code: CloseCode) -> None:
        """See `Outlet`."""
        self.closes.append(code)

    def put_out(self, room: RoomId, reason: LeaveReason) -> None:
        """See `Outlet`."""
        self.told.append(("put out", room, reason))

    def moved(self, room: RoomId) -> None:
        """See `Outlet`."""
        self.told.append(("moved", room))

    def complete(self, room: RoomId) -> None:
        """See `Outlet`."""
        self.told.append(("complete", room))

    def recovered(self, frame: bytes) -> None:
        """See `Outlet`."""
        self.told.append(("recovered", frame))

    def handed_over(self, room: RoomId, told: Handover | None) -> None:
        """See `Outlet`."""
        self.told.append(("handed over", room, told))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The frames, decoded."""
        return [json.loads(frame) for frame in self.frames]

    @property
    def types(self) -> list[str]:
        """The type of each message."""
        return [message["type"] for message in self.messages]

    def last(self) -> dict[str, Any]:
        """The message that came last."""
        return self.messages[-1]
