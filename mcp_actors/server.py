"""The server process: listening sockets, TLS, signals, and the greeting."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import structlog

from mcp_actors import __version__
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.tornado.authorize_callback import callback
from mcp_actors.adapters.tornado.http_server import HttpServer
from mcp_actors.adapters.tornado.key_fetcher import key_fetcher
from mcp_actors.adapters.tornado.request_limits import RequestLimits
from mcp_actors.adapters.tornado.web_app import EchoRoute, WebApp, refusal
from mcp_actors.adapters.tornado.webhook_client import reporting
from mcp_actors.app import App, StartError
from mcp_actors.background import BackgroundTasks
from mcp_actors.listening import Place, limit_buffers, listen
from mcp_actors.loopback import UNIX, is_loopback, plain_host
from mcp_actors.systemd import ServiceManager
from mcp_actors.tls import Certificate, TlsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ssl import SSLContext

    from mcp_actors.adapters.http.site import Site
    from mcp_actors.adapters.tornado.http_server import ListeningSocket
    from mcp_actors.metrics.siblings import Siblings
    from mcp_actors.reloading import Reloading
    from mcp_actors.room_affinity import RoomAffinity
    from mcp_actors.settings import Settings

log = structlog.get_logger("mcp_actors")

SIGNALS = (signal.SIGINT, signal.SIGTERM)

GC_THRESHOLD = 2_000
"""New objects that trigger the garbage collector.

Rooms and connections are many objects that stay: with Python's default of 700, creating a room among 50,000 took more
than twice the CPU. Messages leave no cycles behind, but Tornado's requests do: with 20,000, the loop stopped for up to
170 ms during a flood of requests, with this for 16 ms.
"""


REQUEST_BUFFER = 16_384
"""Bytes that the kernel buffers of what a client sends before its handshake: it may send many requests, on many
connections, and wait for no answer."""

REQUEST_CHUNK = 32_768
"""Bytes that are read of requests at once."""


class Terminal:
    """The terminal from which this process was started, if there is one.

    SIGHUP means that it was closed, which ends the process as Ctrl-C does. Otherwise an operator wants a reload.
    """

    def __init__(self) -> None:
        self._was_there = self._is_there()

    @property
    def is_closed(self) -> bool:
        """Whether it was there when this object was made, and is not any more."""
        return self._was_there and not self._is_there()

    @staticmethod
    def _is_there() -> bool:
        return os.isatty(0)


def tune_gc() -> None:
    """Keep the garbage collector from traversing all rooms again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 5, 100)


class Server:
    """An `App` behind listening sockets: those of the settings, or those that it is given. It tells its `manager`.

    `reloading` reads the settings again. `siblings`: the other workers, if this is one of several; `affinity` passes
    connections to them.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[ListeningSocket] = (),
        manager: ServiceManager | None = None,
        *,
        reloading: Reloading | None = None,
        siblings: Siblings | None = None,
        affinity: RoomAffinity | None = None,
    ) -> None:
        self.app = App(
            settings,
            callback(settings.auth),
            reporting(settings.webhooks, settings.cluster.node_lease),
            fetch_keys=key_fetcher(settings.auth),
            has_admin_port=bool(settings.server.admin_port),
            siblings=siblings,
        )
        self._settings = settings
        self._reloading = reloading
        http = settings.http
        self._certificate = Certificate(http.tls_cert_file, http.tls_key_file) if http.tls_cert_file else None
        self.http_server, *self._admin_servers = self._http_servers()
        self._sockets = list(sockets)
        self._affinity = affinity
        self._manager = manager or ServiceManager()
        self._background = BackgroundTasks()
        self._stop_requested = asyncio.Event()
        self._terminal = Terminal()

    @property
    def port(self) -> int:
        """The bound port: the configured one, or the one that the system chose for 0; 0 for a Unix socket."""
        return Place.of(self._sockets[0]).port

    @property
    def admin_port(self) -> int:
        """The port for operators; 0 for none."""
        return self._settings.server.admin_port

    async def start(self) -> None:
        """Start the application, then listen. Raises `StartError`."""
        await self.app.start()
        try:
            self._listen()
        except StartError:
            await self.app.stop()
            raise
        if self._certificate is not None:
            certificate = self._certificate
            self._background.start(lambda: certificate.follow(self._use_certificate), "certificate reload")
        self._log_start()

    def _listen(self) -> None:
        """Accept connections of clients, and of operators if they have a port of their own. Raises `StartError`."""
        settings, buffer = self._settings.server, self._settings.connections.max_socket_buffer_bytes
        receive_buffer, shared = min(buffer, REQUEST_BUFFER), settings.processes > 1
        admin_sockets: list[ListeningSocket] = []
        try:
            if settings.admin_port:
                admin_sockets = listen(settings.admin_host, settings.admin_port, admin=True, shared=shared)
            self._sockets = self._sockets or listen(
                settings.host, settings.port, mode=settings.socket_mode, shared=shared
            )
        except StartError:
            for one in admin_sockets:
                one.close()
            raise
        limit_buffers(self._sockets, send=buffer, receive=receive_buffer)
        limit_buffers(admin_sockets, send=0, receive=receive_buffer)
        if self._affinity is not None:
            self._affinity.passing.listen(self.http_server.take, lambda: self.app.connections.refusal is not None)
            self.http_server.pass_on = self._affinity.pass_on
        self.http_server.add_sockets(self._sockets)
        for server in self._admin_servers:
            server.add_sockets(admin_sockets)

    def _log_start(self) -> None:
        """Log where the server listens, and what should be changed about that."""
        server, http = self._settings.server, self._settings.http
        if server.admin_port:
            log.info("listening for operators", host=server.admin_host, port=server.admin_port)
        log.info("listening", host=server.host, port=self.port, node=self.app.node.id, version=__version__)
        if not is_loopback(server.host) and not http.allowed_hosts:
            log.warning("reachable under any host name; set MCP_ACTORS_ALLOWED_HOSTS", host=server.host)
        if server.host.startswith(UNIX) and UNIX not in http.trusted_proxies:
            log.warning("clients of a Unix socket share one address; set MCP_ACTORS_TRUSTED_PROXIES=unix:")

    async def stop(self) -> None:
        """Stop the application, then stop listening: until then load balancers are told that it is not ready.

        They have `shutdown_delay` to notice before connections are refused. Each step is taken even if an earlier one
        fails.
        """
        self.app.readiness.stopping = True
        delay = self._settings.server.shutdown_delay
        if delay:
            log.info("not ready any more, waiting for load balancers", seconds=delay)
            await asyncio.sleep(delay)
        count = len(self.app.connections)
        async with AsyncExitStack() as steps:  # in reverse order
            for server in (self.http_server, *self._admin_servers):
                steps.push_async_callback(server.close_all_connections)
                steps.callback(server.stop)
            if self._affinity is not None:
                steps.callback(self._affinity.passing.stop)
            steps.push_async_callback(self._background.stop)
            steps.push_async_callback(self.app.stop)
        log.info("stopped", connections=count)

    def request_stop(self) -> None:
        """Make `run` stop the server, as a signal does."""
        self._stop_requested.set()

    def reload(self) -> None:
        """Load the certificate and some settings again; see `Reloading`. Key files are read when they change."""
        log.info("reloading")
        self._manager.reloading()
        if self._reloading is not None:
            self._reloading.run(self.app.access_log)
        if self._certificate is not None:
            self._certificate.reload(self._use_certificate)
        self._manager.ready()

    def _hang_up(self) -> None:
        if self._terminal.is_closed:
            self.request_stop()
        else:
            self.reload()

    async def run(self, announce: Callable[[str], None], *, supervised: bool = False) -> None:
        """Start, announce the addresses, serve until SIGINT or SIGTERM, and stop; SIGHUP reloads.

        A second signal ends the process at once, unless it is `supervised`: then its parent decides, because the first
        signal may come after the parent has already asked it to stop.
        """
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        await self.start()
        tune_gc()
        announce(self._greeting())
        self._manager.ready()
        if self._manager.interval:
            self._background.start(self._manager.keep_alive, "watchdog")
        await self._stop_requested.wait()
        self._manager.stopping()
        for number in () if supervised else SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        await self.stop()

    def _http_servers(self) -> list[HttpServer]:
        """The server of clients; and that of operators, if it has a port. That has no TLS on a port of this machine."""
        server, app = self._settings.server, self.app
        try:
            tls = None if self._certificate is None else self._certificate.load()
        except TlsError as error:
            raise StartError(str(error)) from None
        if self._settings.http.echo:
            app.site.add("/echo", EchoRoute(app.policy))
        found = [self._http_server(app.site, tls)]
        if app.admin_site is not None:
            found.append(self._http_server(app.admin_site, None if is_loopback(server.admin_host) else tls))
        return found

    def _http_server(self, site: Site, tls: SSLContext | None) -> HttpServer:
        http = self._settings.http
        return HttpServer(
            WebApp(site, self._settings.connections.max_socket_buffer_bytes),
            max_handshakes=http.max_handshakes,
            max_address_handshakes=http.max_address_handshakes,
            request_limits=RequestLimits(
                http.max_headers,
                http.max_request_bytes,
                partial(refusal, banner=site.banner),
                lambda address: self.app.addresses.request_wait(address, asyncio.get_running_loop().time()),
            ),
            trusted_proxies=site.trusted_proxies,
            ssl_options=tls,
            chunk_size=REQUEST_CHUNK,
            max_header_size=http.max_request_bytes,
            max_body_size=http.max_request_bytes,
            idle_connection_timeout=http.request_timeout,
            body_timeout=http.request_timeout,
        )

    def _use_certificate(self, context: SSLContext) -> None:
        for server in (self.http_server, *self._admin_servers):
            if server.ssl_options is not None:
                server.ssl_options = context

    def _name(self) -> str:
        """A host name under which this server answers."""
        server, http = self._settings.server, self._settings.http
        host = plain_host(server.host)
        if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = socket.gethostname()
        policy = OriginPolicy(http.allowed_hosts, (), loopback=is_loopback(server.host))
        headers = {"Host": f"[{host}]" if ":" in host else host}
        return host if policy.refusal(headers) is None else http.allowed_hosts[0].removeprefix(".")

    def _greeting(self) -> str:
        if self._settings.server.host.startswith(UNIX):
            return _unix_greeting(self._settings.server.host)
        host = self._name()
        where = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        s = "" if self._certificate is None else "s"
        agents = f"  agents      http{s}://{where}/mcp            for hosts of the Model Context Protocol\n"
        return (
            f"mcp_actors {__version__} is serving. Stop it with Ctrl-C.\n"
            f"  demo call   http{s}://{where}/               open it in two tabs\n"
            f"  signaling   ws{s}://{where}/ws/signaling/   for WebRTC peers\n"
            f"{agents if self.app.mcp is not None else ''}"
            f"  messages    ws{s}://{where}/ws/mcp/         for users of the same rooms"
        )


def _unix_greeting(host: str) -> str:
    path = host.removeprefix(UNIX)
    return (
        f"mcp_actors {__version__} is serving at {host}. Stop it with Ctrl-C.\n"
        f"  That is for a proxy on this machine. Try it with: curl --unix-socket {path} http://localhost/healthz"
    )
