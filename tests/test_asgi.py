"""`mcp_actors.asgi:application` in ASGI servers, each a process of its own."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from bench.engine import Engine
from mcp_actors.asgi import NO_LIFESPAN, application
from mcp_actors.auth.secret import make
from tests.support.asgi_process import COMMANDS, AsgiProcess
from tests.support.client import Closed
from tests.support.server import END_DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


AFTER_CLOSE = {"uvicorn": "peer-left", "hypercorn": "peer-away", "granian": "peer-left"}
"""What others are told of a client that has closed. hypercorn does not tell that from a connection that was lost."""

STOP_CODES = {"uvicorn": {1012}, "hypercorn": {1011}, "granian": {1001, 1006, 1012}}
"""The codes with which the servers close WebSockets when they stop; clients reconnect after each of them."""


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with Engine() as engine:
        yield engine.url


async def page(server: AsgiProcess, path: str) -> bytes:
    """The body of a page."""

    def ask() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=END_DEADLINE) as answer:
            return bytes(answer.read())

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize("server", COMMANDS)
async def test_every_asgi_server_serves_the_page_and_both_endpoints(server: str, tmp_path: Path) -> None:
    with AsgiProcess(tmp_path, server, MCP_ACTORS_ICE_SERVERS='[{"urls": "stun:stun.example"}]') as process:
        await asyncio.to_thread(process.wait_until_serving)
        assert b"<title>" in await page(process, "/")
        assert json.loads(await page(process, "/healthz"))["broker"] == "memory"
        a, b, user = await process.client(), await process.client(), await process.client("/ws/mcp/")
        joined = await a.join("r", "a")
        assert joined["ice_servers"] == [{"urls": "stun:stun.example"}]
        await b.join("r", "b", presence=True)
        await a.expect("peer-joined", peer_id="b")
        await user.enter("r", "u")
        for number in range(100):
            await a.say("signal", "r", {"target_peer_id": "b", "data": number})
        for number in range(100):
            await b.expect("signal", data=number)
        a.vanish()
        await b.expect("peer-away", peer_id="a")
        again = await process.client()
        await again.say("join", "r", {"peer_id": "a", "resume": joined["resume"], "received": a.received})
        await again.expect("joined", resumed=True)
        await b.expect("peer-back", peer_id="a")
        await again.close()
        await b.expect(AFTER_CLOSE[server], peer_id="a")
        await b.send("nonsense")
        await b.expect_error("bad-message")
        for client in (b, user):
            await client.end()
        with pytest.raises(InvalidStatus) as refused:
            await process.client(Origin="http://evil.example")
        assert (refused.value.response.status_code, b"CORS_ALLOWED_ORIGINS" in refused.value.response.body) == (
            403,
            True,
        )
        assert await asyncio.to_thread(process.stop) in (0, -15)
        assert "/mcp_actors/" not in process.said(), "no traceback leads through this package"


@pytest.mark.parametrize("server", COMMANDS)
async def test_a_server_that_stops_closes_its_clients(server: str, tmp_path: Path) -> None:
    with AsgiProcess(tmp_path, server) as process:
        await asyncio.to_thread(process.wait_until_serving)
        peer = await process.client()
        await peer.join("r", "a")
        stopping = asyncio.ensure_future(asyncio.to_thread(process.stop))
        with pytest.raises(Closed) as closed:
            await peer.hear()
        assert closed.value.code in STOP_CODES[server]
        await peer.end()
        await stopping
        assert "/mcp_actors/" not in process.said(), "no traceback leads through this package"


async def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    with AsgiProcess(tmp_path, MCP_ACTORS_PING_INTERVAL="soon") as process:
        assert await asyncio.to_thread(process.wait) == 3
        assert "MCP_ACTORS_PING_INTERVAL" in process.said()


async def test_several_workers_without_redis_are_told_that_they_need_it(tmp_path: Path) -> None:
    with AsgiProcess(tmp_path, "uvicorn", "--workers", "2") as process:
        await asyncio.to_thread(process.wait)
        assert "Several worker processes were started" in process.said()
        assert "MCP_ACTORS_REDIS_URL" in process.said()


async def test_several_workers_share_rooms_through_redis(tmp_path: Path, redis_url: str) -> None:
    environ = {"REDIS_URL": redis_url, "MCP_ACTORS_SECRET_KEY": make()}
    with AsgiProcess(tmp_path, "uvicorn", "--workers", "2", **environ) as process:
        await asyncio.to_thread(process.wait_until_serving)
        peers = [await process.client() for _ in range(8)]
        for number, peer in enumerate(peers):
            joined = await peer.join("r", str(number))
            assert len(joined["peers"]) == number + 1
        for peer in peers:
            await peer.end()


async def test_a_server_without_lifespan_is_told_that_it_needs_one() -> None:
    async def unused(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="lifespan") as told:
        await application({"type": "http"}, unused, unused)
    assert str(told.value) == NO_LIFESPAN
