"""The tools of agents with a WebRTC stack: they enter rooms as peers, and negotiate connections."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from mcp_actors.adapters.mcp.inbox import ReceivedSignal, RoomEvent
from mcp_actors.adapters.mcp.member_tools import After, Handle, Limit, Participant, Wait, participant
from mcp_actors.adapters.mcp.tool import Tool, ToolError

if TYPE_CHECKING:
    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.memberships import Memberships
    from mcp_actors.counters.agents import AgentCounters

FIELDS = {"offer": "offer", "answer": "answer", "ice-candidate": "candidate", "signal": "data"}
"""The field of the payload that holds what each kind of signal carries."""


class JoinAsPeer(Struct, frozen=True, forbid_unknown_fields=True):
    """The room to enter."""

    room: Annotated[str, Meta(min_length=1, description="The name of the room; it opens if nobody is in it.")]
    name: Annotated[
        str, Meta(description="Your peer id, unless an access token sets it. If left out, you get a random one.")
    ] = ""


class JoinedAsPeer(Struct, frozen=True):
    """The membership, and the room at the moment of joining; `last_seq` is the `after` of the first receive_signals.

    Of two peers the one with the higher `order` makes the offer. `ice_servers` are RTCIceServer objects.
    """

    membership: str
    room: str
    peer_id: str
    order: int
    roster: list[Participant]
    orders: dict[str, int]
    ice_servers: list[dict[str, Any]]
    last_seq: int
    lease_seconds: float


class SendSignal(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a negotiation, for one peer."""

    membership: Handle
    to: Annotated[str, Meta(description="The id of the peer, as in the roster.")]
    kind: Literal["offer", "answer", "ice-candidate", "signal"]
    data: Annotated[
        Any,
        Meta(description="A session description {type, sdp}, a candidate, or for `signal` any JSON."),
    ]
    negotiation: Annotated[
        int | None, Meta(description="Of an answer or a candidate: the number of the offer that it belongs to.")
    ] = None


class SignalSent(Struct, frozen=True):
    """`status`: delivered, or queued for a peer that is away. `negotiation`: the number of an offer."""

    status: str
    negotiation: int | None = None


class ReceiveSignals(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go on, and how long to wait."""

    membership: Handle
    after: After = 0
    wait_seconds: Wait = 0
    limit: Limit = 100


class Signals(Struct, frozen=True):
    """What came, in the order of `seq`; the other fields are as in the result of receive_messages."""

    room: str
    signals: list[ReceivedSignal]
    events: list[RoomEvent]
    last_seq: int
    more: bool
    missed: bool


class SignalTools:
    """What an agent does in rooms as a peer; `lease`: seconds after its last call that it stays."""

    def __init__(self, memberships: Memberships, lease: float, counters: AgentCounters) -> None:
        self._memberships = memberships
        self._lease = lease
        self._counters = counters

    def tools(self) -> list[Tool]:
        """Return the tools."""
        join = (
            "Enter a room as a WebRTC peer. This is for programs with a WebRTC stack; to talk to people, use join_room."
            " leave_room ends the membership, which otherwise lasts as long as that of join_room."
        )
        send = "Send an offer, an answer, an ICE candidate or other signal to one peer in the room."
        receive = (
            "Return the signals that other peers have sent to you, and who joined or left; wait for them if asked."
        )
        return [
            Tool("join_as_peer", join, JoinAsPeer, JoinedAsPeer, self._join),
            Tool("send_signal", send, SendSignal, SignalSent, self._send),
            Tool("receive_signals", receive, ReceiveSignals, Signals, self._receive, changes=False),
        ]

    async def _join(self, caller: Caller, asked: JoinAsPeer) -> JoinedAsPeer:
        name = asked.name or f"agent-{secrets.token_hex(4)}"
        membership, reply = await self._memberships.join(caller, "peer", asked.room, name)
        return JoinedAsPeer(
            membership.handle,
            membership.room,
            reply["peer_id"],
            reply["order"],
            [participant("peer", one["peer_id"], one) for one in reply["peers"]],
            {one["peer_id"]: one["order"] for one in reply["peers"]},
            reply["ice_servers"],
            membership.skip(),
            self._lease,
        )

    async def _send(self, caller: Caller, asked: SendSignal) -> SignalSent:
        membership = await self._memberships.find(caller, asked.membership, "peer")
        payload = {"target_peer_id": asked.to, FIELDS[asked.kind]: asked.data}
        fields = {} if asked.negotiation is None else {"negotiation": asked.negotiation}
        if fields and asked.kind not in ("answer", "ice-candidate"):
            raise ToolError("Only an answer or a candidate has a `negotiation`; leave it out.")
        with membership:
            ack = await membership.client.request(asked.kind, membership.room, payload, **fields)
        return SignalSent(ack["status"], ack.get("negotiation"))

    async def _receive(self, caller: Caller, asked: ReceiveSignals) -> Signals:
        membership = await self._memberships.find(caller, asked.membership, "peer")
        with self._counters.wait(), membership:
            items, last, more, missed = await membership.receive(asked.after, asked.wait_seconds, asked.limit)
        signals = [item for item in items if isinstance(item, ReceivedSignal)]
        events = [item for item in items if isinstance(item, RoomEvent)]
        return Signals(membership.room, signals, events, last, more, missed)
