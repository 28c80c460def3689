"""Sessions, which outlive their connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.checks.pairs import ADA, GRACE, pair
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.client import Client
    from mcp_actors.conformance.target import Target

MANY = 20


async def come_back(target: Target, room: str, joined: dict[str, Any], received: int, *, other: bool = False) -> Client:
    """Grace comes back on a new connection, which says so; what is sent to it has not been read."""
    grace = await target.peer(other=other)
    await grace.say("join", room, {"peer_id": GRACE, "resume": joined["resume"], "received": received}, id="back")
    return grace


async def send_many(ada: Client, room: str) -> None:
    """Ada sends numbers to Grace; when this returns, the server has them."""
    for number in range(MANY - 1):
        await ada.signal(room, GRACE, number)
    await ada.signal(room, GRACE, MANY - 1, id="last")
    await ada.expect("ack", "last")


async def resumable_pair(target: Target, room: str) -> tuple[Client, Client, dict[str, Any]]:
    """Ada, Grace, and what Grace was told when she joined."""
    ada, grace = await target.peer(), await target.peer()
    await ada.join(room, ADA, presence=True)
    joined = await grace.join(room, GRACE)
    await ada.expect("peer-joined", peer_id=GRACE)
    return ada, grace, joined


@requirement("RESUME-1", "Every message of a session has a `delivery`, which increases by one each time.")
async def deliveries(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    for number in range(MANY):
        await grace.signal(room, ADA, number)
    found = [(await ada.expect("signal", data=number)).get("delivery") for number in range(MANY)]
    if found != list(range(found[0] or 0, (found[0] or 0) + MANY)):
        raise Failed(f"deliveries that increase by one were expected, not {found}")


@requirement("RESUME-2", "A client that resumes receives what it missed, once and in order, and then `joined`.")
async def missed(target: Target, room: str) -> None:
    ada, grace, joined = await resumable_pair(target, room)
    await ada.signal(room, GRACE, "before")
    await grace.expect("signal", data="before")
    grace.drop()
    await ada.expect("peer-away", peer_id=GRACE)
    await send_many(ada, room)
    again = await come_back(target, room, joined, grace.delivery)
    for number in range(MANY):
        await again.expect("signal", data=number)
    await again.expect("joined", "back", resumed=True, complete=True, order=joined["order"])


@requirement("RESUME-3", "While a client is away and when it resumes, the others do not see it leave.")
async def presence(target: Target, room: str) -> None:
    ada, grace, joined = await resumable_pair(target, room)
    grace.drop()
    await ada.expect("peer-away", peer_id=GRACE)
    await come_back(target, room, joined, grace.delivery)
    await ada.expect("peer-back", peer_id=GRACE)


@requirement(
    "RESUME-4", "Who resumes before the loss is noticed takes the session over: the old connection is closed with 4501."
)
async def replaced(target: Target, room: str) -> None:
    _, grace, joined = await resumable_pair(target, room)
    again = await come_back(target, room, joined, grace.delivery)
    await again.expect("joined", "back", resumed=True)
    await grace.expect_close(4501)


@requirement("RESUME-5", "A message to a peer that is away is answered with `ack` and the status `queued`.")
async def queued(target: Target, room: str) -> None:
    ada, grace, _ = await resumable_pair(target, room)
    grace.drop()
    await ada.expect("peer-away", peer_id=GRACE)
    await ada.signal(room, GRACE, 1, id=1)
    await ada.expect("ack", 1, status="queued")


@requirement("RESUME-6", "An unknown `resume` token makes a newcomer, with `resumed` false.")
async def unknown_token(target: Target, room: str) -> None:
    peer = await target.peer()
    joined = await peer.join(room, ADA, resume="bkgHExu9Pegr8d4BAAAAASgUMN5tDSVN1-9tGrJCupA=", received=3)
    if joined.get("resumed") is not False:
        raise Failed(f"`resumed` was expected to be false, not {joined.get('resumed')}")


@requirement(
    "RESUME-7", "A message that is sent again after a resume, with `again`, is relayed once and answered again."
)
async def again(target: Target, room: str) -> None:
    ada, grace, joined = await resumable_pair(target, room)
    await grace.signal(room, ADA, "once", id="s-1")
    await ada.expect("signal", data="once")
    received = grace.delivery
    grace.drop()
    await ada.expect("peer-away", peer_id=GRACE)
    back = await come_back(target, room, joined, received)
    while (await back.hear("`joined`"))["type"] != "joined":
        pass
    await back.signal(room, ADA, "once", id="s-1", again=True)
    await back.expect("ack", "s-1")
    await ada.expect("peer-back", peer_id=GRACE)
    await back.signal(room, ADA, "next")
    await ada.expect("signal", data="next")


@requirement("RESUME-8", "While a peer is away, another that joins under its id is refused with `peer-id-taken`.")
async def kept_id(target: Target, room: str) -> None:
    ada, grace, _ = await resumable_pair(target, room)
    grace.drop()
    await ada.expect("peer-away", peer_id=GRACE)
    stranger = await target.peer()
    await stranger.say("join", room, {"peer_id": GRACE}, id=1)
    await stranger.expect_error("peer-id-taken", 1)
