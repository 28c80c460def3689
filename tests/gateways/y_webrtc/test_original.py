"""The gateway beside the npm package's own server: what each does in each case is what docs/guides/y-webrtc.md says."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from bench.contender import Server as Process
from bench.peers import PEERS
from tests.support.client import Closed
from tests.support.y_webrtc import Pages, YClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.server import Server

pytestmark = pytest.mark.settings(gateways="y-webrtc")

DOCS = Path(__file__).parents[3] / "docs" / "guides" / "y-webrtc.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (same|better|different)(?:: (.+?))? \|$", re.MULTILINE)
ROWS = {name: rest for name, *rest in ROW.findall(DOCS.read_text(encoding="utf-8"))}
NAMES = ("ada", "bob", "eve")
TOPIC = "TOPIC"
"""Stands for the topic of a case, which no other case has."""

FATAL = "A frame that is not JSON"
TOPICS = count(1)
ENDED = "the process ends"


def published(data: Any, **fields: Any) -> str:
    return json.dumps({"type": "publish", "topic": TOPIC, "data": data, **fields})


def signal(to: str) -> str:
    return published({"type": "signal", "from": "ada", "to": to, "token": 1, "signal": {}})


class Case(NamedTuple):
    """Frames of ada, where she, bob and eve have subscribed to one topic and bob has announced himself.

    `field`: of what they hear, if that is more than who hears something. `binary`: how the frames are sent.
    """

    frames: tuple[str, ...]
    field: str = ""
    binary: bool = False


CASES = {
    "An announcement": Case((published({"type": "announce", "from": "ada"}),)),
    "An encrypted publication": Case((published("c2VjcmV0"),)),
    "A signal for bob, who has announced himself": Case((signal("bob"),)),
    "A signal for somebody who has not": Case((signal("zoe"),)),
    "A publication in a binary frame": Case((published("x"),), binary=True),
    "`clients` in a publication of three": Case((published("x"),), "clients"),
    "The same, and the sender brings its own": Case((published("x", clients=99),), "clients"),
    "Other fields": Case((published("x", more=1),), "more"),
    "A topic to which the sender has subscribed twice": Case(
        ('{"type":"subscribe","topics":["TOPIC"]}', published("x"))
    ),
    "A topic from which it has unsubscribed": Case(('{"type":"unsubscribe","topics":["TOPIC"]}', published("x"))),
    "A message of 70 kB": Case((published("x" * 70_000),)),
    "A type that is unknown": Case(('{"type":"gossip","topic":"TOPIC","data":1}',)),
    "Topics that are none": Case(('{"type":"subscribe","topics":[1]}',)),
    "A publication without a topic": Case(('{"type":"publish","data":1}',)),
    FATAL: Case(("{",)),
}


class Side:
    """One of the two servers, with three clients."""

    def __init__(self, url: str, pages: Pages) -> None:
        self._url = url
        self._pages = pages

    async def says(self, case: Case, topic: str) -> str:
        """What happens in a case, in the words of the table."""
        clients = {name: await self._pages.open(self._url, name) for name in NAMES}
        for client in clients.values():
            await client.subscribe(topic)
            await client.ping()
        await clients["bob"].announce(topic)
        for name in ("bob", "ada", "eve"):  # who has spoken first
            await self._heard(clients[name])
        for frame in case.frames:
            text = frame.replace(TOPIC, topic)
            await clients["ada"].send(text.encode() if case.binary else text)
        heard = {name: await self._heard(client) for name, client in clients.items()}
        if heard["bob"] is None:
            return ENDED if await self._is_down() else "closed"
        if case.field:
            found = {str(message.get(case.field, "left out")) for one in heard.values() for message in one or ()}
            return ", ".join(sorted(found))
        told = [f"`{m['type']}`" for m in heard["ada"] or () if m["type"] != "publish"]
        told += [name for name, one in heard.items() if any(m["type"] == "publish" for m in one or ())]
        return ", ".join(told) or "nothing"

    async def _heard(self, client: YClient) -> list[Any] | None:
        """All that a client is sent until its pong; None if its connection is closed."""
        found = []
        try:
            await client.tell("ping")
            while (message := await client.hear()) != {"type": "pong"}:
                found.append(message)
        except (Closed, ConnectionClosed):
            return None
        return found

    async def _is_down(self) -> bool:
        try:
            await self._pages.open(self._url)
        except (OSError, EOFError, InvalidHandshake):
            return True
        return False


@contextmanager
def original() -> Iterator[str]:
    contender = PEERS["y-webrtc"]
    reason = contender.missing()
    if reason is not None:
        pytest.fail(f"{reason}; the tests compare this server with the original")
    with Process(contender) as server:
        yield server.url


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    """The URL of an original that goes on."""
    with original() as url:
        yield url


@pytest.mark.parametrize("name", CASES)
async def test_the_table_says_what_the_original_and_the_gateway_do(name: str, shared: str, server: Server) -> None:
    topic = f"topic {next(TOPICS)}"
    with original() if name == FATAL else nullcontext(shared) as url:
        async with Pages() as pages:
            sides = [Side(server.url(""), pages), Side(url, pages)]
            ours, theirs = await asyncio.gather(*(side.says(CASES[name], topic) for side in sides))
    assert [ours, theirs] == ROWS[name][:2]
    assert (ours == theirs) is (ROWS[name][2] == "same")
    assert bool(ROWS[name][3]) is (ours != theirs)


def test_the_table_has_all_cases() -> None:
    assert list(ROWS) == list(CASES)
