"""docs/reference/admin-api.md: its commands are run, and answer what it says."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ports import free_ports
from tests.support.client import Client
from tests.support.server import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "reference" / "admin-api.md").read_text(encoding="utf-8")
VARIABLE = {"until", "expires_in", "uptime_seconds", "version", "node"}
"""Fields whose values differ each time."""


def examples() -> Iterator[tuple[str, str]]:
    """The commands and their answers."""
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, answer = example.partition("\n{")
            yield command, "{" + answer.strip() if answer else ""


def assert_like(found: Any, expected: Any) -> None:
    """Compare an answer with one in the document, where `...` stands for further fields and entries."""
    if isinstance(expected, dict):
        more = expected.pop("...", None) is not None
        assert set(expected) <= set(found) if more else set(expected) == set(found)
        for name in set(expected) - VARIABLE:
            assert_like(found[name], expected[name])
    elif isinstance(expected, list):
        more = "..." in expected
        expected = [one for one in expected if one != "..."]
        assert len(found) > len(expected) if more else len(found) == len(expected)
        for one, other in zip(found, expected, strict=False):
            assert_like(one, other)
    elif isinstance(expected, str) and expected.startswith("host-"):
        assert isinstance(found, str)
    else:
        assert found == expected


def read(answer: str, node: str) -> Any:
    """An answer of the document; `...` becomes JSON."""
    answer = re.sub(r"\.\.\.(?=\])", '"..."', answer)
    return json.loads(re.sub(r"\.\.\.(?=\})", '"...": true', answer).replace("host-1f2e3d4c", node))


async def run(command: str) -> str:
    shell = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    return (await shell.communicate())[0].decode()


async def test_every_command_answers_what_the_document_says(tmp_path: Path) -> None:
    port = free_ports()
    found = [(command, answer) for command, answer in examples() if command.startswith("curl")]
    assert len(found) > 10
    with Process(tmp_path, "--port", "0", MCP_ACTORS_ADMIN_PORT=str(port)) as server:
        server.wait_until_serving()
        alice, bob = [await Client.open(f"ws://localhost:{server.port}/ws/signaling/") for _ in range(2)]
        await alice.join("team-1", "alice")
        await bob.join("team-1", "bob")
        for command, answer in found:
            said = json.loads(await run(command.replace("localhost:9000", f"localhost:{port}")))
            node = next(iter(json.loads(await run(f"curl -s localhost:{port}/api/v1/nodes"))["nodes"]))["node"]
            assert_like(said, read(answer, node))
        for client in (alice, bob):
            await client.end()
        server.stop()
