"""How clients read messages, and when they send pings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.registry import requirement
from mcp_actors.conformance.clients.scene import ADA, BOB, ROOM, roster

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene

FIELDS = {"type", "room", "payload", "id", "negotiation", "again"}


@requirement("ASK-1", "Requests MUST have no fields that the protocol does not name.", "Messages")
async def fields(scene: Scene) -> None:
    connection = await scene.connect()
    join = await connection.expect("join")
    await connection.say("joined", roster(), room=ROOM, delivery=1, id=join.get("id"))
    await scene.event("joined")
    await scene.tell("send", room=ROOM, to=BOB, data=1)
    for request in (join, await connection.expect("signal")):
        if unknown := set(request) - FIELDS:
            raise Failed(f"the fields {sorted(unknown)} of a `{request['type']}` are unknown")


@requirement("FORWARD-1", "A client MUST ignore message types that it does not know.", "Messages")
async def unknown_types(scene: Scene) -> None:
    connection = await scene.joined()
    await connection.say("novelty", {"x": 1}, room=ROOM, delivery=2)
    await scene.send(connection, "after", 3)
    await scene.messages("after")


@requirement("FORWARD-2", "A client MUST ignore fields that it does not know.", "Messages")
async def unknown_fields(scene: Scene) -> None:
    connection = await scene.joined(novelty={"x": [1]})
    await scene.send(connection, "new fields", 2, novelty=True)
    await scene.messages("new fields")


@requirement("FORWARD-3", "An error with an unknown code MUST cost only the request that it answers.", "Messages")
async def unknown_code(scene: Scene) -> None:
    connection = await scene.connect()
    join = await connection.expect("join")
    refusal = {"code": "novelty", "message": "Not now.", "retryable": False}
    await connection.say("error", refusal, room=ROOM, id=join.get("id"))
    await scene.event("error")
    await scene.tell("join", room=ROOM, peer_id=ADA)
    await scene.welcome(connection)
    await scene.event("joined")


@requirement("FORWARD-4", "The order of fields MUST have no meaning for a client.", "Messages")
async def order_of_fields(scene: Scene) -> None:
    connection = await scene.joined()
    payload = {"data": "backwards", "target_peer_id": ADA}
    await connection.send({"payload": payload, "room": ROOM, "type": "signal", "sender": BOB, "delivery": 2})
    await scene.messages("backwards")


@requirement("HEART-1", "A client that received nothing for `ping_interval` MUST send `ping`.", "Heartbeat")
async def sends_pings(scene: Scene) -> None:
    connection = await scene.joined(ping_interval=1)
    await connection.expect("ping")


@requirement(
    "HEART-2", "A client that received nothing for twice as long MUST open a new connection and resume.", "Heartbeat"
)
async def gives_up(scene: Scene) -> None:
    connection = await scene.joined(ping_interval=1)
    connection.answers_pings = False
    _, join = await scene.resumed(2)
    if "resume" not in join:
        raise Failed(f"a join with `resume` was expected, not {join}")


@requirement(
    "HEART-3", "A ping of WebSockets MUST be answered with a pong that repeats its data.", "Refused handshakes"
)
async def answers_pings(scene: Scene) -> None:
    connection = await scene.joined()
    await connection.pong()
