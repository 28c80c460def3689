"""The ids of the protocol and their grammar."""

from __future__ import annotations

from typing import NewType

from mcp_actors.protocol.id_characters import character_problem

RoomId = NewType("RoomId", str)
PeerId = NewType("PeerId", str)
UserId = NewType("UserId", str)

NodeId = NewType("NodeId", str)
"""One server process, with a new id at each start."""

Incarnation = NewType("Incarnation", str)
"""One membership of one session in one room, `<session>.<number>`. A peer that joins again is another incarnation."""

SERVER = Incarnation("server")
"""Stands for the application in place of a member, as the asker of what only moderators may ask."""

RequestId = int | str
"""The `id` of a client's request, which the reply echoes."""

MAX_REQUEST_ID_LENGTH = 64
"""The most characters of a request `id` that is a string."""

DOT_SEGMENTS = (".", "..")
"""Segments that browsers and proxies remove from paths, percent-encoded, too (RFC 3986, section 5.2.4)."""

_MAX_SHOWN = 40


def session_of(incarnation: Incarnation) -> str:
    """The session of a membership."""
    return incarnation.partition(".")[0]


REPLACING = "~"
"""The first character of the ids of sessions that may take their own place in a room.

They are derived from what their clients bring, so that one of them shows that its client was here before.
"""


def replaces(newcomer: Incarnation, present: Incarnation) -> bool:
    """Whether a membership takes the place of an earlier one of the same session."""
    return newcomer.startswith(REPLACING) and session_of(newcomer) == session_of(present)


def id_problem(value: str, max_length: int) -> str | None:
    """The problem of a room, peer or user id; None if it is well formed.

    An id has 1 to `max_length` characters that are printable, or as `character_problem` allows them. Spaces are neither
    at an end nor side by side. `.` and `..` are none, as no URL can have them as a part of its path.
    """
    if not value:
        return "must not be empty"
    if len(value) > max_length:
        return f"must have at most {max_length} characters, not {len(value)}"
    if not value.isascii():
        problem = character_problem(value)
        if problem is not None:
            return problem
    elif not value.isprintable():
        return "must have printable characters only"
    if value[0] == " " or value[-1] == " ":
        return "must not start or end with a space"
    if "  " in value:
        return "must not have two spaces side by side"
    if value in DOT_SEGMENTS:
        return "must not be `.` or `..`, which URLs cannot contain"
    return None


def shown(value: str) -> str:
    """Quote a client's id in a message to people: printable and short."""
    return repr(value if len(value) <= _MAX_SHOWN else value[: _MAX_SHOWN - 1] + "…")
