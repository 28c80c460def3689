"""docs/guides/webhooks.md: its programs verify real deliveries, and its facts are those of the server."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from bench.ports import free_ports
from mcp_actors.broker.event_log import EventType
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.settings import DEFAULTS, PREFIX
from tests.support.receiver import SECRET
from tests.support.server import Server

if TYPE_CHECKING:
    from tests.support.client import Client

FILE = Path(__file__).parent.parent / "docs" / "guides" / "webhooks.md"
TEXT = FILE.read_text(encoding="utf-8")
DEADLINE = 20.0
PROGRAMS = {"python": sys.executable, "js": "node"}


def program(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


async def listens(port: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def leave(client: Client) -> None:
    await client.say("leave", "r")
    await client.expect("left")


@pytest.mark.parametrize("secrets", [[SECRET], ["whsec_" + "B" * 32, SECRET]], ids=["one secret", "two secrets"])
@pytest.mark.parametrize("language", PROGRAMS)
async def test_its_programs_take_what_the_server_sends_and_nothing_else(
    language: str, secrets: list[str], tmp_path: Path
) -> None:
    port = free_ports()
    url = f"http://127.0.0.1:{port}/"
    (tmp_path / "receiver").write_text(program(language))
    receiver = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [PROGRAMS[language], "receiver"],
        cwd=tmp_path,
        env=os.environ | {"PORT": str(port), "WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert receiver.stdout is not None
    with receiver:
        try:
            await listens(port)
            forged = await AsyncHTTPClient().fetch(url, method="POST", body='{"type": "x"}', raise_error=False)
            assert forged.code == 401
            server = Server(tmp_path, webhook_url=url, webhook_secret=secrets)
            await server.start()
            client = await server.peer()
            await client.join("r", "a")
            await leave(client)
            async with asyncio.timeout(DEADLINE):
                said = [await asyncio.to_thread(receiver.stdout.readline) for _ in range(4)]
            await server.stop()
        finally:
            receiver.kill()
    assert said == [f"{kind} r\n" for kind in ("room-opened", "member-joined", "member-left", "room-closed")]


def test_it_names_all_events_and_reasons() -> None:
    table = TEXT.split("| `type` |", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == {*EventType, "events-dropped"}
    assert all(f"`{reason}`" in TEXT for reason in LeaveReason)


def test_it_names_settings_that_exist_and_their_defaults() -> None:
    named = re.findall(rf"`{PREFIX}([A-Z_]+)`", TEXT)
    assert {name.lower() for name in named} <= DEFAULTS.keys()
    for name, value in re.findall(rf"`{PREFIX}([A-Z_]+)` \(([\d,]+)", TEXT):
        assert DEFAULTS[name.lower()] == float(value.replace(",", "")), name


def test_every_link_has_a_target() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert "://" in target or (FILE.parent / target).exists(), target
