"""How clients move to another process when theirs is about to stop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.clients.checks.resuming import expect_field
from mcp_actors.conformance.clients.registry import requirement
from mcp_actors.conformance.clients.scene import ADA, BOB, RESUME, ROOM, roster

if TYPE_CHECKING:
    from mcp_actors.conformance.clients.scene import Scene

AFTER_MS = 1500


@requirement(
    "DRAIN-1", "After `reconnect` a client MUST open a new connection, but not before `after_ms`.", "reconnect"
)
async def waits(scene: Scene) -> None:
    connection = await scene.joined()
    await scene.tell("join", room="another-room", peer_id=ADA)  # which must not make it hurry later
    join = await connection.expect("join")
    await connection.say("joined", roster(), room="another-room", delivery=2, id=join.get("id"))
    await scene.event("joined")
    asked_at = time.monotonic()
    await connection.say("reconnect", {"after_ms": AFTER_MS})
    moved = await scene.server.connection()
    if moved.opened_at - asked_at < AFTER_MS / 1000:
        raise Failed(f"a pause of {AFTER_MS} ms was expected, not {round(1000 * (moved.opened_at - asked_at))} ms")


@requirement("DRAIN-2", "Until then a client MUST keep using the old connection.", "reconnect")
async def keeps(scene: Scene) -> None:
    connection = await scene.joined()
    await connection.say("reconnect", {"after_ms": 10 * AFTER_MS})
    await scene.send(connection, "still here", 2)
    await scene.messages("still here")
    await scene.tell("send", room=ROOM, to=BOB, data=1)
    await connection.expect("signal")


@requirement("DRAIN-3", "The new connection MUST resume the session.", "reconnect")
async def resumes(scene: Scene) -> None:
    connection = await scene.joined()
    await connection.say("reconnect", {"after_ms": 0})
    moved, join = await scene.resumed(2)
    expect_field(join, "resume", RESUME)
    await asyncio.gather(connection.close(4501), scene.send(moved, "moved", 3))
    await scene.messages("moved")
