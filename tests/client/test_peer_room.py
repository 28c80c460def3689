"""Offers and their numbers, and ICE servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.client import Answer, IceCandidate, IceServersRenewed, Offer, PeerJoined, SignalingError, connect
from tests.client.scripted import JOINED, ScriptedServer

if TYPE_CHECKING:
    from tests.support.server import Server

OFFER, ANSWER = {"type": "offer", "sdp": "v=0"}, {"type": "answer", "sdp": "v=0"}
CANDIDATE: dict[str, Any] = {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0}


async def test_answers_and_candidates_have_the_number_of_their_offer(servers: list[Server]) -> None:
    async with connect(servers[0].url("")) as one, connect(servers[1].url("")) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        assert isinstance(await anext(a), PeerJoined)
        assert await b.offer("a", OFFER) == "delivered"
        await b.candidate("a", CANDIDATE)
        offer, candidate = await anext(a), await anext(a)
        assert isinstance(offer, Offer)
        number = offer.negotiation  # 1, unless a first one did not reach its peer
        assert offer == Offer(sender="b", offer=OFFER, negotiation=number)
        assert candidate == IceCandidate(sender="b", candidate=CANDIDATE, negotiation=number)
        await a.answer("b", ANSWER)
        await a.candidate("b", None)
        assert [await anext(b) for _ in range(2)] == [
            Answer(sender="a", answer=ANSWER, negotiation=number),
            IceCandidate(sender="a", candidate=None, negotiation=number),
        ]


async def test_an_answer_to_an_outdated_offer_is_refused(server: Server) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a, b = await one.join("r", "a"), await other.join("r", "b")
        for _ in range(2):
            await b.offer("a", OFFER)
        with pytest.raises(SignalingError, match="stale-negotiation"):
            await a.answer("b", ANSWER, negotiation=1)
        assert [await anext(a) for _ in range(3)][-1] == Offer(sender="b", offer=OFFER, negotiation=2)
        assert await a.answer("b", ANSWER) == "delivered"


async def test_numbers_start_again_with_a_peer_that_joins_again(server: Server) -> None:
    async with connect(server.url("")) as one, connect(server.url("")) as other:
        a = await one.join("r", "a")
        for _ in range(2):
            b = await other.join("r", "b")
            await b.offer("a", OFFER)
            await b.candidate("a", CANDIDATE)
            await b.leave()
        candidates = [event for event in [await anext(a) for _ in range(8)] if isinstance(event, IceCandidate)]
        assert [candidate.negotiation for candidate in candidates] == [1, 1]


@pytest.mark.settings(turn_urls=["turn:turn.example.org"], turn_secret=["x" * 32], turn_ttl=60)
async def test_ice_servers_are_renewed_when_asked_for(server: Server) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("r", "a")
        assert room.ice_servers[0]["urls"] == ["turn:turn.example.org"]
        renewed = await room.renew_ice_servers()
        assert room.ice_servers == renewed
        assert await anext(room) == IceServersRenewed(ice_servers=renewed)


async def test_reports_reach_the_metrics_of_the_server(server: Server) -> None:
    async with connect(server.url("")) as client:
        room = await client.join("r", "a")
        await room.report("connected", milliseconds=120)
        await room.report("failed", milliseconds=4000, reason="no-turn")
        with pytest.raises(SignalingError, match=r"`payload\.pair` must be one of: connected, healed, failed\."):
            await room.report("lost", milliseconds=1)
    assert server.app.node.pairs.reports == {("connected", None): 1, ("failed", "no-turn"): 1}


async def test_a_report_is_not_sent_later() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        room = await client.join("r", "a")
        server.answers["report"] = "ack", {"status": "counted"}
        await room.report("connected", milliseconds=5)
        assert (await server.request("report"))["payload"] == {"pair": "connected", "milliseconds": 5}
        await room.leave()
        await client.close()
        with pytest.raises(SignalingError, match="connection-lost"):
            await room.report("healed", milliseconds=1)


async def test_ice_servers_are_renewed_before_they_end() -> None:
    async with ScriptedServer() as server, connect(server.url) as client:
        server.answers["ice-servers"] = "ice-servers", {"ice_servers": [{"urls": "turn:new.example.org"}]}
        server.joined = JOINED | {"ice_servers": [{"urls": "turn:old.example.org"}], "ice_servers_expire_in": 0.05}
        room = await client.join("r", "a")
        assert room.ice_servers == [{"urls": "turn:old.example.org"}]
        assert await anext(room) == IceServersRenewed(ice_servers=[{"urls": "turn:new.example.org"}])
        assert room.ice_servers == [{"urls": "turn:new.example.org"}]
