"""`watch` and `probe`, as a person uses them: in processes of their own, with real servers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcp_actors.auth.secret import make
from mcp_actors.client import PeerJoined, PeerLeft, UserJoined, UserLeft, connect, connect_user
from tests.support.coturn import Coturn
from tests.support.server import Process, Server
from tests.support.tokens import REQUIRED, token
from tests.web.network_path import NetworkPath

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOOPBACK = str(Path(__file__).parent / "support" / "loopback")
SECRET = make()


class Watch:
    """A running `mcp-actors watch`."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def line(self, text: str) -> str:
        """The next line that contains a text."""
        stdout = self._process.process.stdout
        assert stdout is not None
        while line := await asyncio.to_thread(stdout.readline):
            if text in line:
                return line
        raise AssertionError(f"{text!r} was not shown: {await self.end(None)}")

    async def end(self, number: int | None = signal.SIGINT) -> tuple[int, str, str]:
        """Send a signal, and return the exit status, the rest of standard output, and standard error."""
        if number is not None:
            self._process.process.send_signal(number)
        return await asyncio.to_thread(self._process.finish)


@asynccontextmanager
async def watching(directory: Path, url: str, *arguments: str) -> AsyncIterator[Watch]:
    with Process(directory, "watch", "r", "--url", url, *arguments) as process:
        yield Watch(process)


async def test_a_watcher_shows_the_life_of_a_room_and_leaves_at_ctrl_c(server: Server, tmp_path: Path) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        room = await one.join("r", "ada", metadata={"name": "Ada"})
        async with watching(tmp_path, server.url("", "http")) as watch:
            assert "peers here: 1" in await watch.line("watching room r as watch-")
            assert '  ada {"name": "Ada"}' in await watch.line("ada")
            watcher = await anext(room)
            assert isinstance(watcher, PeerJoined)
            assert watcher.metadata == {"name": "mcp-actors watch"}
            b = await other.join("r", "b")
            await watch.line("b joined, order ")
            await room.signal(watcher.peer_id, {"secret": 1})
            line = await watch.line("ada sent a signal of 12 bytes")
            assert "secret" not in line
            await room.update({"name": "Grace"})
            await watch.line('ada has new metadata: {"name": "Grace"}')
            await b.leave()
            await watch.line("b left")
            status, out, err = await watch.end()
        assert (status, err) == (0, "")
        assert out.endswith("stopped watching\n")
        events = [await anext(room) for _ in range(3)]
        assert events[2] == PeerLeft(peer_id=watcher.peer_id, reason="disconnected")


async def test_a_watcher_that_is_a_user_shows_messages_and_leaves_at_sigterm(server: Server, tmp_path: Path) -> None:
    async with connect_user(server.url(""), "grace") as client:
        room = await client.join("r")
        async with watching(tmp_path, server.url(""), "--user") as watch:
            await watch.line("watching room r as watch-")
            joined = await anext(room)
            assert isinstance(joined, UserJoined)
            await room.send({"text": "Hello!"})
            await watch.line('grace says {"text": "Hello!"}')
            assert (await watch.end(signal.SIGTERM))[0] == 0
        assert await anext(room) == UserLeft(user_id=joined.user_id, reason="disconnected")


async def test_a_watcher_shows_peers_that_are_away_and_its_own_loss(server: Server, tmp_path: Path) -> None:
    path, own = NetworkPath(server.port), NetworkPath(server.port)
    async with connect(f"ws://127.0.0.1:{path.port}") as client:
        await client.join("r", "ada")
        async with watching(tmp_path, f"ws://127.0.0.1:{own.port}") as watch:
            await watch.line("watching room")
            path.cut()
            await watch.line("ada is away: its connection is lost")
            path.mend()
            client.reconnect()
            await watch.line("ada is back")
            own.cut()
            await watch.line("the connection is lost")
            own.mend()
            await watch.line("connected")
            await watch.end()
    path.cut()
    own.cut()


@pytest.mark.settings(**REQUIRED)
async def test_a_watcher_says_why_it_ends(server: Server, tmp_path: Path) -> None:
    async with connect(server.url(""), token=token("mod", can=["moderate"])) as client:
        room = await client.join("r")
        async with watching(tmp_path, server.url(""), "--token", token("ada")) as watch:
            await watch.line("watching room r as ada")
            await watch.line("mod (verified)")
            await room.kick(peer_id="ada", message="Bye.", reason="test")
            await watch.line("a moderator kicked this watcher: Bye. (test)")
            assert await watch.end(None) == (0, "", "")
        async with watching(tmp_path, server.url("")) as watch:
            status, _, err = await watch.end(None)
            assert status == 1
            assert "accepts no connection without a token" in err
            assert "Traceback" not in err


@pytest.mark.parametrize(
    ("module", "words", "extra"),
    [("websockets", ["watch", "r"], "client"), ("aiortc", ["probe"], "aiortc"), ("websockets", ["probe"], "aiortc")],
)
def test_a_command_whose_extra_is_not_installed_says_how_to_install_it(
    module: str, words: list[str], extra: str
) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; from mcp_actors.cli import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"needs {module}" in done.stderr
    assert f"pip install '.[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


async def run_probe(directory: Path, *arguments: str) -> tuple[int, str, str]:
    """Run `mcp-actors probe` on a machine whose only network is the loopback."""
    path = os.pathsep.join([LOOPBACK, *filter(None, [os.environ.get("PYTHONPATH")])])
    return await asyncio.to_thread(Process(directory, "probe", *arguments, PYTHONPATH=path).finish)


async def test_a_probe_finds_all_in_order(tmp_path: Path) -> None:
    with Coturn(tmp_path, SECRET) as relay:
        server = Server(tmp_path, turn_urls=[relay.url], turn_secret=[SECRET])
        await server.start()
        status, out, err = await run_probe(tmp_path, server.url("", "http"))
        await server.stop()
    assert (status, err) == (0, ""), out
    names = ["address", "TLS", "HTTP", "WebSocket", "protocol", "signaling", "resume", "data channel", relay.url]
    lines = [line for line in out.splitlines() if line.startswith(("  ok", "  skipped", "  failed"))]
    assert [line.split()[0] for line in lines] == ["ok", "skipped", *["ok"] * 8]
    for name, line in zip([*names, f"{relay.url} relays"], lines, strict=True):
        assert line[11:].startswith(f"{name} ")
    assert out.endswith("10 checks: 9 ok, 1 skipped\n")


@pytest.mark.settings(**REQUIRED)
async def test_a_probe_that_fails_says_what_to_change_and_exits_with_1(server: Server, tmp_path: Path) -> None:
    status, out, _ = await run_probe(tmp_path, server.url(""), "--json")
    assert status == 1
    last = json.loads(out)["checks"][-1]
    assert (last["name"], last["outcome"]) == ("protocol", "failed")
    assert "--token" in last["advice"]


@pytest.mark.settings(**REQUIRED)
async def test_a_probe_needs_two_tokens_for_two_peers(server: Server, tmp_path: Path) -> None:
    one, other = token("ada", rooms=["lab"]), token("grace", rooms=["lab"])
    status, out, _ = await run_probe(tmp_path, server.url(""), "--room", "lab", "--token", one)
    assert status == 0, out
    assert "give --token a second time" in out
    status, out, _ = await run_probe(tmp_path, server.url(""), "--room", "lab", "--token", one, "--token", other)
    assert status == 0, out
    assert "opens directly" in out


def test_a_probe_of_a_server_that_is_not_there_says_so(tmp_path: Path) -> None:
    for url, word in (("127.0.0.1:1", "start the server"), ("ftp://example.org", "correct the URL")):
        status, out, err = Process(tmp_path, "probe", url).finish()
        assert (status, err) == (1, "")
        assert word in out
