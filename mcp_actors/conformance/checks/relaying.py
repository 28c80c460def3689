"""Messages from one peer to another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.checks.pairs import ADA, GRACE, pair
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.target import Target

MANY = 100
SPACED = '{"b" :  1.50,"a":[ "\\u0041" ]}'


@requirement("RELAY-1", "A message arrives with the `sender`, which no client can set.")
async def sender(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.signal(room, ADA, 1)
    message = await ada.expect("signal", data=1)
    if message.get("sender") != GRACE or message.get("room") != room:
        raise Failed(f"the sender {GRACE} and the room {room} were expected, not {message}")
    await grace.signal(room, ADA, 2, sender="joan", id=1)
    await grace.expect_error("bad-message", 1)


@requirement("RELAY-2", "Messages are relayed byte for byte.")
async def bytes_stay(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.send(f'{{"type":"signal","room":"{room}","payload":{{"target_peer_id":"{ADA}","data":{SPACED}}}}}')
    frame = str(await ada.hear_frame("`signal`"))
    if SPACED not in frame:
        raise Failed(f"{SPACED} was expected in {frame}")


@requirement("RELAY-3", "Messages from one peer to another arrive in the order in which they were sent.")
async def order(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    for number in range(MANY):
        await grace.signal(room, ADA, number)
    for number in range(MANY):
        await ada.expect("signal", data=number)


@requirement("RELAY-4", "A message with an `id` is answered with `ack` and the status `delivered`.")
async def ack(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.signal(room, ADA, 1, id="s-1")
    await grace.expect("ack", "s-1", status="delivered")
    await ada.expect("signal", data=1)


@requirement("RELAY-5", "A message to a peer that is not in the room is answered with `peer-not-found`.")
async def not_found(target: Target, room: str) -> None:
    _, grace = await pair(target, room)
    await grace.signal(room, "nobody", 1, id=1)
    await grace.expect_error("peer-not-found", 1)
    await grace.signal(room, "nobody", 1)
    await grace.expect_error("peer-not-found")


@requirement("RELAY-6", "A message to yourself is answered with `bad-message`.")
async def to_itself(target: Target, room: str) -> None:
    _, grace = await pair(target, room)
    await grace.signal(room, GRACE, 1, id=1)
    await grace.expect_error("bad-message", 1)


@requirement("RELAY-7", "A message reaches its peer alone.")
async def alone(target: Target, room: str) -> None:
    _, grace = await pair(target, room)
    joan = await target.peer()
    await joan.join(room, "joan")
    await grace.expect("peer-joined", peer_id="joan")
    await grace.signal(room, ADA, 1, id=1)
    await grace.expect("ack", 1)
    await joan.expect_nothing()


@requirement("RELAY-8", "Nothing comes from a peer before its `peer-joined`, or after its `peer-left`.")
async def between_join_and_leave(target: Target, room: str) -> None:
    ada, grace = await target.peer(), await target.peer()
    await ada.join(room, ADA)
    await grace.say("join", room, {"peer_id": GRACE})
    await grace.signal(room, ADA, 1)
    await grace.say("leave", room)
    await ada.expect("peer-joined", peer_id=GRACE)
    await ada.expect("signal", data=1)
    await ada.expect("peer-left", peer_id=GRACE)


@requirement("RELAY-9", '`null` and `""` are candidates: there are no more.')
async def last_candidate(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    for candidate in (None, ""):
        await grace.say("ice-candidate", room, {"target_peer_id": ADA, "candidate": candidate})
        await ada.expect("ice-candidate", candidate=candidate)
