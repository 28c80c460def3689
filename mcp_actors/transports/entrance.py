"""Where connections come in: so many at once that are no WebSockets yet, and a way out when there are no files left."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import structlog
from tornado.httpserver import HTTPServer

from mcp_actors.transports.addresses import group_of
from mcp_actors.transports.heads import put_behind
from mcp_actors.transports.turns import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.http1connection import HTTP1ServerConnection
    from tornado.iostream import IOStream

    from mcp_actors.transports.heads import Gate
    from mcp_actors.transports.hops import Hops

log = structlog.get_logger("mcp_actors")

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
TURN = 4
"""Connections let in before others get their turn, each of some 0.2 ms, at most: Tornado would take 128 that come at
once. Fewer, down to one, while what they ask for keeps rounds of the loop long."""

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

    admits: Callable[[str], bool] = staticmethod(lambda _address: True)
    """Whether one of an address may come in; else it is hung up on, which costs a tenth of letting it in."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._spare = _spare_file()
        self._complained = -COMPLAIN_EVERY
        self._turn = 0
        self._pace = Pace(TURN)

    @classmethod
    def of(cls, listening: socket.socket) -> Self:
        """Take over a socket that listens."""
        return cls(listening.detach())

    def accept(self) -> tuple[socket.socket, Any]:
        """Let the next one in. Raises `BlockingIOError` when there is none, after a turn, or for want of room."""
        self._turn += 1
        if self._turn > self._pace.count:
            self._turn = 0
            self._pace.next_round(time.monotonic())
            raise BlockingIOError(errno.EAGAIN, "others have their turn")
        try:
            return self._let_in(*super().accept())
        except BlockingIOError:
            self._turn = 0
            self._pace.begin(time.monotonic())
            raise
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                raise
        self._complain()
        if not self.make_room():
            self._turn_away()
        raise BlockingIOError(errno.EAGAIN, "there was no room")

    def _let_in(self, knocking: socket.socket, address: Any) -> tuple[socket.socket, Any]:
        if self.admits(address[0] if isinstance(address, tuple) else ""):
            return knocking, address
        knocking.close()
        raise ConnectionAbortedError(errno.ECONNABORTED, "its address has as many as it may")  # the next, says Tornado

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
    """Tornado's server, with bounds of connections that are no WebSockets yet.

    `max_handshakes`: of all; for a new one the oldest goes. So those who connect and say nothing, or all they say is
    slow, keep nobody out who shakes hands at once. `max_address_handshakes`: of one address; those beyond it are hung
    up on as they come, so that many of one do not have those of others go. 0 is no limit, and proxies have none. What
    they ask for passes through a `gate`.
    """

    def initialize(  # type: ignore[override]
        self,
        request_callback: Any,
        *,
        max_handshakes: int,
        max_address_handshakes: int,
        gate: Gate,
        hops: Hops,
        **kwargs: Any,
    ) -> None:
        """Take what `HTTPServer` takes, the bounds, the gate, and who is a proxy."""
        super().initialize(request_callback, **kwargs)
        self._max_handshakes = max_handshakes
        self._max_address_handshakes = max_address_handshakes
        self._gate = gate
        self._hops = hops
        self._handshakes: dict[IOStream, str] = {}
        self._by_address: Counter[str] = Counter()

    @property
    def handshakes(self) -> int:
        """How many connections are no WebSockets yet."""
        return len(self._handshakes)

    def add_sockets(self, sockets: Any) -> None:
        """Accept at these; see `HTTPServer`."""
        for each in sockets:
            if isinstance(each, Door):
                each.make_room = self._drop_oldest
                if self._max_address_handshakes:
                    each.admits = self._admits
        super().add_sockets(sockets)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Take a new connection."""
        if len(self._handshakes) >= self._max_handshakes:
            self._drop_oldest()
        group = self._handshakes[stream] = group_of(str(address[0]) if isinstance(address, tuple) else "")
        self._by_address[group] += 1
        put_behind(self._gate, stream)
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """Hear that a connection is gone, or is a WebSocket now."""
        connection: HTTP1ServerConnection = server_conn
        self._forget(connection.stream)
        super().on_close(server_conn)

    def _drop_oldest(self) -> bool:
        if not self._handshakes:
            return False
        oldest = next(iter(self._handshakes))
        self._forget(oldest)
        oldest.close()
        return True

    def _admits(self, address: str) -> bool:
        few = self._by_address[group_of(address)] < self._max_address_handshakes
        return few or not address or self._hops.is_proxy(address)

    def _forget(self, stream: IOStream) -> None:
        group = self._handshakes.pop(stream, None)
        if group is not None:
            self._by_address[group] -= 1
            if not self._by_address[group]:
                del self._by_address[group]
