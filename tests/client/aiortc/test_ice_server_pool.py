"""The servers for connections: those that answer."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from mcp_actors.auth.secret import make
from mcp_actors.client import connect, ice_server_check
from mcp_actors.client.aiortc.ice_server_pool import IceServerPool
from tests.support.coturn import Coturn
from tests.support.loop import until
from tests.support.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_only_servers_that_answer_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ice_server_check, "ATTEMPT_TIMEOUT", 0.2)
    secret = make()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, Coturn(tmp_path, secret) as relay:
        silent.bind(("127.0.0.1", 0))
        dead = f"turn:127.0.0.1:{silent.getsockname()[1]}"
        server = Server(tmp_path, turn_urls=[dead, relay.url], turn_secret=[secret])
        await server.start()
        async with connect(server.url("")) as client:
            pool = IceServerPool(await client.join("r", "ada"))
            assert pool.servers() == []
            await pool.start()
            await until(pool.servers, "a server that answers")
            assert [one.urls for one in pool.servers()] == [[relay.url]]
            assert not pool.is_turn_refused
            await pool.close()
        await server.stop()


async def test_new_credentials_are_asked_for_and_used(tmp_path: Path) -> None:
    secret = make()
    with Coturn(tmp_path, make()) as relay:
        server = Server(tmp_path, turn_urls=[relay.url], turn_secret=[secret])
        await server.start()
        async with connect(server.url("")) as client:
            room = await client.join("r", "ada")
            pool, given = IceServerPool(room), room.ice_servers
            await pool.start()
            await until(lambda: pool.is_turn_refused, "a refusal")
            assert pool.servers() == []
            relay.administrate(f"--set-secret={secret}")
            pool.renew()
            await pool.renewed()
            await until(pool.servers, "a server that takes the credentials")
            assert room.ice_servers is not given
            assert not pool.is_turn_refused
            await pool.close()
        await server.stop()


async def test_a_room_without_servers_asks_for_nothing(server: Server) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("r", "ada")
        pool, given = IceServerPool(room), room.ice_servers
        await pool.start()
        pool.renew()
        await pool.renewed()
        assert pool.servers() == []
        assert room.ice_servers is given
        await pool.close()
