"""Where connections come in: so many at once that are no WebSockets yet, and a way out when there are no files left."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import structlog
from tornado.httpserver import HTTPServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.http1connection import HTTP1ServerConnection
    from tornado.iostream import IOStream

log = structlog.get_logger("mcp_actors")

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
TURN = 4
"""Connections let in before others get their turn, each of some 0.2 ms: Tornado would take 128 that come at once."""

COMPLAIN_EVERY = 60.0
"""Seconds between two warnings that files have run out."""


def allow_many_files() -> None:
    """Let this process have as many open files as the system allows: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # where the system has a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Door(socket.socket):
    """A listening socket. When there are no files left it makes room, or else turns who knocks away.

    Tornado would try again at once, with a traceback in the log, for as long as somebody waits outside.
    """

    make_room: Callable[[], bool] = staticmethod(lambda: False)
    """Closes what can be spared; whether there was any."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._spare = _spare_file()
        self._complained = -COMPLAIN_EVERY
        self._turn = 0

    @classmethod
    def of(cls, listening: socket.socket) -> Self:
        """Take over a socket that listens."""
        return cls(listening.detach())

    def accept(self) -> tuple[socket.socket, Any]:
        """Let the next one in. Raises `BlockingIOError` when there is none, after a turn, or for want of room."""
        self._turn += 1
        if self._turn > TURN:
            self._turn = 0
            raise BlockingIOError(errno.EAGAIN, "others have their turn")
        try:
            return super().accept()
        except BlockingIOError:
            self._turn = 0
            raise
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                raise
        self._complain()
        if not self.make_room():
            self._turn_away()
        raise BlockingIOError(errno.EAGAIN, "there was no room")

    def close(self) -> None:
        """Listen no more."""
        super().close()
        self._give_spare()

    def _turn_away(self) -> None:
        self._give_spare()
        with suppress(OSError):
            super().accept()[0].close()
        self._spare = _spare_file()

    def _give_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _complain(self) -> None:
        now = time.monotonic()
        if now >= self._complained + COMPLAIN_EVERY:
            self._complained = now
            log.warning("no files left, so connections are turned away; allow this process more (ulimit -n)")


def _spare_file() -> int | None:
    """A file to be given up for one that is needed."""
    with suppress(OSError):
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return None


class Entrance(HTTPServer):
    """Tornado's server, with a bound of connections that are no WebSockets yet: for a new one the oldest goes.

    So those who connect and say nothing, or all they say is slow, keep nobody out who shakes hands at once.
    """

    def initialize(self, request_callback: Any, *, max_handshakes: int, **kwargs: Any) -> None:  # type: ignore[override]
        """Take what `HTTPServer` takes, and the bound."""
        super().initialize(request_callback, **kwargs)
        self._max_handshakes = max_handshakes
        self._handshakes: dict[IOStream, None] = {}

    @property
    def handshakes(self) -> int:
        """How many connections are no WebSockets yet."""
        return len(self._handshakes)

    def add_sockets(self, sockets: Any) -> None:
        """Accept at these; see `HTTPServer`."""
        for each in sockets:
            if isinstance(each, Door):
                each.make_room = self._drop_oldest
        super().add_sockets(sockets)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Take a new connection."""
        if len(self._handshakes) >= self._max_handshakes:
            self._drop_oldest()
        self._handshakes[stream] = None
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """Hear that a connection is gone, or is a WebSocket now."""
        connection: HTTP1ServerConnection = server_conn
        self._handshakes.pop(connection.stream, None)
        super().on_close(server_conn)

    def _drop_oldest(self) -> bool:
        if not self._handshakes:
            return False
        oldest = next(iter(self._handshakes))
        del self._handshakes[oldest]
        oldest.close()
        return True
