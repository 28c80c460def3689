"""The protocol of the npm package `peer`, case by case: each returns what its clients hear, in the words of `sides`."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.gateways.peerjs.sides import CLOSED, PAGE, SERVED, Side
from tests.support.client import DEADLINE
from tests.support.peerjs import PATH, query

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tests.support.peerjs import PeerJsClient


class Variant(NamedTuple):
    """How the original is started, and the settings of ours that mean the same."""

    theirs: Mapping[str, Any]
    ours: Mapping[str, Any]


OWN = "of its own"
VARIANTS = {
    "as installed": Variant({}, {}),
    "small": Variant(
        {"concurrent_limit": 2, "allow_discovery": True}, {"max_peerjs_peers": 2, "peerjs_discovery": True}
    ),
    "hasty": Variant({"expire_timeout": 300, "cleanup_out_msgs": 50}, {"peerjs_expire_timeout": 0.3}),
    "strict": Variant({"alive_timeout": 300}, {}),
    OWN: Variant({}, {}),
}


class Case(NamedTuple):
    """One row of the table. `variant`: of the servers, `OWN` if it may end the original."""

    name: str
    run: Callable[[Side], Awaitable[str]]
    variant: str = "as installed"


async def connects(side: Side) -> str:
    return await side.told(side.query("ada"))


async def lacks(side: Side) -> str:
    paths = [query("", "t"), query("ada", ""), query("ada", "t", "")]
    found = {await side.told(path) for path in [*paths, f"{PATH}peerjs"]}
    return " or ".join(sorted(found))


async def comes_twice(side: Side) -> str:
    await side.enter("ada")
    return await side.told(side.query("ada", "another-token"))


async def comes_after(side: Side, *, vanishes: bool) -> str:
    """What a client of another token is told at last, after the one with its id has gone."""
    first = await side.enter("ada")
    if vanishes:
        first.vanish()
    else:
        await first.close()
    return await _told_at_last(side)


async def leaves(side: Side) -> str:
    first = await side.enter("ada")
    await first.tell("LEAVE")
    found = await _told_at_last(side)
    return f"{found}; the old connection: {await side.is_open(first)}"


async def _told_at_last(side: Side) -> str:
    async with asyncio.timeout(DEADLINE):
        while (found := await side.told(side.query("ada", "another-token"))).startswith("`ID-TAKEN"):
            await asyncio.sleep(0.02)
    return found


async def reconnects(side: Side) -> str:
    old, other = await side.enter("ada"), await side.enter("bob")
    new = await side.open(side.query("ada"))
    return f"{await side.heard_until_now(new, 'ada', other)}; the old connection: {await side.is_open(old)}"


async def is_full(side: Side) -> str:
    await side.enter("ada")
    await side.enter("bob")
    return await side.told(side.query("eve"))


async def reconnects_when_full(side: Side) -> str:
    await side.enter("ada")
    bob = await side.enter("bob")
    new = await side.open(side.query("ada"))
    return await side.heard_until_now(new, "ada", bob)


async def uses_odd_id(side: Side, peer: str) -> str:
    return await side.told(query(peer, "t"))


async def is_of_another_site(side: Side) -> str:
    return await side.told(side.query("ada"), Origin="https://other.example.org")


async def uses_wrong_path(side: Side) -> str:
    return await side.told(side.query("ada").replace("/peerjs?", "/another?"))


async def relays(side: Side, *frames: Callable[[Side], str | bytes]) -> str:
    """What one client hears of what another one sends."""
    ada, bob = await side.enter("ada"), await side.enter("bob")
    for frame in frames:
        await ada.send(frame(side))
    return await side.heard_until_now(bob, "bob", ada)


async def answers(side: Side, *frames: Callable[[Side], str | bytes]) -> str:
    """What a client hears after what it has sent."""
    ada, bob = await side.enter("ada"), await side.enter("bob")
    for frame in frames:
        await ada.send(frame(side))
    assert CLOSED not in await side.heard_until_now(bob, "bob", ada)
    return await side.heard_until_now(ada, "ada", bob)


async def relays_many(side: Side) -> str:
    ada, bob = await side.enter("ada"), await side.enter("bob")
    for number in range(300):
        await ada.send(side.frame("CANDIDATE", "bob", payload={"n": number}))
    found = [await bob.hear() for _ in range(300)]
    numbers = [message["payload"]["n"] for message in found]
    return "all, in order" if numbers == list(range(300)) else str(numbers)


async def sends_much(side: Side) -> str:
    """Who hears something first when one client sends a big message to another, and of what type."""
    ada, bob = await side.enter("ada"), await side.enter("bob")
    await ada.send(side.frame("OFFER", "bob", payload="x" * 70_000))
    waiting = {asyncio.create_task(client.hear()): name for name, client in (("sender", ada), ("target", bob))}
    done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.wait(waiting)
    return ", ".join(f"`{task.result()['type']}` to the {waiting[task]}" for task in done)


async def is_silent(side: Side) -> str:
    """Whether a client that sends no HEARTBEAT is served when the other server closes one, or this one does."""
    ada, bob = await side.enter("ada"), await side.enter("bob")
    over, hearing = asyncio.create_task(side.over.wait()), asyncio.create_task(ada.socket.wait_closed())
    await asyncio.wait({over, hearing}, return_when=asyncio.FIRST_COMPLETED)
    closed = hearing.done()
    side.over.set()
    for task in (over, hearing):
        task.cancel()
    await asyncio.wait({over, hearing})
    return CLOSED if closed else await side.heard_until_now(ada, "ada", bob)


async def comes_in_time(side: Side, kinds: Sequence[str], *, gone: bool = False) -> str:
    """What a client hears of what was sent before it came, and whether its sender is gone meanwhile."""
    ada, bob = await side.enter("ada"), await side.enter("bob")
    for number, kind in enumerate(kinds):
        await ada.send(side.frame(kind, "late", payload={"n": number}))
    await side.heard_until_now(bob, "bob", ada)
    if gone:
        await ada.close()
    late = await side.open(side.query("late"))
    return await side.heard_until_now(late, "late", bob)


async def comes_late(side: Side) -> str:
    ada = await side.enter("ada")
    await ada.send(side.frame("OFFER", "late"))
    told = await side.heard(ada)
    late = await side.open(side.query("late"))
    return f"sender: {told}; target: {await side.heard_until_now(late, 'late', ada)}"


async def expires(side: Side) -> str:
    """What two clients hear that have sent several messages to two others that never come."""
    ada, bob = await side.enter("ada"), await side.enter("bob")
    for client in (ada, bob):
        for kind, dst in (("OFFER", "x"), ("CANDIDATE", "x"), ("OFFER", "y"), ("LEAVE", "z"), ("EXPIRE", "z")):
            await client.send(side.frame(kind, dst))
    found = {}
    for name, client, other in (("ada", ada, bob), ("bob", bob, ada)):
        first = [await side.heard(client), await side.heard(client)]
        rest = await side.heard_until_now(client, name, other)
        found[name] = ", ".join([*sorted(first), rest])
    return "; ".join(found.values())


async def breaks(side: Side, frame: str | bytes) -> str:
    """What a client hears that sends something broken, and whether others are served."""
    eve, bob = await side.enter("eve"), await side.enter("bob")
    await eve.send(frame)
    return await _heard_and_others(side, eve, bob)


async def breaks_raw(side: Side, frame: bytes) -> str:
    """The same with bytes that are no proper frame."""
    eve, bob = await side.enter("eve"), await side.enter("bob")
    eve.socket.transport.write(frame)
    return await _heard_and_others(side, eve, bob)


async def _heard_and_others(side: Side, eve: PeerJsClient, bob: PeerJsClient) -> str:
    told = await side.heard(eve)
    others = await side.others(bob, "bob")
    return f"{told}; {others}" if others == SERVED else others


async def lists(side: Side) -> str:
    await side.enter("ada")
    return await side.response("peerjs/peers")


def page(path: str, origin: str = PAGE) -> Callable[[Side], Awaitable[str]]:
    """The response of the HTTP API."""
    return lambda side: side.response(path, origin)


def relayed(*frames: Callable[[Side], str | bytes]) -> Callable[[Side], Awaitable[str]]:
    """What one client hears of what another one sends."""
    return lambda side: relays(side, *frames)


def answered(*frames: Callable[[Side], str | bytes]) -> Callable[[Side], Awaitable[str]]:
    """What a client hears after what it has sent."""
    return lambda side: answers(side, *frames)


def to(kind: str, dst: str = "bob", **fields: Any) -> Callable[[Side], str]:
    """A message to another client."""
    return lambda side: side.frame(kind, dst, **fields)


def plain(**fields: Any) -> Callable[[Side], str]:
    """Any object."""
    return lambda _side: json.dumps(fields)


def text(frame: str) -> Callable[[Side], str]:
    """Any text."""
    return lambda _side: frame


BAD_TEXT = b"\x81\x81" + bytes(4) + b"\xff"
HUGE = b"\x82\xff" + (10**9).to_bytes(8, "big") + bytes(4)


OFFER, ANSWER, CANDIDATE, LEAVE, EXPIRE = (to(kind) for kind in ("OFFER", "ANSWER", "CANDIDATE", "LEAVE", "EXPIRE"))
TO_NUMBER = plain(type="OFFER", dst=5, payload={})
TO_NOBODY = plain(type="OFFER", payload={})
NO_TYPE = plain(dst="bob", payload={})

CASES = [
    Case("A client connects with id, token and key", connects),
    Case("The id, the token or the key is missing, or all of them", lacks),
    Case("The key is wrong", lambda side: side.told(side.query("ada", "t", "x"))),
    Case("The path is wrong", uses_wrong_path),
    Case("The page is of a site that is not allowed", is_of_another_site),
    Case("The id has a line break", partial(uses_odd_id, peer="a%0Ab")),
    Case("The id has 1000 characters", partial(uses_odd_id, peer="a" * 1000)),
    Case("Another client has the id", comes_twice),
    Case("Another client had the id and has closed its connection", partial(comes_after, vanishes=False)),
    Case("Another client had the id and its connection was reset", partial(comes_after, vanishes=True)),
    Case("A client reconnects while its old connection looks alive", reconnects),
    Case("The server is full", is_full, "small"),
    Case("The same, and a client reconnects while its old connection looks alive", reconnects_when_full, "small"),
    Case("OFFER to a client that is there", relayed(OFFER)),
    Case("ANSWER, CANDIDATE", relayed(ANSWER, CANDIDATE)),
    Case("LEAVE, EXPIRE with `dst`", relayed(LEAVE, EXPIRE)),
    Case("300 candidates at once", relays_many),
    Case("A binary frame", relayed(lambda side: OFFER(side).encode())),
    Case("The sender forges `src`", relayed(to("OFFER", src="eve"))),
    Case("Other fields", relayed(to("OFFER", more=1))),
    Case("No payload", relayed(lambda side: json.dumps({"type": "OFFER", "dst": "bob" + side.suffix}))),
    Case("A type that is unknown", answered(to("GOSSIP"))),
    Case("A type that only servers send", relayed(to("OPEN"), to("ERROR"), to("ID-TAKEN"))),
    Case("HEARTBEAT", answered(text('{"type": "HEARTBEAT"}'))),
    Case("No HEARTBEAT for longer than the timeout", is_silent, "strict"),
    Case("To oneself", answered(to("OFFER", "ada"))),
    Case("To a client that comes in time", partial(comes_in_time, kinds=("OFFER", "CANDIDATE", "ANSWER"))),
    Case("The same, and the sender has gone", partial(comes_in_time, kinds=("OFFER",), gone=True)),
    Case("LEAVE and EXPIRE to a client that comes later", partial(comes_in_time, kinds=("LEAVE", "EXPIRE"))),
    Case("To a client that comes too late", comes_late, "hasty"),
    Case("Several messages of two clients to `x` and `y`, and LEAVE to `z`, who never come", expires, "hasty"),
    Case("LEAVE without `dst`", leaves),
    Case("OFFER without `dst`", answered(TO_NOBODY)),
    Case("`dst` is a number", answered(TO_NUMBER)),
    Case("`type` is missing", answered(NO_TYPE)),
    Case("A list", answered(text("[]"))),
    Case("A number", partial(breaks, frame="5"), OWN),
    Case("A frame that is not JSON", partial(breaks, frame='{"type": '), OWN),
    Case("A binary frame that is not UTF-8", partial(breaks, frame=b"\xff"), OWN),
    Case("A text frame that is not UTF-8", partial(breaks_raw, frame=BAD_TEXT), OWN),
    Case("A frame that is not masked", partial(breaks_raw, frame=b"\x81\x02{}"), OWN),
    Case("The beginning of a frame of 1 GB", partial(breaks_raw, frame=HUGE), OWN),
    Case("A message of 70 kB", sends_much),
    Case("`GET {path}`", page("")),
    Case("`GET {path}{key}/id`", page("peerjs/id")),
    Case("The same with another key", page("another/id")),
    Case("The same from a site that is not allowed", page("peerjs/id", "https://other.example.org")),
    Case("`OPTIONS {path}{key}/id`, with which browsers ask first", lambda side: side.preflight("peerjs/id")),
    Case("`GET {path}{key}/peers`, which is off", page("peerjs/peers")),
    Case("The same when it is on", lists, "small"),
]
