"""Rooms that span processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.checks.pairs import ADA, GRACE
from mcp_actors.conformance.checks.sessions import MANY, come_back, send_many
from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.target import Target

ANOTHER = "another process"


@requirement("NODE-1", "Members at different processes see each other, and reach each other.", ANOTHER)
async def across(target: Target, room: str) -> None:
    ada, grace = await target.peer(), await target.peer(other=True)
    await ada.join(room, ADA)
    joined = await grace.join(room, GRACE)
    if [peer["peer_id"] for peer in joined["peers"]] != [ADA, GRACE]:
        raise Failed(f"ada and grace were expected in the roster, not {joined['peers']}")
    await ada.expect("peer-joined", peer_id=GRACE)
    await grace.signal(room, ADA, 1, id=1)
    await grace.expect("ack", 1, status="delivered")
    await ada.expect("signal", data=1)


@requirement("NODE-2", "A session can be resumed at another process, and nothing is lost.", ANOTHER)
async def resume(target: Target, room: str) -> None:
    ada, grace = await target.peer(), await target.peer()
    await ada.join(room, ADA, presence=True)
    joined = await grace.join(room, GRACE)
    await ada.expect("peer-joined", peer_id=GRACE)
    grace.drop()
    await ada.expect("peer-away", peer_id=GRACE)
    await send_many(ada, room)
    again = await come_back(target, room, joined, grace.delivery, other=True)
    for number in range(MANY):
        await again.expect("signal", data=number)
    await again.expect("joined", "back", resumed=True, order=joined["order"])
