"""The numbers of offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.checks.pairs import ADA, GRACE, pair
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.client import Client
    from mcp_actors.conformance.target import Target


async def offer(sender: Client, room: str, target: str, **more: int) -> None:
    await sender.say("offer", room, {"target_peer_id": target, "offer": {"type": "offer", "sdp": "v=0"}}, **more)


async def answer(sender: Client, room: str, target: str, **more: int) -> None:
    await sender.say("answer", room, {"target_peer_id": target, "answer": {"type": "answer", "sdp": "v=0"}}, **more)


@requirement("OFFER-1", "Each offer arrives with a number that is higher than those before, of either peer.")
async def numbers(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    found = []
    for sender, receiver, name in ((grace, ada, ADA), (ada, grace, GRACE), (grace, ada, ADA)):
        await offer(sender, room, name)
        found.append((await receiver.expect("offer")).get("negotiation", 0))
    if found != sorted(set(found)) or found[0] < 1:
        raise Failed(f"increasing numbers from 1 on were expected, not {found}")


@requirement("OFFER-2", "The `ack` of an offer has its number.")
async def number_in_ack(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await offer(grace, room, ADA, id=1)
    number = (await ada.expect("offer"))["negotiation"]
    await grace.expect("ack", 1, negotiation=number)


@requirement("OFFER-3", "An answer to an outdated offer is refused with `stale-negotiation`, and not relayed.")
async def stale(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await offer(grace, room, ADA)
    await offer(grace, room, ADA)
    first, second = [(await ada.expect("offer"))["negotiation"] for _ in range(2)]
    await answer(ada, room, GRACE, negotiation=first, id=1)
    error = await ada.expect_error("stale-negotiation", 1)
    if error.get("details", {}).get("negotiation") != second:
        raise Failed(f"`details.negotiation` was expected to be {second}, not {error.get('details')}")
    await answer(ada, room, GRACE, negotiation=second, id=2)
    await ada.expect("ack", 2)
    await grace.expect("answer")


@requirement("OFFER-4", "An offer of the other peer does not make yours outdated.")
async def glare(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await offer(grace, room, ADA)
    number = (await ada.expect("offer"))["negotiation"]
    await offer(ada, room, GRACE)
    await grace.expect("offer")
    await answer(ada, room, GRACE, negotiation=number)
    await grace.expect("answer")


@requirement("OFFER-5", "Answers and candidates without a number are always relayed.")
async def without_number(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await offer(grace, room, ADA)
    await offer(grace, room, ADA)
    await answer(ada, room, GRACE)
    await grace.expect("answer")
