"""The server inside your own application: on the application's loop, below a prefix of its paths."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import structlog

from mcp_actors import logs
from mcp_actors.adapters.asgi.application import AsgiApp
from mcp_actors.adapters.asgi.lifespan import run_lifespan
from mcp_actors.adapters.http.mount import below
from mcp_actors.adapters.tornado.authorize_callback import callback
from mcp_actors.adapters.tornado.key_fetcher import key_fetcher
from mcp_actors.adapters.tornado.mount import MountedSite
from mcp_actors.adapters.tornado.web_app import WebApp
from mcp_actors.adapters.tornado.webhook_client import reporting
from mcp_actors.app import App, StartError
from mcp_actors.auth import secret
from mcp_actors.environment import load
from mcp_actors.loopback import is_loopback
from mcp_actors.metrics.collector import Collector
from mcp_actors.observing import Observing
from mcp_actors.rooms import Rooms
from mcp_actors.workers import is_only_worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from types import TracebackType

    from tornado.routing import Router

    from mcp_actors.adapters.asgi.interface import AsgiApplication, Receive, Scope, Send
    from mcp_actors.auth.authorization import Authorize
    from mcp_actors.observing import Observer
    from mcp_actors.settings import Settings

log = structlog.get_logger("mcp_actors")

SEVERAL_WORKERS = (
    "Several worker processes were started, but members of one room would not see each other across them: set "
    "MCP_ACTORS_REDIS_URL to a Redis that the workers share, or start one worker."
)
NOT_STARTED = (
    "This SignalingServer was not started. Pass lifespan=signaling.lifespan to your application, enter "
    "`async with signaling:` in the lifespan that it has, or call `await signaling.start()`."
)


class SignalingServer:
    """Both endpoints, the demo page, health and readiness, for an application to mount.

    It installs no signal handlers, opens no sockets and tunes nothing of the process. `settings`: as `environment.load`
    returns them; by default they are read from the environment and `.env`, as the standalone server reads them. Of
    those, what concerns listening sockets, TLS, processes and request heads is up to the server of the application.

    `authorize` decides who may connect and join; see `mcp_actors.auth.authorization`. By default that is the
    application behind `MCP_ACTORS_AUTH_URL`, if that is set.

    `observers` are called with the events of `mcp_actors.observing`, and may use `rooms`.

    `prefix` is a path such as `/signal`, without a slash at its end. It can be started again after it was stopped.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        authorize: Authorize | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        """Read the settings if there are none. Raises `SettingsError`."""
        self._settings = load() if settings is None else settings
        self._authorize = authorize or callback(self._settings.auth)
        self._observers = tuple(observers)
        self._observing: Observing | None = None
        self._app: App | None = None
        self._asgi: AsgiApp | None = None
        self._web: WebApp | None = None

    @property
    def app(self) -> App:
        """The parts of the started server. Raises `RuntimeError` if it was not started."""
        if self._app is None:
            raise RuntimeError(NOT_STARTED)
        return self._app

    @property
    def rooms(self) -> Rooms:
        """The rooms of the started server. Raises `RuntimeError` if it was not started."""
        return Rooms(self.app.node)

    @property
    def metrics(self) -> Collector:
        """A collector for a registry of prometheus_client; it has metrics while the server is started."""
        return Collector(lambda: None if self._app is None else self._app.metrics.sources)

    async def start(self) -> None:
        """Start on the running loop.

        Raises `SettingsError` if other machines can connect and there is no good secret, and `StartError` if Redis
        cannot be used, or if this is one of several workers without Redis.
        """
        if self._app is not None:
            raise RuntimeError("This SignalingServer is started already.")
        settings = self._settings
        secret.check(settings, local=is_loopback(settings.server.host))
        logs.pass_on(settings.server.access_log_rate)
        if not settings.redis.broker_url and not is_only_worker():
            raise StartError(SEVERAL_WORKERS)
        app = App(
            settings,
            self._authorize,
            reporting(settings.webhooks, settings.cluster.node_lease),
            fetch_keys=key_fetcher(settings.auth),
        )
        if self._observers:
            self._observing = Observing(self._observers, settings.rooms.max_observer_events)
            app.node.observe(self._observing)
            app.node.observe_messages(self._observing)
        await app.start()
        self._app, self._asgi = app, AsgiApp(app.site)
        self._web = WebApp(app.site, settings.connections.max_socket_buffer_bytes)
        log.info("started", node=app.node.id)

    async def stop(self) -> None:
        """Close all connections, and leave the other processes. Nothing happens if it was not started."""
        app = self._app
        if app is None:
            return
        try:
            await app.stop()  # until it has, requests are answered
            if self._observing is not None:
                await self._observing.close()
        finally:
            self._app = self._asgi = self._web = self._observing = None
        log.info("stopped")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()

    @asynccontextmanager
    async def lifespan(self, _application: object = None) -> AsyncIterator[None]:
        """Run it as long as an application that takes a lifespan: `FastAPI(lifespan=signaling.lifespan)`."""
        async with self:
            yield

    def asgi(self) -> AsgiApplication:
        """Return the ASGI application, to be mounted: `app.mount("/signal", signaling.asgi())`.

        Served by itself, it starts and stops with the server.
        """

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:  # a function: servers tell ASGI 3 by that
            await self._serve(scope, receive, send)

        return serve

    def beside(self, application: AsgiApplication, prefix: str) -> AsgiApplication:
        """Return an application that serves the paths below a prefix, and hands others to `application`.

        For frameworks that cannot mount, such as Django. It starts and stops with the server, and does not tell
        `application` of that.
        """

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            root = scope.get("root_path", "")
            path = below(root, scope.get("path", ""))
            if scope["type"] != "lifespan" and below(prefix, path) == path:
                await application(scope, receive, send)
                return
            scope["root_path"], scope["path"] = root + prefix, root + path
            await self._serve(scope, receive, send)

        return serve

    def tornado_routes(self, prefix: str = "") -> list[tuple[str, Router]]:
        """Return the routes below a prefix for Tornado: `Application([*signaling.tornado_routes("/signal"), ...])`.

        Start the server in the loop of the application: `await signaling.start()`.
        """
        return [(f"{re.escape(prefix)}(?:/.*)?", MountedSite(prefix, self._started_web))]

    def _started_web(self) -> WebApp:
        if self._web is None:
            raise RuntimeError(NOT_STARTED)
        return self._web

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self.start, self.stop, receive, send)
        elif self._asgi is None:
            raise RuntimeError(NOT_STARTED)
        elif scope["type"] == "websocket":
            await self._asgi.serve(scope, receive, send)
        else:
            await self._asgi.respond(scope, receive, send)
