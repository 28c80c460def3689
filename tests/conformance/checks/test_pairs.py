"""The two peers of checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.checks.pairs import ADA, pair
from mcp_actors.conformance.target import Target

if TYPE_CHECKING:
    from tests.support.server import Server


async def test_both_are_in_the_room_and_have_read_everything(server: Server) -> None:
    async with Target(server.url("", "http")).for_one_check() as target:
        ada, grace = await pair(target, "r")
        await grace.signal("r", ADA, 1)
        await ada.expect("signal", data=1)
