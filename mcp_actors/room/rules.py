"""What rooms differ in."""

from __future__ import annotations

from msgspec import Struct


class RoomRules(Struct, frozen=True):
    """The rules of one room. It holds `capacity` peers, and as many connections of users.

    `gateway`: the name of the gateway whose clients may enter; empty for a room of native clients. `silent`: members
    are not told of each other, so that a join costs the same however many there are. `patience`: seconds for which
    messages wait for a peer that is absent, `max_waiting_messages` of one sender and `max_waiting_bytes` of all; with 0
    they are refused.
    """

    capacity: int
    gateway: str = ""
    silent: bool = False
    patience: float = 0.0
    max_waiting_messages: int = 0
    max_waiting_bytes: int = 0
