"""The members of a room at one of several processes: real ones, on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from mcp_actors.adapters.http.room_hint import process_of
from mcp_actors.auth.secret import make
from tests.support.certificate import make_certificate
from tests.support.client import DEADLINE, Client
from tests.support.server import Process, hear, workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.engine import Engine

SECRET = make()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the children of a process in /proc")


@pytest.fixture
def start_node(tmp_path: Path, engine: Engine, prefix: str) -> Iterator[Callable[..., Process]]:
    """Start two processes that serve one port, or one Unix socket."""
    with ExitStack() as running:

        def start(*arguments: str, **settings: str) -> Process:
            usual = {"SECRET_KEY": SECRET, "LOG_LEVEL": "debug", "DRAIN_SECONDS": "0.3", "REDIS_PREFIX": prefix}
            environ = {f"MCP_ACTORS_{name}": value for name, value in (usual | settings).items()}
            environ["REDIS_URL"] = engine.url
            process = Process(tmp_path, "--processes", "2", *(arguments or ("--port", "0")), **environ)
            running.enter_context(process).wait_until_serving()
            for _ in range(2):
                hear(process.process, "listening")
            return process

        yield start


def rooms_of(name: str) -> dict[int, str]:
    """A room of each process, which only one test uses."""
    return {process_of(room.encode(), 2): room for room in (f"{name}-{number}" for number in range(20))}


async def peer(node: Process, room: str = "") -> tuple[Client, int]:
    """A peer whose URL names a room, if any, and the number of the process that serves it."""
    query = f"?room={room}" if room else ""
    client = await Client.open(f"ws://localhost:{node.port}/ws/signaling/{query}")
    return client, hear(node.process, "opened")["process"]


async def peers(node: Process, room: str, count: int) -> list[tuple[Client, int]]:
    return [await peer(node, room) for _ in range(count)]


async def end(*clients: tuple[Client, int]) -> None:
    for client, _ in clients:
        await client.end()


async def test_the_members_of_a_room_are_at_one_process_and_those_of_another_room_at_another(
    start_node: Callable[..., Process],
) -> None:
    rooms = rooms_of("kept")
    node = start_node()
    for number, room in rooms.items():
        found = await peers(node, room, 6)
        assert {process for _, process in found} == {number}
        assert [len((await each.join(room, str(index)))["peers"]) for index, (each, _) in enumerate(found)] == [
            *range(1, 7)
        ]
        await end(*found)
    node.process.send_signal(signal.SIGHUP)
    for _ in range(2):
        hear(node.process, "reloading")
    found = await peers(node, rooms[1], 6)
    assert {process for _, process in found} == {1}
    node.process.send_signal(signal.SIGTERM)
    for client, _ in found:
        await client.expect("reconnect")
        await client.expect_close(1012)
        await client.end()
    assert await asyncio.to_thread(node.process.wait, 30) == 0


async def test_the_room_is_only_a_hint_to_joins_and_to_sessions(start_node: Callable[..., Process]) -> None:
    rooms = rooms_of("hint")
    node = start_node()
    here, elsewhere = await peer(node, rooms[1]), await peer(node, rooms[2])
    a, b = here[0], elsewhere[0]
    joined = await a.join("another room", "a")
    await b.join("another room", "b")
    await a.expect("peer-joined", peer_id="b")
    a.vanish()
    again, process = await peer(node, rooms[2])
    await again.say("join", "another room", {"peer_id": "a", "resume": joined["resume"], "received": a.received})
    await again.expect("joined", resumed=True, complete=True)
    await b.say("signal", "another room", {"target_peer_id": "a", "data": "hello"})
    await again.expect("signal", data="hello")
    assert (here[1], elsewhere[1], process) == (1, 2, 2)
    await end(here, elsewhere, (again, process))
    assert await asyncio.to_thread(node.stop) == 0


async def test_while_the_process_of_a_room_is_down_others_serve_it_and_then_it_does_again(
    start_node: Callable[..., Process],
) -> None:
    rooms = rooms_of("down")
    node = start_node()
    found = [await peer(node, rooms[1])]
    os.kill(workers(node.process)[0], signal.SIGKILL)
    assert hear(node.process, "worker died, restarting it")["process"] == 1
    async with asyncio.timeout(DEADLINE):
        while found[-1][1] != 1 or len(found) == 1:
            found.append(await peer(node, rooms[1]))
            members = len((await found[-1][0].join(rooms[1], str(len(found))))["peers"])
    assert members == len(found) - 1
    await end(*found)
    assert await asyncio.to_thread(node.stop) == 0


async def test_the_limits_of_an_address_hold_for_connections_that_are_passed_on(
    start_node: Callable[..., Process],
) -> None:
    rooms = rooms_of("limits")
    node = start_node(MAX_ADDRESS_CONNECTIONS="2")
    found = await peers(node, rooms[1], 2)
    for _ in range(4):
        with pytest.raises(InvalidStatus, match="429"):
            await peer(node, rooms[1])
    await end(*found)
    assert await asyncio.to_thread(node.stop) == 0


async def test_processes_at_a_unix_socket_keep_rooms_together(
    start_node: Callable[..., Process], tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    rooms = rooms_of("unix")
    node = start_node("--host", f"unix:{path}", TRUSTED_PROXIES="unix:")
    for number, room in rooms.items():
        for _ in range(6):
            client = await Client.open_at(path, f"ws://localhost/ws/signaling/?room={room}")
            assert hear(node.process, "opened")["process"] == number
            await client.end()
    assert await asyncio.to_thread(node.stop) == 0


async def test_without_room_affinity_connections_stay_where_they_were_accepted(
    start_node: Callable[..., Process],
) -> None:
    rooms = rooms_of("off")
    node = start_node(ROOM_AFFINITY="False")
    found = await peers(node, rooms[1], 40)
    assert {process for _, process in found} == {1, 2}
    await end(*found)
    assert await asyncio.to_thread(node.stop) == 0


async def test_with_tls_connections_stay_where_they_were_accepted(
    start_node: Callable[..., Process], tmp_path: Path
) -> None:
    certificate = make_certificate(tmp_path / "server.pem")
    rooms = rooms_of("tls")
    node = start_node(TLS_CERT_FILE=str(certificate))
    trusting = ssl.create_default_context(cafile=certificate)
    found = set()
    for _ in range(40):
        client = await Client.open(f"wss://localhost:{node.port}/ws/signaling/?room={rooms[1]}", trusting)
        found.add(hear(node.process, "opened")["process"])
        await client.end()
    assert found == {1, 2}
    assert await asyncio.to_thread(node.stop) == 0
