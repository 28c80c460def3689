"""The contract of connections on ASGI, in uvicorn over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.asgi import transport
from tests.connection.contract import ConnectionContract
from tests.support.asgi import AsgiServer
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tornado.ioloop import IOLoop


class TestUvicorn(ConnectionContract):
    """Connections on real sockets."""

    @pytest.fixture
    def server(
        self, request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[AsgiServer]:
        """A server in uvicorn."""
        monkeypatch.setattr(transport, "CLOSE_TIMEOUT", 0.5)
        marker = request.node.get_closest_marker("settings")
        server = AsgiServer(tmp_path, **(marker.kwargs if marker else {}))
        io_loop.run_sync(server.start)
        yield server
        io_loop.run_sync(server.stop)

    @pytest.mark.settings(ping_interval=0.1)
    async def test_messages_that_were_sent_long_ago_are_not_kept(self, server: AsgiServer) -> None:
        """No pong is seen that says so, but uvicorn would have closed the connection."""
        a, b = await server.peer(), await server.peer()
        b_joined = await b.join("r", "b")
        await a.join("r", "a")
        await b.expect("peer-joined")

        def kept() -> int:
            return server.app.memory.size_of("127.0.0.1")

        for _ in range(20):
            await a.say("signal", "r", {"target_peer_id": "b", "data": "x" * 5000})
            await b.expect("signal")
        await until(lambda: kept() > 50_000, "what was sent is kept")
        await until(lambda: kept() < 5000, "what was sent is forgotten")
        b.vanish()
        await a.say("signal", "r", {"target_peer_id": "b", "data": "missed"}, id=1)
        again = await server.peer()
        await again.say("join", "r", {"peer_id": "b", "resume": b_joined["resume"], "received": b.received})
        await again.expect("signal", data="missed")
        await again.expect("joined", resumed=True, complete=True)
