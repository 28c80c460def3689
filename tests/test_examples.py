"""The examples, each started as its first line says: a login, and then a call."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from bench.ports import free_ports
from tests.support.client import Client
from tests.support.examples import EXAMPLES, Example, command_lines, started
from tests.support.server import END_DEADLINE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
CODE = {".py", ".js", ".mjs", ".jsx", ".vue", ".html"}
MAX_LINES = 60
MAX_LINES_OF_A_FOLDER = 100
START_DEADLINE = 30.0


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name: str) -> None:
    assert (EXAMPLES / name).read_text().count("\n") < MAX_LINES


@pytest.mark.parametrize("name", FOLDERS)
def test_an_example_with_a_folder_is_short_and_says_how_to_start_it(name: str) -> None:
    files = [path for path in (EXAMPLES / name).rglob("*") if path.suffix in CODE and "node_modules" not in path.parts]
    assert sum(path.read_text().count("\n") for path in files) < MAX_LINES_OF_A_FOLDER
    assert command_lines(name)


def command(name: str, port: int) -> list[str]:
    """The command line in the docstring of an example, with a port."""
    found = re.search(r"`([^`]+)`\.\"\"\"\n", (EXAMPLES / name).read_text())
    assert found is not None
    words = found[1].replace("[PORT]", str(port)).replace("examples", str(EXAMPLES)).split()
    start = {"python": [sys.executable], "uvicorn": [sys.executable, "-m", "uvicorn", "--port", str(port)]}
    return [*start[words[0]], *words[1:]]


@pytest.fixture(params=NAMES)
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """The port of a running example."""
    port = free_ports()
    process = subprocess.Popen(command(request.param, port), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    yield port
    process.terminate()
    _, told = process.communicate(timeout=END_DEADLINE)
    assert "Traceback" not in told, told


async def is_serving(port: int) -> None:
    async with asyncio.timeout(START_DEADLINE):
        while True:
            try:
                await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/")
            except OSError:
                await asyncio.sleep(0.02)
            else:
                return


async def log_in(port: int, user: str, password: str) -> dict[str, str]:
    """The headers of a browser after a login."""
    response = await AsyncHTTPClient().fetch(
        f"http://127.0.0.1:{port}/login",
        method="POST",
        body=f"user={user}&password={password}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        follow_redirects=False,
        raise_error=False,
    )
    assert response.code in (302, 303)
    cookies = [cookie.partition(";")[0] for cookie in response.headers.get_list("Set-Cookie")]
    return {"Cookie": "; ".join(cookies)} if cookies else {}


async def test_only_who_has_logged_in_enters_a_call_and_only_under_that_name(port: int) -> None:
    await is_serving(port)
    url = f"ws://127.0.0.1:{port}/signal/ws/signaling/"
    for headers in ({}, await log_in(port, "alice", "guess"), {"Cookie": "session=x; sessionid=x; user=x"}):
        with pytest.raises(InvalidStatus) as refused:
            await Client.open(url, None, **headers)
        assert (refused.value.response.status_code, refused.value.response.body) == (403, b"Log in first.\n")
    alice = await Client.open(url, None, **await log_in(port, "alice", "wonderland"))
    bob = await Client.open(url, None, **await log_in(port, "bob", "builder"))
    await alice.say("join", "team-1", {"metadata": {"name": "Mallory"}})
    await alice.expect("joined", peer_id="alice")
    await bob.say("join", "team-1", {"peer_id": "alice"})
    while (told := await bob.hear())["type"] == "announcement":
        pass
    assert told["payload"]["code"] == "forbidden"
    await bob.say("join", "elsewhere", {})
    await bob.expect_error("forbidden")
    await bob.say("join", "team-1", {})
    peers = (await bob.expect("joined", peer_id="bob"))["payload"]["peers"]
    assert [(peer["peer_id"], peer["metadata"], peer["verified"]) for peer in peers] == [
        ("alice", {"name": "Alice"}, True),
        ("bob", {"name": "Bob"}, True),
    ]
    page = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/", headers=await log_in(port, "bob", "builder"))
    (link,) = re.findall(rb'<a href="([^"]+)"', page.body)
    demo = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/{link.decode()}")
    assert b"mcp_actors" in demo.body
    for client in (alice, bob):
        await client.end()


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Example]:
    with started("tokens", tmp_path) as example:
        yield example


async def test_tokens_of_node_and_of_python_let_in_their_user_to_their_rooms_alone(tokens: Example) -> None:
    url = tokens.server.replace("http", "ws") + "/ws/signaling/"
    escaped = [tokens.run(line) for line in ("node sign.mjs eve '*'", "python3 sign.py eve '*'")]
    for token, user, room in [
        (tokens.printed[0], "alice", "team-1"),
        (tokens.printed[1], "bob", "team-1"),
        (escaped[0], "eve", "*"),
        (escaped[1], "eve", "*"),
    ]:
        client = await Client.open(url, None, Authorization=f"Bearer {token}")
        await client.expect("authenticated", sub=user)
        for other, name in (("team-2", user), (room, "mallory")):
            await client.say("join", other, {"peer_id": name})
            await client.expect_error("forbidden")
        await client.say("join", room, {})
        await client.expect("joined", peer_id=user)
        await client.end()
