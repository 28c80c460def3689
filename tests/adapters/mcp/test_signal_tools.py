"""Agents as WebRTC peers, with peers of the documented protocol, on one process and on two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioice
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from mcp_actors.protocol.identifiers import RoomId
from tests.support.agents import Agent, agent, holder
from tests.support.loop import until
from tests.support.tokens import REQUIRED

if TYPE_CHECKING:
    from tests.support.server import Server

pytestmark = pytest.mark.settings(mcp=True)
OFFER, ANSWER = {"type": "offer", "sdp": "v=0 offer"}, {"type": "answer", "sdp": "v=0 answer"}
CANDIDATE = {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"}


@pytest.mark.settings(ice_servers='[{"urls": "stun:stun.example.com"}]')
async def test_an_agent_and_a_peer_negotiate(servers: list[Server]) -> None:
    here, there = servers
    peer = await here.peer()
    await peer.join("r", "p")
    async with agent(there.app.mcp) as bot:
        joined = await bot.call("join_as_peer", room="r", name="bot")
        membership = joined["membership"]
        assert (joined["peer_id"], joined["orders"]["p"] < joined["order"]) == ("bot", True)
        assert joined["ice_servers"] == [{"urls": "stun:stun.example.com"}]
        entry = (await peer.expect("peer-joined", peer_id="bot"))["payload"]
        assert entry["metadata"] == {"agent": True}

        sent = await bot.call("send_signal", membership=membership, to="p", kind="offer", data=OFFER)
        offer = await peer.expect("offer")
        assert (offer["sender"], offer["payload"]["offer"]) == ("bot", OFFER)
        assert sent == {"status": "delivered", "negotiation": offer["negotiation"]}

        await peer.say("answer", "r", {"target_peer_id": "bot", "answer": ANSWER}, negotiation=offer["negotiation"])
        await peer.say("ice-candidate", "r", {"target_peer_id": "bot", "candidate": CANDIDATE})
        heard: list[Any] = []
        after = joined["last_seq"]
        while len(heard) < 2:
            got = await bot.call("receive_signals", membership=membership, after=after, wait_seconds=25)
            heard += got["signals"]
            after = got["last_seq"]
        assert [(one["from"], one["kind"], one["data"]) for one in heard] == [
            ("p", "answer", ANSWER),
            ("p", "ice-candidate", CANDIDATE),
        ]
        assert "nobody" in await bot.refusal("send_signal", membership=membership, to="nobody", kind="signal", data=1)
        await bot.call("leave_room", membership=membership)
        await peer.expect("peer-left", peer_id="bot", reason="left")


async def test_arguments_that_make_no_signal_are_refused(server: Server) -> None:
    peer = await server.peer()
    await peer.join("r", "p")
    async with agent(server.app.mcp) as bot:
        membership = (await bot.call("join_as_peer", room="r"))["membership"]
        refusal = await bot.refusal("send_signal", membership=membership, to="p", kind="offer", data={"type": "offer"})
        assert "sdp" in refusal
        refusal = await bot.refusal(
            "send_signal", membership=membership, to="p", kind="offer", data=OFFER, negotiation=1
        )
        assert "leave it out" in refusal
        user = (await bot.call("join_room", room="r"))["membership"]
        refusal = await bot.refusal("send_signal", membership=user, to="p", kind="offer", data=OFFER)
        assert "join_as_peer gives one for signals" in refusal
        assert "join_room gives one for messages" in await bot.refusal("receive_messages", membership=membership)


@pytest.mark.settings(**REQUIRED)
async def test_a_peer_goes_on_at_another_process_and_not_under_another_user(servers: list[Server]) -> None:
    here, there = servers
    async with agent(here.app.mcp, holder("bot")) as bot, agent(here.app.mcp, holder("eve")) as eve:
        joined = await bot.call("join_as_peer", room="r")
        other = await eve.call("join_as_peer", room="r")
        assert "There is no such membership" in await eve.refusal("receive_signals", membership=joined["membership"])
        assert here.app.mcp is not None
        await here.app.mcp.memberships.stop()
    async with agent(there.app.mcp, holder("eve")) as eve, agent(there.app.mcp, holder("bot")) as bot:
        assert "There is no such membership" in await eve.refusal("receive_signals", membership=joined["membership"])
        await eve.call("send_signal", membership=other["membership"], to="bot", kind="signal", data={"n": 1})
        received = await bot.call(
            "receive_signals", membership=joined["membership"], after=joined["last_seq"], wait_seconds=25
        )
        signals = received["signals"]
        while not signals:
            received = await bot.call(
                "receive_signals", membership=joined["membership"], after=received["last_seq"], wait_seconds=25
            )
            signals = received["signals"]
        assert [(one["from"], one["verified"], one["data"]) for one in signals] == [("eve", True, {"n": 1})]
        await bot.call("leave_room", membership=joined["membership"])
        assert "There is no such membership" in await bot.refusal("receive_signals", membership=joined["membership"])
        state = await there.app.node.broker.administration.room(RoomId("r"))
        assert [member.id for member in state.members] == ["eve"]


class Rtc:
    """An agent with a WebRTC stack: all that it knows of the other comes through the tools."""

    def __init__(self, bot: Agent, joined: dict[str, Any]) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.heard: list[str] = []
        self._bot = bot
        self._membership = joined["membership"]
        self._after = joined["last_seq"]
        self.connection.on("datachannel", lambda channel: channel.on("message", channel.send))  # an echo

    async def send(self, to: str, **fields: Any) -> None:
        """Send the own description, in which the candidates are."""
        local = self.connection.localDescription
        data = {"type": local.type, "sdp": local.sdp}
        await self._bot.call("send_signal", membership=self._membership, to=to, kind=local.type, data=data, **fields)

    async def take(self) -> dict[str, Any]:
        """Take the description of the other, and return the signal that brought it."""
        while True:
            got = await self._bot.call(
                "receive_signals", membership=self._membership, after=self._after, wait_seconds=25
            )
            self._after = got["last_seq"]
            for signal in got["signals"]:
                await self.connection.setRemoteDescription(RTCSessionDescription(**signal["data"]))
                return dict(signal)


async def test_two_agents_open_a_data_channel(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: ["127.0.0.1"])
    async with agent(server.app.mcp) as one, agent(server.app.mcp) as other:
        callee = Rtc(other, await other.call("join_as_peer", room="r", name="callee"))
        caller = Rtc(one, await one.call("join_as_peer", room="r", name="caller"))
        channel = caller.connection.createDataChannel("talk")
        channel.on("open", lambda: channel.send("hello"))
        channel.on("message", caller.heard.append)
        await caller.connection.setLocalDescription(await caller.connection.createOffer())
        await caller.send("callee")
        offer = await callee.take()
        await callee.connection.setLocalDescription(await callee.connection.createAnswer())
        await callee.send("caller", negotiation=offer["negotiation"])
        await caller.take()
        await until(lambda: caller.heard == ["hello"], "the echo over the data channel")
        await caller.connection.close()
        await callee.connection.close()
