"""The data that a session receives from its previous node while it migrates to this one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from mcp_actors.protocol.handover import SessionState
from mcp_actors.protocol.identifiers import RoomId

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcp_actors.protocol.handover import Handover
    from mcp_actors.protocol.outgoing import Outgoing, Relayed


class MigrationBuffer:
    """The handover of each room (None if the node is lost), and the messages that were recovered instead."""

    def __init__(self) -> None:
        self.handovers: dict[RoomId, Handover | None] = {}
        self.recovered: list[Outgoing | Relayed] = []
        self._handed_over = asyncio.Event()

    def handed_over(self, room: RoomId, handover: Handover | None) -> None:
        """Take the handover of a room; the first one counts."""
        if self.handovers.get(room) is None:
            self.handovers[room] = handover
        self._handed_over.set()

    async def wait_for(self, rooms: set[RoomId], timeout: float) -> bool:  # noqa: ASYNC109 - what came in time counts
        """Wait until all these rooms are handed over, at most `timeout` seconds; whether they are."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not rooms <= self.handovers.keys():
                    self._handed_over.clear()
                    await self._handed_over.wait()
        return rooms <= self.handovers.keys()

    def unclaimed(self, claimed: Collection[RoomId]) -> list[tuple[str, str, str, bool]]:
        """The rooms that the session joined when this node had read already which rooms to claim."""
        told = (one for handover in self.handovers.values() if handover is not None for one in handover.others)
        return [one for one in dict.fromkeys(told) if RoomId(one[0]) not in claimed]

    @property
    def has_state(self) -> bool:
        """Whether the state of the session is here, which comes with one of the rooms."""
        return any(told is not None and told.session is not None for told in self.handovers.values())

    def state(self, unknown: int) -> SessionState:
        """Return the last state of the session, which comes with one of the rooms; without one, `unknown` messages."""
        states = [told.session for told in self.handovers.values() if told is not None and told.session is not None]
        return max(states, key=lambda state: state.number, default=SessionState(unknown, []))
