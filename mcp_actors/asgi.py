"""The server as an ASGI application of its own: `uvicorn mcp_actors.asgi:application`.

It has the settings of the standalone server, but where to listen, TLS and workers are arguments of the ASGI server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mcp_actors import logs
from mcp_actors.adapters.asgi.lifespan import run_lifespan
from mcp_actors.environment import load
from mcp_actors.reloading import level_of
from mcp_actors.signaling_server import SignalingServer

if TYPE_CHECKING:
    from mcp_actors.adapters.asgi.interface import Receive, Scope, Send

log = structlog.get_logger("mcp_actors")

NO_LIFESPAN = "mcp_actors was not started; the ASGI server must run its lifespan, such as uvicorn with --lifespan on."


class Application:
    """The server, which reads its settings when it starts, so that the ASGI server can tell what is wrong with them."""

    def __init__(self) -> None:
        self._signaling: SignalingServer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one scope."""
        if scope["type"] == "lifespan":
            await run_lifespan(self._start, self._stop, receive, send)
        elif self._signaling is None:
            raise RuntimeError(NO_LIFESPAN)
        else:
            await self._signaling.asgi()(scope, receive, send)

    async def _start(self) -> None:
        settings = load()
        logs.set_up(level_of(settings), settings.server.log_format, settings.server.access_log_rate)
        for name in settings.obsolete:
            log.warning("setting no longer exists and has no effect", setting=name)
        signaling = SignalingServer(settings)
        await signaling.start()
        self._signaling = signaling

    async def _stop(self) -> None:
        if self._signaling is not None:
            await self._signaling.stop()


application = Application()
