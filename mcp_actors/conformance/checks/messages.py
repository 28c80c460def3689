"""Requests and their answers, whatever they are about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mcp_actors.conformance.checks.pairs import ADA, GRACE, pair
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.target import Target

HALF_OF_AN_EMOJI = "\\ud83d"
TOO_MANY_BAD = 40


@requirement("MSG-1", "A request with an `id` is answered, and the answer has the same `id`.")
async def same_id(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.say("join", room, {"peer_id": ADA}, id=7)
    await peer.expect("joined", 7)
    await peer.say("leave", room, id="seven")
    await peer.expect("left", "seven")
    await peer.say("leave", room, id=-(2**63))
    await peer.expect_error("not-in-room", -(2**63))


@requirement("MSG-2", "A field that a message does not have is an error, which names the field.")
async def unknown_field(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.say("join", room, {"peer_id": ADA}, id=1, further=True)
    error = await peer.expect_error("bad-message", 1)
    if error.get("details", {}).get("field") != "further":
        raise Failed(f"`details.field` was expected to be `further`, not {error.get('details')}")


@requirement("MSG-3", "Further fields inside `payload` are passed on untouched.")
async def further_fields(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.say("signal", room, {"target_peer_id": ADA, "data": 1, "further": {"own": [1]}})
    await ada.expect("signal", data=1, further={"own": [1]})


@requirement("MSG-4", "In a field that may be left out, `null` means the same as leaving it out.")
async def null(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.send(
        json.dumps({"type": "join", "room": room, "id": None, "payload": {"peer_id": ADA, "metadata": None}})
    )
    joined = await peer.expect("joined", peer_id=ADA)
    if "id" in joined:
        raise Failed("no `id` was expected in the answer to a request whose `id` is null")
    await peer.send(json.dumps({"type": "leave", "room": room, "payload": None, "id": 2}))
    await peer.expect("left", 2)


@requirement("MSG-5", "Integers may be written as `1.0`.")
async def integers(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.say("offer", room, {"target_peer_id": ADA, "offer": {"type": "offer", "sdp": "v=0"}})
    number = (await ada.expect("offer"))["negotiation"]
    answer = {"target_peer_id": GRACE, "answer": {"type": "answer", "sdp": "v=0"}}
    await ada.send(json.dumps({"type": "answer", "room": room, "payload": answer, "negotiation": float(number)}))
    await grace.expect("answer")


@requirement("MSG-6", "A byte order mark before a message is ignored.")
async def byte_order_mark(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.send("\ufeff" + json.dumps({"type": "join", "room": room, "payload": {"peer_id": ADA}, "id": 1}))
    await peer.expect("joined", 1)


@requirement("MSG-7", "Binary frames with JSON in UTF-8 are accepted, and answered in text.")
async def binary(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.send(json.dumps({"type": "join", "room": room, "payload": {"peer_id": ADA}, "id": 1}).encode())
    if not isinstance(await peer.hear_frame("`joined`"), str):
        raise Failed("a text frame was expected")


@requirement("MSG-8", "Ids of other than printable characters are refused with `bad-message`.")
async def ids(target: Target, room: str) -> None:
    peer = await target.peer()
    for bad in ("", " ada", "ada\u0000", "a\u200bda", ".", "a" * 129, "A\u030a"):
        await peer.say("join", room, {"peer_id": bad}, id=1)
        await peer.expect_error("bad-message", 1)
    for good in ("Åsa", "小林", "ada lovelace", "👩‍💻"):
        await peer.join(f"{room} {good}", good)


@requirement("MSG-9", "Halves of surrogate pairs in relayed content stay as they are.")
async def surrogates(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    payload = f'{{"target_peer_id": "{ADA}", "data": "{HALF_OF_AN_EMOJI}"}}'
    await grace.send(f'{{"type": "signal", "room": "{room}", "payload": {payload}}}')
    frame = await ada.hear_frame("`signal`")
    if HALF_OF_AN_EMOJI not in str(frame):
        raise Failed(f"{HALF_OF_AN_EMOJI} was expected in {frame!r}")


@requirement("ERR-1", "A message that is not JSON costs one error; the connection and its rooms stay.")
async def not_json(target: Target, room: str) -> None:
    ada, grace = await pair(target, room)
    await grace.send("{")
    await grace.expect_error("bad-message")
    await grace.say("offer", room, {"target_peer_id": ADA, "offer": {"type": "offer"}}, id=2)
    await grace.expect_error("bad-message", 2)
    await grace.signal(room, ADA, "still here")
    await ada.expect("signal", data="still here")


@requirement("ERR-2", "An unknown `type` is answered with `bad-message`.")
async def unknown_type(target: Target, room: str) -> None:
    peer = await target.peer()
    await peer.say("jion", room, {"peer_id": ADA}, id=1)
    await peer.expect_error("bad-message", 1)


@requirement("ERR-3", "A message above the limit is answered with `message-too-big` and the limit.")
async def too_big(target: Target, room: str) -> None:
    peer = await target.peer()
    limit = (await peer.join(room, ADA)).get("max_message_bytes", 65_536)
    await peer.signal(room, GRACE, "x" * limit, id=1)
    error = await peer.expect_error("message-too-big", 1)
    if error.get("details", {}).get("limit") != limit:
        raise Failed(f"`details.limit` was expected to be {limit}, not {error.get('details')}")
    await peer.expect_nothing()


@requirement("ERR-4", "Too many bad messages in a row close the connection with 4500.")
async def many_bad(target: Target, room: str) -> None:
    peer = await target.peer()
    for _ in range(TOO_MANY_BAD):
        try:
            await peer.send("{")
        except Failed:
            break
    await peer.expect_close(4500)


@requirement("BEAT-1", "`ping` is answered with `pong`.")
async def ping(target: Target, room: str) -> None:
    for client in (await target.peer(), await target.user()):
        await client.say("ping", id=3)
        await client.expect("pong", 3)


@requirement("BEAT-2", "A ping of WebSockets is answered with a pong.")
async def websocket_ping(target: Target, room: str) -> None:
    await (await target.peer()).ping()
