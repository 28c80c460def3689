"""The rules of a room, in which rooms differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.protocol.identifiers import RoomId


class RoomRules(Struct, frozen=True):
    """The rules of one room. It holds `capacity` peers, and as many connections of users.

    `gateway`: the name of the gateway whose clients may enter; empty for a room of native clients. `silent`: members
    are not told of each other, so that a join costs the same however many there are. `named`: see `room.publications`.
    `patience`: seconds for which messages wait for a peer that is absent, `max_waiting_messages` of one sender and
    `max_waiting_bytes` of all; with 0 they are refused.
    """

    capacity: int
    gateway: str = ""
    silent: bool = False
    named: bool = False
    patience: float = 0.0
    max_waiting_messages: int = 0
    max_waiting_bytes: int = 0


class RuleBook:
    """The rules of rooms that are not like others, by their ids or by the beginnings of their ids."""

    def __init__(
        self, by_id: Mapping[RoomId, RoomRules] | None = None, by_prefix: Mapping[str, RoomRules] | None = None
    ) -> None:
        self._by_id = by_id or {}
        self._by_prefix = by_prefix or {}

    def find(self, room: RoomId) -> RoomRules | None:
        """The rules of a room; None if it is like others."""
        found = self._by_id.get(room)
        if found is None:
            found = next((rules for prefix, rules in self._by_prefix.items() if room.startswith(prefix)), None)
        return found
