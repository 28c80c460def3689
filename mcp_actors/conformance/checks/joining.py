"""Rosters, and who hears of joins, leaves and updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.checks.pairs import ADA, GRACE, pair
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.client import Client
    from mcp_actors.conformance.target import Target

MANY = 12


async def answers(client: Client, expected: dict[int, str]) -> None:
    """The next messages answer these requests, in any order: with this type, or this code of an error."""
    found = {}
    for _ in expected:
        message = await client.hear(f"the answers {expected}")
        payload = message.get("payload", {})
        found[message.get("id")] = payload["code"] if message["type"] == "error" else message["type"]
    if found != expected:
        raise Failed(f"the answers {expected} were expected, not {found}")


@requirement("JOIN-1", "`joined` has the roster, with yourself in it, in the order of joining.")
async def roster(target: Target, room: str) -> None:
    names = [f"peer{number}" for number in range(MANY)]
    for count, name in enumerate(names, 1):
        joined = await (await target.peer()).join(room, name, metadata={"number": count})
        found = [(peer["peer_id"], peer["metadata"]) for peer in joined["peers"]]
        expected = [(names[number], {"number": number + 1}) for number in range(count)]
        if found != expected:
            raise Failed(f"the roster {expected} was expected, not {found}")


@requirement("JOIN-2", "The others receive `peer-joined`, with the metadata and the order of the peer.")
async def peer_joined(target: Target, room: str) -> None:
    ada, grace = await target.peer(), await target.peer()
    await ada.join(room, ADA)
    order = (await grace.join(room, GRACE, metadata={"name": "Grace"}))["order"]
    await ada.expect("peer-joined", peer_id=GRACE, metadata={"name": "Grace"}, order=order)


@requirement("JOIN-3", "A peer that joins later has a higher `order`.")
async def order(target: Target, room: str) -> None:
    orders = [(await (await target.peer()).join(room, f"peer{number}"))["order"] for number in range(MANY)]
    if orders != sorted(set(orders)):
        raise Failed(f"increasing orders were expected, not {orders}")


@requirement("JOIN-4", "A second peer with an id of the room is refused with `peer-id-taken`, and nobody is told.")
async def id_taken(target: Target, room: str) -> None:
    ada, other = await target.peer(), await target.peer()
    await ada.join(room, ADA)
    await other.say("join", room, {"peer_id": ADA}, id=1)
    await other.expect_error("peer-id-taken", 1)
    await ada.expect_nothing()


@requirement("JOIN-5", "A second join of a room on one connection is refused with `already-in-room`.")
async def already_in_room(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.join(room, ADA)
    await peer.say("join", room, {"peer_id": GRACE}, id=2)
    await peer.expect_error("already-in-room", 2)


@requirement("JOIN-6", "Messages that follow a join at once are handled when it is done.")
async def pipelined(target: Target, room: str) -> None:
    ada, grace = await target.peer(), await target.peer()
    await ada.join(room, ADA)
    await grace.say("join", room, {"peer_id": GRACE}, id=1)
    await grace.signal(room, ADA, "at once", id=2)
    await answers(grace, {1: "joined", 2: "ack"})
    await ada.expect("peer-joined", peer_id=GRACE)
    await ada.expect("signal", data="at once")


@requirement("JOIN-7", "Messages that follow a refused join are answered with `not-in-room`.")
async def refused(target: Target, room: str) -> None:
    await (await target.peer()).join(room, ADA)
    other = await target.peer()
    await other.say("join", room, {"peer_id": ADA}, id=1)
    await other.signal(room, ADA, "in vain", id=2)
    await answers(other, {1: "peer-id-taken", 2: "not-in-room"})


@requirement("JOIN-8", "A connection may be in several rooms, under different ids.")
async def several_rooms(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.join(f"{room}-2", "someone else")
    await grace.signal(room, ADA, 1)
    await ada.expect("signal", data=1)


@requirement("LEAVE-1", "After `leave` the others receive `peer-left` with the reason `left`.")
async def leave(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.say("leave", room, id=1)
    await grace.expect("left", 1)
    await ada.expect("peer-left", peer_id=GRACE, reason="left")


@requirement(
    "LEAVE-2", "After `leave` messages are answered with `not-in-room`, and the room may be joined again at once."
)
async def leave_and_join(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.say("leave", room, id=1)
    await grace.signal(room, ADA, "too late", id=2)
    await grace.say("join", room, {"peer_id": GRACE}, id=3)
    await answers(grace, {1: "left", 2: "not-in-room", 3: "joined"})
    await ada.expect("peer-left", peer_id=GRACE)
    await ada.expect("peer-joined", peer_id=GRACE)


@requirement("LEAVE-3", "A connection that is closed with 1000 leaves its rooms at once.")
async def close(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.close()
    await ada.expect("peer-left", peer_id=GRACE)


@requirement("UPDATE-1", "After `update` the others receive `peer-updated` with the new metadata.")
async def update(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.say("update", room, {"metadata": {"muted": True}}, id=1)
    await grace.expect("updated", 1)
    await ada.expect("peer-updated", peer_id=GRACE, metadata={"muted": True})
    joined = await (await target.peer()).join(room, "joan")
    if {"muted": True} not in [peer["metadata"] for peer in joined["peers"]]:
        raise Failed(f"the new metadata was expected in the roster {joined['peers']}")


@requirement("UPDATE-2", "An update that changes nothing is answered, and nobody else is told.")
async def same_metadata(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.say("update", room, {"metadata": {}}, id=1)
    await grace.expect("updated", 1)
    await grace.signal(room, ADA, "next")
    await ada.expect("signal", data="next")
