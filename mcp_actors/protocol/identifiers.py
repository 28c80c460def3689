"""The ids of the protocol, and their grammar."""

from __future__ import annotations

from typing import NewType

RoomId = NewType("RoomId", str)
PeerId = NewType("PeerId", str)
UserId = NewType("UserId", str)

NodeId = NewType("NodeId", str)
"""One server process, new at each start."""

Incarnation = NewType("Incarnation", str)
"""One membership of one session in one room, `<session>.<number>`: the same peer id later is another incarnation."""

RequestId = int | str
"""The `id` a client may put on a request; its reply, `ack` or `error` echoes it."""

MAX_REQUEST_ID_LENGTH = 64
"""Characters in a request `id` that is a string."""

_SHOWN = 40
_JOINERS = {0x200C: None, 0x200D: None}


def session_of(incarnation: Incarnation) -> str:
    """The session that a membership is of."""
    return incarnation.partition(".")[0]


def id_problem(value: str, max_length: int) -> str | None:
    """Say what is wrong with a room, peer or user id, or None if it is well formed.

    An id has 1 to `max_length` printable characters and neither starts nor ends with a space. The zero-width joiner and
    non-joiner count as printable: emoji, Persian and Indic scripts are written with them.
    """
    if not value:
        return "must not be empty"
    if len(value) > max_length:
        return f"must have at most {max_length} characters, not {len(value)}"
    if not value.isprintable() and not value.translate(_JOINERS).isprintable():
        return "must have printable characters only"
    if value[0] == " " or value[-1] == " ":
        return "must not start or end with a space"
    return None


def shown(value: str) -> str:
    """Quote an id a client sent for a message to people: printable, and short however long the id is."""
    text = value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"
    return repr(text)
