"""The HTTP server: limits connections before they are WebSockets, and sheds load when the process has no files left."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

import structlog
from tornado.httpserver import HTTPServer
from tornado.httputil import ParseBodyConfig, ParseUrlEncodedConfig, set_parse_body_config

from mcp_actors.adapters.tornado.fair_queue import FairQueue
from mcp_actors.adapters.tornado.handshakes import Handshakes
from mcp_actors.adapters.tornado.request_limits import limit_requests
from mcp_actors.adapters.tornado.silent import SilentConnection, SilentConnections
from mcp_actors.connection.ip_limits import group_of
from mcp_actors.ws.fair_scheduler import AdaptiveBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.http1connection import HTTP1ServerConnection
    from tornado.iostream import IOStream

    from mcp_actors.adapters.http.proxy_headers import TrustedProxies
    from mcp_actors.adapters.tornado.request_limits import RequestLimits

log = structlog.get_logger("mcp_actors")

OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)

MAX_ACCEPTED = 16
"""Connections that are accepted in one turn of the event loop, at most. Each takes some 30 us."""

MAX_SERVED = 4
"""Accepted connections that are served in one turn, at most; fewer while turns take long. Each takes some 0.2 ms, more
with TLS."""

MAX_ARGUMENTS = 64
"""Arguments in a query; a request with more is malformed. Tornado takes some 8 us for each."""

WARNING_INTERVAL = 60.0
"""Seconds between two warnings that the process is out of files."""


def allow_many_files() -> None:
    """Let this process open as many files as the system allows: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # where the system has a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class ListeningSocket(socket.socket):
    """A listening socket that sheds load when the process is out of files.

    Tornado would try to accept again at once, with a traceback in the log, for as long as a connection is waiting.
    """

    make_room: Callable[[], bool] = staticmethod(lambda: False)
    """Closes a connection that can be spared; False if there is none."""

    accepted: Callable[[socket.socket, Any], None] = staticmethod(lambda connection, _address: connection.close())
    """Takes each connection and the address of its client."""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._spare = _spare_file()
        self._warned = -WARNING_INTERVAL

    @classmethod
    def of(cls, listening: socket.socket) -> Self:
        """Take over a socket that listens."""
        return cls(listening.detach())

    def accept(self) -> NoReturn:
        """Hand a batch of connections to `accepted`, and raise `BlockingIOError`, as if none were waiting.

        Tornado would make streams of all that are waiting, in the order in which they came.
        """
        for _ in range(MAX_ACCEPTED):
            self.accepted(*self._accept_one())
        raise BlockingIOError(errno.EAGAIN, "the batch is full")

    def close(self) -> None:
        """Stop listening."""
        super().close()
        self._close_spare()

    def _accept_one(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in OUT_OF_FILES:
                raise
        self._warn()
        if not self.make_room():
            self._shed()
        raise BlockingIOError(errno.EAGAIN, "out of file descriptors")

    def _shed(self) -> None:
        """Accept a connection with the spare file, and close it."""
        self._close_spare()
        with suppress(OSError):
            super().accept()[0].close()
        self._spare = _spare_file()

    def _close_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _warn(self) -> None:
        now = time.monotonic()
        if now >= self._warned + WARNING_INTERVAL:
            self._warned = now
            log.warning("out of file descriptors, shedding connections; allow this process more (ulimit -n)")


def _spare_file() -> int | None:
    with suppress(OSError):
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return None


class HttpServer(HTTPServer):
    """Tornado's server with limits for handshakes, that is, connections that are no WebSockets yet.

    `max_handshakes`: in all; for one more, the address that has the most gives up its oldest, so that slow and silent
    clients keep nobody out. `max_address_handshakes`: of one address; more are closed as they come. 0 is no limit, and
    trusted proxies have none. A connection is served when something has arrived on it, and closed if nothing arrives in
    `idle_connection_timeout` seconds. Those that wait to be served are taken from all addresses in turn.
    """

    pass_on: Callable[[socket.socket], bool] = staticmethod(lambda _connection: False)
    """Gives a connection on which something has arrived to another process; False if it is to be served here."""

    def initialize(  # type: ignore[override]
        self,
        request_callback: Any,
        *,
        max_handshakes: int,
        max_address_handshakes: int,
        request_limits: RequestLimits,
        trusted_proxies: TrustedProxies,
        **kwargs: Any,
    ) -> None:
        """Take the arguments of `HTTPServer`, the limits, and the trusted proxies."""
        super().initialize(request_callback, **kwargs)
        set_parse_body_config(ParseBodyConfig(urlencoded=ParseUrlEncodedConfig(max_arguments=MAX_ARGUMENTS)))
        self._max_handshakes = max_handshakes
        self._max_address_handshakes = max_address_handshakes
        self._request_limits = request_limits
        self._trusted_proxies = trusted_proxies
        self._handshakes = Handshakes()
        self._silent = SilentConnections(kwargs["idle_connection_timeout"], self._spoke, self._close_silent)
        self._waiting: FairQueue[tuple[socket.socket, Any]] = FairQueue()
        self._batch = AdaptiveBatch(MAX_SERVED)
        self._round_under_way = False

    @property
    def handshakes(self) -> int:
        """The number of connections that are no WebSockets yet."""
        return len(self._handshakes)

    def add_sockets(self, sockets: Any) -> None:
        """Accept connections on these sockets."""
        for each in sockets:
            if isinstance(each, ListeningSocket):
                each.make_room = self._handshakes.close_one
                each.accepted = self._accepted
        super().add_sockets(sockets)

    def stop(self) -> None:
        """Accept no more connections, and close those that are not served yet."""
        super().stop()
        self._silent.expire_all()
        while self._waiting:
            connection, _ = self._waiting.pop()
            self._handshakes.remove(connection)
            connection.close()

    def take(self, connection: socket.socket, address: Any) -> None:
        """Serve a connection that another process has accepted, and on which something has arrived."""
        group = self._admit(connection, address)
        if group is not None:
            self._wait(connection, address, group)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a new connection."""
        group, limited = self._group(address)
        self._handshakes.add(stream, group)
        limit_requests(stream, self._request_limits, group, limited=limited)
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """Note that a connection is closed, or is a WebSocket now."""
        connection: HTTP1ServerConnection = server_conn
        self._handshakes.remove(connection.stream)
        super().on_close(server_conn)

    def _group(self, address: Any) -> tuple[str, bool]:
        """Return what counts as one address, and whether it has limits. Each connection of a proxy is one by itself."""
        if not isinstance(address, tuple):
            return "", False
        if self._trusted_proxies.is_proxy(address[0]):
            return f"{address[0]} {address[1]}", False
        return group_of(address[0]), True

    def _accepted(self, connection: socket.socket, address: Any) -> None:
        group = self._admit(connection, address)
        if group is not None:
            self._handshakes.add(self._silent.add(connection, address), group)

    def _admit(self, connection: socket.socket, address: Any) -> str | None:
        """Make room for one more handshake; None, and the connection is closed, if its address has too many."""
        group, limited = self._group(address)
        if limited and 0 < self._max_address_handshakes <= self._handshakes.of(group):
            connection.close()
            return None
        if len(self._handshakes) >= self._max_handshakes:
            self._handshakes.close_one()
        return group

    def _close_silent(self, silent: SilentConnection) -> None:
        self._handshakes.remove(silent)
        silent.close()

    def _spoke(self, silent: SilentConnection) -> None:
        self._handshakes.remove(silent)
        if not self.pass_on(silent.socket):
            self._wait(silent.socket, silent.address, self._group(silent.address)[0])

    def _wait(self, connection: socket.socket, address: Any, group: str) -> None:
        self._handshakes.add(connection, group)
        self._waiting.push(group, (connection, address))
        if not self._round_under_way:
            self._batch.begin(time.monotonic())
            self._start_round()

    def _start_round(self) -> None:
        self._round_under_way = True
        asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        """Serve some of the waiting connections: fewer while rounds of the event loop take long."""
        if not self._waiting:
            self._round_under_way = False
            return
        self._start_round()
        for _ in range(min(self._batch.next_round(time.monotonic()), len(self._waiting))):
            connection, address = self._waiting.pop()
            self._handshakes.remove(connection)
            if connection.fileno() >= 0:  # else it was given up
                self._handle_connection(connection, address)
