"""The late handover of a session: its previous node hands it over after the session has continued here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ujson

from mcp_actors.protocol.codec import JSON
from mcp_actors.protocol.outgoing import Relayed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.node import Membership
    from mcp_actors.protocol.handover import Handover, SessionState
    from mcp_actors.protocol.identifiers import RoomId


EXPECTED_SECONDS = 30.0
"""How long a node that handed nothing over may be slow rather than dead: some leases."""


class LateHandover:
    """Waits for the state of the session at its previous node, whose client has the messages up to `received`.

    Of the messages in that state, those that other nodes sent were recovered, and the server's own are void. The
    rest are messages of members of the previous node, which acknowledged them.
    """

    def __init__(self, received: int, now: float) -> None:
        self.delivered = False
        self._received = received
        self._until = now + EXPECTED_SECONDS
        self._state: SessionState | None = None

    def is_expected(self, now: float) -> bool:
        """Whether the state may still come."""
        return not self.delivered and now < self._until

    def handed_over(self, told: Handover | None) -> None:
        """Take the handover of a room; the state comes with one of them."""
        if told is not None and told.session is not None:
            self._state = told.session

    def deliver(self, rooms: Mapping[RoomId, Membership]) -> None:
        """Let each room send what was handed over, once, if the state is here."""
        if self._state is None or self.delivered:
            return
        self.delivered = True
        messages = _relayed_locally(self._state, self._received)
        for room, membership in rooms.items():
            membership.deliver_late(messages.get(room, []))


def _relayed_locally(state: SessionState, received: int) -> dict[str, list[tuple[str, Relayed]]]:
    """The messages above a number that members of the same node sent, by room, each with the id of its sender."""
    found: dict[str, list[tuple[str, Relayed]]] = {}
    for number, frame in enumerate(state.kept, state.number - len(state.kept) + 1):
        if number > received and frame:
            fields = ujson.loads(frame)
            if "sender" in fields and "at" not in fields:
                message = Relayed(b"", frame[len(JSON.prefix(b"", number)) :])
                found.setdefault(fields["room"], []).append((fields["sender"], message))
    return found
