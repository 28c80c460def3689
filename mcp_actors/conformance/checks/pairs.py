"""Two peers in a room, with which many checks begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_actors.conformance.client import Client
    from mcp_actors.conformance.target import Target

ADA, GRACE = "ada", "grace"


async def pair(target: Target, room: str) -> tuple[Client, Client]:
    """Ada, and Grace, who has joined after her; what the joins tell has been read."""
    ada, grace = await target.peer(), await target.peer()
    await ada.join(room, ADA)
    await grace.join(room, GRACE)
    await ada.expect("peer-joined", peer_id=GRACE)
    return ada, grace
