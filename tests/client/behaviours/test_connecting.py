"""Connections that cannot be made, and tokens."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bench.ports import free_ports
from tests.client.behaviours.driver import DEADLINE, Refused
from tests.support.server import Server
from tests.support.tokens import OPTIONAL, REQUIRED, SECRET, token
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.client.behaviours.conftest import Connects

    Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def failure(connect: Connects, to: Server | str, **options: object) -> Refused:
    """The error with which a client cannot connect."""
    with pytest.raises(Refused) as refused:
        await connect.peer(to, **options)
    return refused.value


@asynccontextmanager
async def asking(answer: Answer, directory: Path) -> AsyncIterator[Server]:
    """A server that asks an application, which answers in this way."""
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as application:
        port = application.sockets[0].getsockname()[1]
        server = Server(directory, auth_url=f"http://127.0.0.1:{port}/", secret_key=SECRET)
        await server.start()
        yield server
        await server.stop()


async def test_a_handshake_that_the_application_refuses_is_told_apart_from_a_dead_network(
    connect: Connects, tmp_path: Path
) -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with asking(refuse, tmp_path) as server:
        error = await failure(connect, server, connectTimeout=500)
    assert error.code == "handshake-refused"  # browsers hide whether it makes sense to try again


async def test_a_client_that_connects_again_names_its_room_in_the_url(connect: Connects, tmp_path: Path) -> None:
    rooms: asyncio.Queue[str | None] = asyncio.Queue()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split("\r\n")[0])
        asked = json.loads(await reader.readexactly(length))
        if asked["type"] == "handshake":
            rooms.put_nowait(asked["query"].get("room"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 16\r\nConnection: close\r\n\r\n{"identity":"a"}')
        writer.close()

    async with asking(note, tmp_path) as server:
        path = NetworkPath(server.port)
        client = await connect.peer(path)
        room = await client.join("a room & more", "a")
        assert await rooms.get() is None  # it was not known yet
        path.cut()
        path.mend()
        assert await asyncio.wait_for(rooms.get(), DEADLINE) == "a room & more"
        await room.call("update", value={"back": True})
        await client.close()
        path.cut()


async def test_a_path_without_an_endpoint_is_a_refused_handshake(server: Server, connect: Connects) -> None:
    error = await failure(connect, server.url("/elsewhere"))
    assert (error.code, error.retryable) == ("handshake-refused", False)


async def test_a_port_where_nobody_listens_is_unreachable(connect: Connects) -> None:
    error = await failure(connect, f"ws://127.0.0.1:{free_ports()}", connectTimeout=500)
    assert (error.code, error.retryable) == ("unreachable", True)


@pytest.mark.settings(max_address_connections=1)
async def test_a_server_with_too_many_connections_of_an_address_says_to_come_later(
    server: Server, connect: Connects
) -> None:
    first = await connect.peer(server)
    await first.join("r", "a")
    error = await failure(connect, server, connectTimeout=500)
    assert error.retryable, error


@pytest.mark.settings(**REQUIRED)
async def test_a_client_without_a_usable_token_is_refused_for_good(server: Server, connect: Connects) -> None:
    error = await failure(connect, server, tokens=["nonsense"])
    assert (error.code, error.retryable) == ("closed", False)
    assert error.details["code"] == 4502


@pytest.mark.settings(**REQUIRED, auth_notice=60)
async def test_a_token_is_renewed_before_it_ends(server: Server, connect: Connects) -> None:
    client = await connect.peer(server, tokens=[token("ada", 2), token("ada", 3600)])
    room = await client.join("r")
    order = (await room.view())["order"]
    observer = await connect.peer(server, tokens=[token("grace")])
    seen = await observer.join("r")
    while (await seen.view())["peers"].get("ada") != {"round": 3}:
        for number in range(4):
            await room.call("update", value={"round": number})
    assert (await room.view())["order"] == order


@pytest.mark.settings(**OPTIONAL)
async def test_the_owner_of_an_id_replaces_who_only_claims_it(server: Server, connect: Connects) -> None:
    claimed = await (await connect.peer(server)).join("r", "ada")
    owner = await connect.peer(server, tokens=[token("ada")])
    await owner.join("r")
    [ended] = await claimed.hear("ended")
    assert ended["code"] == "closed"
