"""The programs in docs/reference/python.md run as they stand there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import ClientCode, Message, PeerJoined, Signal, UserJoined, connect, connect_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

TEXT = (Path(__file__).parent.parent / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
PEER, MESH, USER = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that are stopped after the test."""
    programs: list[subprocess.Popen[str]] = []
    yield programs
    for program in programs:
        program.kill()
        program.communicate()


def run(program: str, server: Server, programs: list[subprocess.Popen[str]]) -> None:
    text = program.replace("ws://localhost:8000", server.url(""))
    programs.append(subprocess.Popen([sys.executable, "-u", "-c", text], stdout=subprocess.PIPE, text=True))


async def test_the_peer_answers_whoever_speaks_to_it(server: Server, programs: list[subprocess.Popen[str]]) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("team-1", "ada")
        run(PEER, server, programs)
        joined = await anext(room)
        assert isinstance(joined, PeerJoined)
        assert joined.metadata == {"name": "Echo"}
        await room.signal(joined.peer_id, [1, 2])
        assert await anext(room) == Signal(sender=joined.peer_id, data={"echo": [1, 2]})


async def test_the_mesh_speaks_to_everybody(server: Server, programs: list[subprocess.Popen[str]]) -> None:
    hosts = 'import aioice.ice\naioice.ice.get_host_addresses = lambda *_, **__: ["127.0.0.1"]\n'
    for _ in range(2):
        run(hosts + MESH, server, programs)
    stdout = programs[0].stdout
    assert stdout is not None
    assert (await asyncio.to_thread(stdout.readline)).endswith(" says Hello!\n")


async def test_the_user_speaks_and_shows_what_others_say(server: Server, programs: list[subprocess.Popen[str]]) -> None:
    async with connect_user(server.url(""), "grace") as client:
        room = await client.join("team-1")
        run(USER, server, programs)
        assert await anext(room) == UserJoined(user_id="ada")
        assert await anext(room) == Message(sender="ada", content={"text": "Hello!"})
        await room.send("Hi!")
        await client.close()
    stdout = programs[0].stdout
    assert stdout is not None
    assert await asyncio.to_thread(stdout.readline) == "grace Hi!\n"


def test_every_code_of_the_client_is_listed() -> None:
    assert {code for code in ClientCode if f"`{code}`" not in TEXT} == set()
