"""Offers are numbered and what is overtaken is refused, between peers of one process and of two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.client import Client
    from tests.support.server import Server

CONTENT: dict[str, Any] = {"offer": {"sdp": "v=0"}, "answer": {"sdp": "v=0"}, "candidate": None}
CROSSINGS = 30


async def _pair(servers: list[Server]) -> tuple[Client, Client]:
    """Peers `a` and `b` in room `r`, with nothing left to hear."""
    a, b = [await server.peer() for server in servers]
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined", peer_id="b")
    return a, b


async def _say(peer: Client, kind: str, target: str, **fields: Any) -> None:
    content = kind.removeprefix("ice-")
    await peer.say(kind, "r", {"target_peer_id": target, content: CONTENT[content]}, **fields)


async def _offered(offerer: Client, target: str, other: Client) -> int:
    """Offer; the number that the other hears and the ack tells."""
    await _say(offerer, "offer", target, id="offer")
    heard = (await other.expect("offer"))["negotiation"]
    await offerer.expect("ack", negotiation=heard)
    assert isinstance(heard, int)
    return heard


async def test_the_numbers_of_a_pair_rise_and_restart_with_a_new_join(servers: list[Server]) -> None:
    a, b = await _pair(servers)
    numbers = [
        await _offered(a, "b", b),
        await _offered(a, "b", b),
        await _offered(b, "a", a),
        await _offered(a, "b", b),
    ]
    assert numbers == sorted(set(numbers))
    assert servers[0] is not servers[1] or numbers == [1, 2, 3, 4]
    await b.say("leave", "r")
    await b.expect("left")
    await b.join("r", "b")
    assert await _joined_again(a)
    assert await _offered(b, "a", a) <= 2


async def _joined_again(peer: Client) -> bool:
    await peer.expect("peer-left")
    return bool(await peer.expect("peer-joined"))


@pytest.mark.parametrize("fields", [{}, {"id": 7}], ids=["without an id", "with an id"])
@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
async def test_messages_about_a_superseded_offer_are_refused(
    servers: list[Server], kind: str, fields: dict[str, int]
) -> None:
    a, b = await _pair(servers)
    first, second = await _offered(a, "b", b), await _offered(a, "b", b)
    await _say(b, kind, "a", negotiation=first, **fields)
    error = await b.expect("error", code="stale-negotiation", retryable=False, details={"negotiation": second})
    assert (error["room"], error.get("id")) == ("r", fields.get("id"))
    await _say(b, kind, "a", negotiation=second)
    assert (await a.expect(kind))["negotiation"] == second
    await _say(b, kind, "a")
    assert "negotiation" not in await a.expect(kind)


async def test_in_glare_either_offer_can_be_answered(servers: list[Server]) -> None:
    a, b = await _pair(servers)
    await asyncio.gather(_say(a, "offer", "b"), _say(b, "offer", "a"))
    of_a, of_b = (await b.expect("offer"))["negotiation"], (await a.expect("offer"))["negotiation"]
    assert of_a != of_b
    for sender, target, answerer in ((b, "a", of_a), (a, "b", of_b)):
        for kind in ("answer", "ice-candidate"):
            await _say(sender, kind, target, negotiation=answerer, id=kind)
    for peer in (a, b):
        heard = [await peer.hear() for _ in range(4)]
        assert sorted(message["type"] for message in heard) == ["ack", "ack", "answer", "ice-candidate"]


async def test_no_answer_to_a_superseded_offer_arrives_after_the_newer_offer_was_acknowledged(
    servers: list[Server],
) -> None:
    """Answer and newer offer cross: the answer comes first, or is refused."""
    a, b = await _pair(servers)
    for _ in range(CROSSINGS):
        number = await _offered(a, "b", b)
        await asyncio.gather(_say(a, "offer", "b", id="newer"), _say(b, "answer", "a", negotiation=number, id="answer"))
        told = [message for message in [await b.hear(), await b.hear()] if message["type"] != "offer"]
        refused = told[0]["type"] == "error"
        heard = [(await a.hear())["type"] for _ in range(1 if refused else 2)]
        assert heard == (["ack"] if refused else ["answer", "ack"])
