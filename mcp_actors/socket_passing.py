"""Passes accepted connections between the worker processes of a server, through Unix sockets in a private directory.

A process connects to another when it has the first connection to pass. On that link, a file descriptor accompanies each
byte. The other process sends back, on the same link, what it cannot serve.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from mcp_actors.loopback import UNIX

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger("mcp_actors")

MAX_RECEIVED = 16
"""Connections that are taken from one link in one turn of the event loop, at most."""

BACKLOG = 256
"""Links that may wait to be accepted: one of each process."""


class SocketPassing:
    """Passes connections on to other processes, and hands those that come to `serve`, with the client's address.

    Each process listens at its `number` in the `directory`. `is_full`: whether this one cannot serve more. Connections
    that come back are served nevertheless, as nobody else does.
    """

    def __init__(self, directory: str, number: int) -> None:
        self._directory = Path(directory)
        self._number = number
        self._listening: socket.socket | None = None
        self._links: dict[int, socket.socket] = {}
        """To other processes, by their numbers."""
        self._accepted: set[socket.socket] = set()
        """Links of other processes."""
        self._numbers = count(1)
        self._serve: Callable[[socket.socket, Any], None]
        self._is_full: Callable[[], bool]

    def listen(self, serve: Callable[[socket.socket, Any], None], is_full: Callable[[], bool]) -> None:
        """Receive connections. A directory that cannot be used is logged: then the others serve them."""
        self._serve, self._is_full = serve, is_full
        path = self._path(self._number)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path.unlink(missing_ok=True)  # of the process before this one
            listening.bind(str(path))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            log.warning("connections of rooms cannot be passed to this process", path=str(path), reason=str(error))
            return
        listening.setblocking(False)
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening, self._accept)

    def stop(self) -> None:
        """Receive no more, and pass nothing on."""
        if self._listening is not None:
            _close(self._listening)
            self._listening = None
        for link in (*self._links.values(), *self._accepted):
            _close(link)
        self._links.clear()
        self._accepted.clear()

    def pass_on(self, connection: socket.socket, number: int) -> bool:
        """Give a connection to another process; False if that takes none now, and the connection stays here."""
        if self._listening is None:
            return False
        try:
            link = self._links.get(number) or self._connect(number)
            _send(link, connection)
        except BlockingIOError:  # it does not read fast enough
            return False
        except OSError:  # it is gone, or about to start
            self._end_link(number)
            return False
        return True

    def _connect(self, number: int) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.setblocking(False)
        try:
            link.connect(str(self._path(number)))
        except OSError:
            link.close()
            raise
        self._links[number] = link
        asyncio.get_running_loop().add_reader(link, self._returned, number, link)
        return link

    def _accept(self) -> None:
        if self._listening is None:
            return
        with suppress(OSError):  # it is gone already, or there are no more files
            link, _ = self._listening.accept()
            link.setblocking(False)
            self._accepted.add(link)
            asyncio.get_running_loop().add_reader(link, self._arrived, link)

    def _arrived(self, link: socket.socket) -> None:
        """Serve what another process passes on."""
        if not _receive(link, partial(self._serve_or_return, link)):
            self._accepted.discard(link)
            _close(link)

    def _returned(self, number: int, link: socket.socket) -> None:
        """Serve what another process sends back."""
        if not _receive(link, self._serve_here):
            self._end_link(number)

    def _serve_or_return(self, link: socket.socket, connection: socket.socket) -> None:
        if self._is_full():
            with suppress(OSError):
                _send(link, connection)
                return
        self._serve_here(connection)

    def _serve_here(self, connection: socket.socket) -> None:
        try:
            address = connection.getpeername()
        except OSError:  # the client is gone
            connection.close()
            return
        if connection.family == socket.AF_UNIX:
            address = (UNIX, -next(self._numbers))  # those that are accepted here have positive numbers
        self._serve(connection, address)

    def _end_link(self, number: int) -> None:
        link = self._links.pop(number, None)
        if link is not None:
            _close(link)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.connections"


def _send(link: socket.socket, connection: socket.socket) -> None:
    """Send a connection, which is closed here. Raises `OSError`."""
    socket.send_fds(link, [b"\0"], [connection.fileno()])
    connection.close()


def _receive(link: socket.socket, take: Callable[[socket.socket], None]) -> bool:
    """Take connections that have arrived; False if the link has ended."""
    for _ in range(MAX_RECEIVED):
        try:
            data, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not data:
            return False
        for descriptor in descriptors:  # there is none if this process is out of files
            os.set_inheritable(descriptor, False)
            take(socket.socket(fileno=descriptor))
    return True


def _close(link: socket.socket) -> None:
    asyncio.get_running_loop().remove_reader(link)
    link.close()
