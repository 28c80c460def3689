"""The programs in docs/reference/javascript.md run as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from mcp_actors.client import Message, PeerJoined, Signal, UserJoined, connect, connect_user
from tests.support import js_client
from tests.support.js_client import CLIENT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.server import Server

TEXT = (ROOT / "docs" / "reference" / "javascript.md").read_text(encoding="utf-8")
PEER, CALL, USER = re.findall(r"```js\n(.*?)```", TEXT, re.DOTALL)
STRICT = {"allowJs": True, "checkJs": True, "strict": True, "noEmit": True, "useUnknownInCatchVariables": False}
OPTIONS = {**STRICT, "target": "es2024", "module": "nodenext", "types": []}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project in which the client is installed."""
    js_client.require_tools()
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "mcp-actors").symlink_to(CLIENT)
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    return tmp_path


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that are stopped after the test."""
    programs: list[subprocess.Popen[str]] = []
    yield programs
    for program in programs:
        program.kill()
        program.communicate()


def run(program: str, project: Path, server: Server, programs: list[subprocess.Popen[str]]) -> None:
    (project / "program.js").write_text(program.replace("http://localhost:8000", server.url("", "http")))
    command = [str(js_client.node()), "--preserve-symlinks", "program.js"]
    programs.append(subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True))


async def test_the_peer_answers_whoever_speaks_to_it(
    server: Server, project: Path, programs: list[subprocess.Popen[str]]
) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("team-1", "ada")
        run(PEER, project, server, programs)
        joined = await anext(room)
        assert isinstance(joined, PeerJoined)
        assert joined.metadata == {"name": "Echo"}
        await room.signal(joined.peer_id, [1, 2])
        assert await anext(room) == Signal(sender=joined.peer_id, data={"echo": [1, 2]})


async def test_the_user_speaks(server: Server, project: Path, programs: list[subprocess.Popen[str]]) -> None:
    async with connect_user(server.url(""), "grace") as client:
        room = await client.join("team-1")
        run(USER, project, server, programs)
        assert await anext(room) == UserJoined(user_id="ada")
        assert await anext(room) == Message(sender="ada", content={"text": "Hello!"})


def test_all_programs_fit_the_types(project: Path) -> None:
    (project / "node_modules" / "mcp-actors").unlink()
    js_client.run(["tsc"], js_client.copy_client(project))
    (project / "client").rename(project / "node_modules" / "mcp-actors")
    for number, program in enumerate((PEER, CALL, USER)):
        (project / f"program{number}.js").write_text(program)
    (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": OPTIONS, "include": ["program*.js"]}))
    js_client.run(["tsc"], project)


def test_every_code_of_the_client_is_listed() -> None:
    codes = set(re.findall(r'^ \* - "([a-z-]+)":', (CLIENT / "errors.js").read_text(encoding="utf-8"), re.MULTILINE))
    assert len(codes) > 5
    assert {code for code in codes if f"`{code}`" not in TEXT} == set()
