"""The gateway beside the npm package `peer`: both are told the same, case by case, and docs/peerjs.md has the table."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tornado.httpclient import AsyncHTTPClient

from tests.support.client import Closed
from tests.support.peerjs import PATH, Stand, original, query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.support.peerjs import PeerJsClient
    from tests.support.server import Server

pytestmark = pytest.mark.settings(gateways="peerjs", peerjs_path=PATH, cors_allowed_origins="https://app.example.com")

DOCS = Path(__file__).parents[3] / "docs" / "peerjs.md"
QUIET = "nothing"
PAGE = "https://app.example.com"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OPEN = {"type": "OPEN"}
WAITS = 7.0
"""Seconds in which a message to nobody has expired: 5, until the next second of the original."""


async def heard(client: PeerJsClient) -> Any:
    """The next message, or that the server has closed the connection, whatever the code."""
    try:
        return await client.hear()
    except Closed:
        return "closed"


async def next_after(client: PeerJsClient, marker: PeerJsClient, target: str) -> list[Any]:
    """What a client hears until a message of another client that is sent now."""
    await marker.tell("ANSWER", target, marker=True)
    found: list[Any] = []
    while (message := await heard(client)) != "closed":
        if message.get("payload") == {"marker": True}:
            return found or [QUIET]
        found.append(message)
    return [*found, "closed"]


async def opens(stand: Stand) -> Any:
    client = await stand.open(query("opens", "t"))
    return await heard(client)


async def refuses(stand: Stand, of: str) -> Any:
    client = await stand.open(of)
    return [await heard(client), await heard(client)]


async def takes_id(stand: Stand) -> Any:
    await stand.connected("taken")
    second = await stand.open(query("taken", "another"))
    return [await heard(second), await heard(second)]


async def relays(stand: Stand, frame: str | bytes) -> Any:
    """What one client hears of what another one sends."""
    a, b = await stand.connected("ada"), await stand.connected("bob")
    await a.send(frame)
    return await next_after(b, a, "bob")


async def answers(stand: Stand, frame: str) -> Any:
    """What a client hears after what it has sent."""
    a, b = await stand.connected("ada"), await stand.connected("bob")
    await a.send(frame)
    await next_after(b, a, "bob")
    return await next_after(a, b, "ada")


async def is_big(stand: Stand) -> Any:
    """Who hears something first when one client sends a big message to another, and of what type."""
    ada, bob = await stand.connected("ada"), await stand.connected("bob")
    await ada.send(json.dumps({"type": "OFFER", "dst": "bob", "payload": {"x": "x" * 70_000}}))
    waiting = {asyncio.create_task(heard(client)): name for name, client in (("sender", ada), ("target", bob))}
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.wait(waiting)
    return [[waiting[task], task.result()["type"]] for task in done]


async def waits(stand: Stand) -> Any:
    a = await stand.connected("ada")
    await a.tell("OFFER", "late", n=1)
    await a.tell("CANDIDATE", "late", n=2)
    await a.tell("LEAVE", "late")
    late = await stand.open(query("late", "t"))
    return [await heard(late), *await next_after(late, a, "late")]


async def expires(stand: Stand) -> Any:
    a = await stand.connected("eve")
    await a.tell("OFFER", "nobody", n=1)
    await a.tell("CANDIDATE", "nobody", n=2)
    async with asyncio.timeout(WAITS):
        found = json.loads(await a.socket.recv())
    b = await stand.connected("eves")
    return [found, *await next_after(a, b, "eve")]


async def unregisters(stand: Stand) -> Any:
    a = await stand.connected("gone")
    await a.tell("LEAVE")
    async with asyncio.timeout(WAITS):
        while (found := await heard(await stand.open(query("gone", "another")))) != OPEN:
            await asyncio.sleep(0.02)
    return found


async def reconnects(stand: Stand) -> Any:
    """What a client hears that comes back while its old connection still looks alive."""
    old = await stand.connected("back")
    new = await stand.open(query("back", "t"))
    other = await stand.connected("other")
    found = {"new": await next_after(new, other, "back")}
    try:
        async with asyncio.timeout(0.5):
            await old.socket.recv()
    except TimeoutError:
        found["old"] = ["open"]
    except Exception:
        found["old"] = ["closed"]
    return found


async def responds(stand: Stand, path: str) -> Any:
    response = await AsyncHTTPClient().fetch(
        stand.base.replace("ws://", "http://") + path, headers={"Origin": PAGE}, raise_error=False
    )
    readable = response.headers.get("Access-Control-Allow-Origin") in ("*", PAGE)
    body = response.body.decode()
    if response.code != 200:
        body = QUIET
    return [response.code, response.headers["Content-Type"].partition(";")[0], UUID.sub("a UUID", body), readable]


async def breaks(stand: Stand) -> Any:
    """What another client hears when one sends a broken frame: first of all what it is sent itself."""
    a = await stand.connected("ada")
    await a.send('{"type": ')
    return await heard(a)


def offer(**fields: Any) -> str:
    return json.dumps({"type": "OFFER", "dst": "bob", "payload": {"n": 1}, **fields})


class Case(NamedTuple):
    """`name` is that of docs/peerjs.md. `ours`: what this server says, if that is not what the original says."""

    name: str
    run: Callable[[Stand], Awaitable[Any]]
    theirs: Any
    ours: Any = None


RELAYED = {"type": "OFFER", "src": "ada", "dst": "bob", "payload": {"n": 1}}
BROKEN = {"type": "ERROR", "payload": {"msg": "The message is not JSON: Input data was truncated."}}
MISSING = {"type": "ERROR", "payload": {"msg": "No id, token, or key supplied to websocket server"}}
WRONG_KEY = {"type": "ERROR", "payload": {"msg": "Invalid key provided"}}
TAKEN = {"type": "ID-TAKEN", "payload": {"msg": "ID is taken"}}
TO_ITSELF = json.dumps({"type": "OFFER", "dst": "ada", "payload": {"n": 1}})

CASES = [
    Case("A client connects with id, token and key", opens, OPEN),
    Case("The id, the token or the key is missing", partial(refuses, of=query("a", "")), [MISSING, "closed"]),
    Case("The key is wrong", partial(refuses, of=query("a", "t", "x")), [WRONG_KEY, "closed"]),
    Case("Another client has the id", takes_id, [TAKEN, "closed"]),
    Case("A message to a client that is there", partial(relays, frame=offer()), [RELAYED]),
    Case("The same in a binary frame", partial(relays, frame=offer().encode()), [RELAYED]),
    Case("The sender forges `src`, or adds fields", partial(relays, frame=offer(src="eve", more=1)), [RELAYED]),
    Case("A message of an unknown type", partial(relays, frame=offer(type="GOSSIP")), [QUIET]),
    Case("HEARTBEAT", partial(answers, frame='{"type": "HEARTBEAT"}'), [QUIET]),
    Case(
        "Messages to a client that comes within 5 s, and LEAVE",
        waits,
        [
            OPEN,
            {"type": "OFFER", "src": "ada", "dst": "late", "payload": {"n": 1}},
            {"type": "CANDIDATE", "src": "ada", "dst": "late", "payload": {"n": 2}},
        ],
    ),
    Case(
        "Messages to a client that does not come", expires, [{"type": "EXPIRE", "src": "nobody", "dst": "eve"}, QUIET]
    ),
    Case("LEAVE without `dst` frees the id", unregisters, OPEN),
    Case(
        "A client reconnects while its old connection looks alive",
        reconnects,
        {"new": [QUIET], "old": ["open"]},
        {"new": [OPEN], "old": ["closed"]},
    ),
    Case("A message of 70 kB", is_big, [["target", "OFFER"]], [["sender", "ERROR"]]),
    Case(
        "A message to oneself",
        partial(answers, frame=TO_ITSELF),
        [{"type": "OFFER", "src": "ada", "dst": "ada", "payload": {"n": 1}}],
        [{"type": "EXPIRE", "src": "ada", "dst": "ada"}],
    ),
    Case("`GET {path}{key}/id`", partial(responds, path=f"{PATH}peerjs/id"), [200, "text/html", "a UUID", True]),
    Case(
        "`GET {path}{key}/peers`, which is off",
        partial(responds, path=f"{PATH}peerjs/peers"),
        [401, "text/plain", QUIET, True],
    ),
    Case("A frame that is not JSON", breaks, "closed", BROKEN),  # the last one: the process of the original ends
]


@pytest.fixture(scope="module")
def peer() -> Iterator[str]:
    with original() as url:
        yield url


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_the_gateway_does_what_the_original_does_or_better(case: Case, peer: str, server: Server) -> None:
    async with Stand(peer) as one, Stand(server.url("")) as other:
        theirs, ours = await asyncio.gather(case.run(one), case.run(other))
    assert theirs == case.theirs
    assert ours == (case.theirs if case.ours is None else case.ours)


def test_the_documentation_has_the_same_table() -> None:
    rows = re.findall(r"^\| (.+?) \| (same|better) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(case.name, "same" if case.ours is None else "better") for case in CASES]
