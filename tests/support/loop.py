"""A client that records what rooms send it, and waiting for a named thing with a deadline."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

from mcp_actors.protocol.codec import JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.protocol.errors import CloseCode
    from mcp_actors.protocol.events import Removal
    from mcp_actors.protocol.handover import Handover
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.outgoing import Outgoing, Relayed
    from mcp_actors.room.effects import Welcome

DEADLINE = 20.0
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


async def scheduler(count: int) -> None:
    """Let the loop turn so many times, for what must not happen in them."""
    for _ in range(count):
        await asyncio.sleep(0)


class RecordingClient:
    """A `ClientPort` that records what rooms give it. A welcome is recorded as a message of the type `welcome`."""

    def __init__(self, *, accepts: bool = True) -> None:
        self.accepts = accepts
        self.detached = self.full = self.congested = False
        self.waiting: list[int] = []
        self.messages: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.bulk: list[bool] = []
        self.welcomes: list[Welcome] = []
        self.closes: list[CloseCode] = []
        self.told: list[tuple[Any, ...]] = []

    def send(self, message: Outgoing | Relayed, bulk: bool = False) -> bool:
        """See `ClientPort`."""
        if self.accepts:
            head, body = message.encoded(JSON)
            self.messages.append(json.loads(JSON.prefix(head, None) + body))
            self.bodies.append(body)
            self.bulk.append(bulk)
        return self.accepts

    def has_room(self, _message: Relayed) -> bool:
        """See `ClientPort`."""
        return not self.full

    def charge_waiting(self, size: int) -> None:
        """See `ClientPort`."""
        self.waiting.append(size)

    def welcome(self, room: RoomId, welcome: Welcome) -> None:
        """See `ClientPort`."""
        self.welcomes.append(welcome)
        at = {"at": welcome.offset.decode()} if welcome.offset else {}
        self.messages.append({"type": "welcome", "room": room, **at})

    def close(self, code: CloseCode) -> None:
        """See `ClientPort`."""
        self.closes.append(code)

    def removed(self, room: RoomId, removal: Removal) -> None:
        """See `ClientPort`."""
        self.told.append(("removed", room, removal))

    def moved(self, room: RoomId) -> bool:
        """See `ClientPort`."""
        self.told.append(("moved", room))
        return True

    def cutover_complete(self, room: RoomId) -> None:
        """See `ClientPort`."""
        self.told.append(("cutover complete", room))

    def recovered(self, message: Outgoing | Relayed) -> None:
        """See `ClientPort`."""
        head, body = message.encoded(JSON)
        self.told.append(("recovered", JSON.prefix(head, None) + body))

    def handed_over(self, room: RoomId, state: Handover | None) -> None:
        """See `ClientPort`."""
        self.told.append(("handed over", room, state))

    @property
    def types(self) -> list[str]:
        """The type of each message."""
        return [message["type"] for message in self.messages]

    def last(self) -> dict[str, Any]:
        """The last message."""
        return self.messages[-1]

    def clear(self) -> None:
        """Forget the messages."""
        self.messages.clear()
        self.bodies.clear()
