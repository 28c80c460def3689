"""The room that the URL of a handshake names, and the process that serves it: of several, the same one for all members.

It is a hint. Any process serves any client, in whatever rooms, but messages between members at one process cost less.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

HANDSHAKE = re.compile(rb"GET /ws/[^\s?]*\?(?:\S*&)?room=([^\s&]+)[\s&]")
"""The beginning of a request; of several rooms, the last counts."""

_BITS = (1 << 64) - 1
_FACTOR = 2_862_933_555_777_941_757


def hinted_room(head: bytes) -> bytes | None:
    """Return the room that the beginning of a request names; None if there is none, or its end has not arrived."""
    found = HANDSHAKE.match(head)
    return None if found is None else unquote_to_bytes(found[1].replace(b"+", b" "))


def process_of(room: bytes, count: int) -> int:
    """Return which of the processes 1 to `count` serves a room.

    One more process takes its share of the rooms from all others, and no room moves between those: jump consistent
    hashing (Lamping and Veach, 2014).
    """
    state = int.from_bytes(blake2b(room, digest_size=8).digest())
    chosen = upcoming = 0
    while upcoming < count:
        chosen = upcoming
        state = (state * _FACTOR + 1) & _BITS
        upcoming = ((chosen + 1) << 31) // ((state >> 33) + 1)
    return chosen + 1
