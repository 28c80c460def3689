"""What one side tells the other one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client import PeerJoined, Signal, connect
from mcp_actors.client.aiortc.pair_signals import PairSignals

if TYPE_CHECKING:
    from tests.support.server import Server

ASKED = Signal(sender="ada", data={"callHeal": {"replace": True}})


async def test_a_side_asks_again_unless_an_offer_has_arrived_since_the_last_time(server: Server) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        ada, grace = await one.join("r", "ada"), await other.join("r", "grace")
        assert isinstance(await anext(ada), PeerJoined)
        signals = PairSignals(ada, "grace")
        signals.ask_to_heal(3)
        assert await anext(grace) == ASKED
        signals.ask_to_heal(4)
        signals.tell_problem("message-too-big")
        assert await anext(grace) == Signal(sender="ada", data={"callProblem": {"code": "message-too-big"}})
        signals.ask_to_heal(4)
        assert await anext(grace) == ASKED
        signals.begin_asking()
        signals.ask_to_heal(5)
        assert await anext(grace) == ASKED
        await signals.close()


async def test_a_signal_that_reaches_nobody_is_no_failure(server: Server) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("r", "ada")
        signals = PairSignals(room, "nobody")
        signals.ask_to_heal(0)
        await room.update({"after": "it"})
        await signals.close()
