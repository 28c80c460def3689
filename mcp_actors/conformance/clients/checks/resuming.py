"""How clients resume their sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.registry import requirement
from mcp_actors.conformance.clients.scene import BOB, RESUME, ROOM

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene

SECTION = "Resuming a session"
QUIET = 1.5
"""Seconds for which a check looks for what must not happen."""


def expect_field(join: dict[str, Any], name: str, value: Any) -> None:
    """Raises `Failed` if the payload of a join has another value."""
    if join.get(name) != value:
        raise Failed(f"`{name}` was expected to be {value!r} in the join, not {join.get(name)!r}")


@requirement("RETURN-1", "After a lost connection a client MUST join with the `resume` it received.", SECTION)
async def resumes(scene: Scene) -> None:
    (await scene.joined()).cut()
    _, join = await scene.resumed(2)
    expect_field(join, "resume", RESUME)


@requirement("RETURN-2", "`received` MUST be the `delivery` of the last message that the client received.", SECTION)
async def received(scene: Scene) -> None:
    connection = await scene.joined()
    for delivery in (2, 3, 4):
        await scene.send(connection, delivery, delivery)
    await scene.messages(2, 3, 4)
    connection.cut()
    _, join = await scene.resumed(5)
    expect_field(join, "received", 4)


@requirement("RETURN-3", "`at` MUST have the last position of each room.", SECTION)
async def positions(scene: Scene) -> None:
    connection = await scene.joined()
    for delivery, at in ((2, "1-0@a"), (3, "2-0@a")):
        await scene.send(connection, delivery, delivery, at=at)
    await scene.send(connection, 4, 4)
    await scene.messages(2, 3, 4)
    connection.cut()
    _, join = await scene.resumed(5)
    expect_field(join, "at", {ROOM: "2-0@a"})


@requirement("RETURN-4", "A client MUST resume with the last `resume` it received.", SECTION)
async def newest_token(scene: Scene) -> None:
    (await scene.joined()).cut()
    connection, _ = await scene.resumed(2)
    await scene.send(connection, "here", 3)
    await scene.messages("here")
    connection.cut()
    _, join = await scene.resumed(4)
    expect_field(join, "resume", "the-next-token")


@requirement("RETURN-5", "Missed messages, which come before `joined`, MUST be passed on once and in order.", SECTION)
async def missed(scene: Scene) -> None:
    connection = await scene.joined()
    await scene.send(connection, 1, 2)
    await scene.messages(1)
    connection.cut()
    connection = await scene.server.connection()
    for number in (2, 3):
        await scene.send(connection, number, number + 1)
    await scene.welcome(connection, 5, resumed=True, complete=True, resume="the-next-token")
    await scene.send(connection, 4, 6)
    await scene.messages(2, 3, 4)


@requirement("RETURN-6", "A client whose resume is answered `unavailable` MUST try again with the same token.", SECTION)
async def unavailable(scene: Scene) -> None:
    (await scene.joined()).cut()
    connection = await scene.server.connection()
    join = await connection.expect("join")
    refusal = {"code": "unavailable", "message": "Try again.", "retryable": True}
    await connection.say("error", refusal, room=ROOM, id=join.get("id"))
    expect_field(await _next_join(scene, connection), "resume", RESUME)


async def _next_join(scene: Scene, connection: Any) -> dict[str, Any]:
    """The payload of the next join, on this connection or a new one."""
    here = asyncio.create_task(scene.welcome(connection, 2, resumed=True, complete=True))
    there = asyncio.create_task(scene.resumed(2))
    done, waiting = await asyncio.wait((here, there), return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(here, there, return_exceptions=True)
    return here.result() if here in done else there.result()[1]


@requirement("RETURN-7", "A client whose connection is lost before `joined` MUST join again.", "Closing")
async def before_joined(scene: Scene) -> None:
    connection = await scene.connect()
    await connection.expect("join")
    connection.cut()
    await scene.welcome(await scene.server.connection())
    await scene.event("joined")


@requirement("RETURN-8", "After `resumed: false` a client MUST go on with the new session.", SECTION)
async def newcomer(scene: Scene) -> None:
    connection = await scene.joined()
    for delivery in (2, 3, 4):
        await scene.send(connection, delivery, delivery)
    await scene.messages(2, 3, 4)
    connection.cut()
    connection, _ = await scene.resumed(1, resumed=False, resume="another-session")
    await scene.send(connection, "new", 2)
    await scene.messages("new")
    connection.cut()
    _, join = await scene.resumed(3)
    expect_field(join, "resume", "another-session")
    expect_field(join, "received", 2)


@requirement(
    "RETURN-9", "After `complete: false` a client MUST go on, although `delivery` has skipped numbers.", SECTION
)
async def incomplete(scene: Scene) -> None:
    (await scene.joined()).cut()
    connection, _ = await scene.resumed(40, complete=False)
    await scene.send(connection, "later", 41)
    await scene.messages("later")
    connection.cut()
    _, join = await scene.resumed(42)
    expect_field(join, "received", 41)


@requirement(
    "REPEAT-1", "A message without an answer MUST be sent again after resuming, with its `id` and `again`.", SECTION
)
async def repeats(scene: Scene) -> None:
    connection = await scene.joined()
    await scene.tell("send", room=ROOM, to=BOB, data="once")
    first = await connection.expect("signal")
    connection.cut()
    connection, _ = await scene.resumed(2)
    second = await connection.expect("signal")
    if second != first | {"again": True}:
        raise Failed(f"the same message with `again` was expected, not {second}")


@requirement("REPEAT-2", "A message that was answered MUST NOT be sent again.", SECTION)
async def does_not_repeat(scene: Scene) -> None:
    connection = await scene.joined()
    await scene.tell("send", room=ROOM, to=BOB, data="once")
    given = {"id": (await connection.expect("signal"))["id"]}
    await connection.say("ack", {"status": "delivered"}, room=ROOM, delivery=2, **given)
    await scene.send(connection, "read", 3)
    await scene.messages("read")
    connection.cut()
    connection, _ = await scene.resumed(4)
    await asyncio.sleep(QUIET)
    if connection.requests("signal"):
        raise Failed("no signal was expected, as it had been answered")


@requirement(
    "REPEAT-3",
    "A message with `again` MUST be dropped by a client that has one with the same `sender` and `id`.",
    SECTION,
)
async def drops_repeated(scene: Scene) -> None:
    connection = await scene.joined()
    await scene.send(connection, "once", 2, id="s-1")
    await scene.send(connection, "once", 3, id="s-1", again=True)
    await scene.send(connection, "after", 4)
    await scene.messages("once", "after")
