"""Keeps the members of a room at one of several processes, if their handshakes name it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from mcp_actors.adapters.http.room_hint import hinted_room, process_of

if TYPE_CHECKING:
    from mcp_actors.socket_passing import SocketPassing

MAX_PEEKED = 8192
"""Bytes of a request in which its room is looked for."""


class RoomAffinity:
    """Passes connections on to the process of their room, as one of the processes 1 to `count`, with this `number`."""

    def __init__(self, passing: SocketPassing, number: int, count: int) -> None:
        self.passing = passing
        self._number = number
        self._count = count

    def pass_on(self, connection: socket.socket) -> bool:
        """Give a connection away whose request has begun to arrive; False if it is to be served here.

        The request is not read, only looked at, so that it goes with the connection.
        """
        try:
            head = connection.recv(MAX_PEEKED, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return False
        room = hinted_room(head)
        if room is None:
            return False
        process = process_of(room, self._count)
        return process != self._number and self.passing.pass_on(connection, process)
