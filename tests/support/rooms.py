"""Rooms without actors, and brokers for rooms with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from mcp_actors.actors.performer import request
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol.codec import JSON, Limits, error_message, peer_decoder, user_decoder
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import Kind, LeaveReason, Member, MemberMoved
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.protocol.outgoing import Outgoing
from mcp_actors.room.effects import Deliver, Done, Moderate, Publish, Reject, Relay, Send, Welcome
from mcp_actors.room.room import Room

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Sequence

    from mcp_actors.broker import Listener
    from mcp_actors.protocol.events import Event, NegotiationStep, Receipt
    from mcp_actors.protocol.identifiers import RequestId
    from mcp_actors.protocol.messages import Message, OrderedRequest, Targeted
    from mcp_actors.protocol.outgoing import Relayed
    from mcp_actors.room.effects import Effect
    from mcp_actors.room.rules import RoomRules

ROOM = RoomId("room123")
NODE, OTHER, THIRD = NodeId("node"), NodeId("other"), NodeId("third")
LIMITS = Limits(message_bytes=10_000, metadata_bytes=1000, id_length=128)
DECODE_PEER = peer_decoder(LIMITS).decode
DECODE_USER = user_decoder(LIMITS).decode


def decoded(message: Outgoing | Relayed) -> dict[str, Any]:
    """A message as its receiver reads it."""
    head, body = message.encoded(JSON)
    return cast("dict[str, Any]", json.loads(JSON.prefix(head, None) + body))


def signal(target: str, request_id: int | None = None, **fields: Any) -> tuple[Targeted, bytes]:
    """A `signal`, decoded and as text."""
    said = {"type": "signal", "room": ROOM, "payload": {"target_peer_id": target, "data": 1}, **fields}
    frame = json.dumps(said if request_id is None else {**said, "id": request_id}).encode()
    return cast("Targeted", DECODE_PEER(frame)), frame


def negotiate(kind: str, target: str, negotiation: int | None = None, **fields: Any) -> tuple[Targeted, bytes]:
    """An `offer`, `answer` or `ice-candidate`, decoded and as text."""
    content = {"offer": {"sdp": "v=0"}, "answer": {"sdp": "v=0"}, "ice-candidate": None}[kind]
    payload = {"target_peer_id": target, kind.removeprefix("ice-"): content}
    said = {"type": kind, "room": ROOM, "payload": payload, **fields}
    frame = json.dumps(said if negotiation is None else {**said, "negotiation": negotiation}).encode()
    return cast("Targeted", DECODE_PEER(frame)), frame


def message(content: object, request_id: int | None = None, **fields: Any) -> tuple[Message, bytes]:
    """A `message`, decoded and as text."""
    said = {"type": "message", "room": ROOM, "payload": {"content": content}, **fields}
    frame = json.dumps(said if request_id is None else {**said, "id": request_id}).encode()
    return cast("Message", DECODE_USER(frame)), frame


class World:
    """A room, the broker that orders it, and what each of its members was sent."""

    def __init__(
        self,
        capacity: int = 10,
        max_pending_acks: int = 100,
        max_pending_messages: int = 64,
        rules: RoomRules | None = None,
    ) -> None:
        self.room = Room(
            ROOM,
            capacity=capacity,
            max_pending_acks=max_pending_acks,
            max_pending_messages=max_pending_messages,
            rules=rules,
        )
        self.sent: dict[Incarnation, list[dict[str, Any]]] = {}
        self.welcomes: dict[Incarnation, Welcome] = {}
        self.done: list[Done] = []
        self.effects: list[Effect] = []
        self.events: list[Event] = []
        self.published: list[Publish] = []
        self._capacity = capacity
        self._broker = MemoryBroker()
        self._broker.listen(lambda _room, event: self.events.append(event))

    def ask_join(self, kind: Kind, name: str, *, presence: bool = False, reply: object = None) -> Incarnation:
        """Ask to join; the broker's answer waits in `events`."""
        incarnation = Incarnation(f"{kind}-{name}-{len(self.sent)}")
        self.sent[incarnation] = []
        member = Member(kind, PeerId(name), incarnation, NODE, {"name": name})
        self.room.enter(member, presence=presence, reply=reply)
        self._broker.join(ROOM, member, self._capacity)
        return incarnation

    def ask_leave(
        self,
        incarnation: Incarnation,
        request_id: RequestId | None = None,
        reason: LeaveReason = LeaveReason.LEFT,
        *,
        replied: bool = True,
    ) -> bool:
        """Ask to leave; the broker's answer waits in `events`."""
        asked = self.room.leave(incarnation, request_id, replied=replied, reply=f"leave of {incarnation}")
        if asked:
            self._broker.leave(ROOM, incarnation, reason)
        return asked

    def moderate(self, by: Incarnation, asked: OrderedRequest, reply: object = None) -> None:
        """Make a request of a member; the broker's answer waits in `events`."""
        self.apply(self.room.moderation.request(by, asked, reply))

    def hear_one(self) -> None:
        """Apply the oldest event of the broker."""
        self.apply(self.room.heard(self.events.pop(0)))

    def hear(self, *events: Event) -> None:
        """Apply all events of the broker, and others."""
        while self.events:
            self.hear_one()
        for event in events:
            self.apply(self.room.heard(event))

    def apply(self, effects: Iterable[Effect]) -> None:
        """Record effects, and do what they ask of the broker."""
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Send():
                    for incarnation in effect.to:
                        self.sent[incarnation].append(decoded(effect.message))
                case Relay() | Deliver():
                    self.sent[effect.to].append(decoded(effect.message))
                case Reject():
                    self.sent.setdefault(effect.to, []).append(decoded(Outgoing(error_message(effect.error))))
                case Welcome():
                    self.welcomes[effect.to] = effect
                    self.sent[effect.to].append({"type": "welcome"})
                case Publish():
                    self.published.append(effect)
                case Done(reply=reply) if reply is not None:
                    self.done.append(effect)
                case Moderate():
                    request(self._broker, ROOM, effect)

    def join(self, kind: Kind, name: str, **how: Any) -> Incarnation:
        """Join, and apply the answer."""
        incarnation = self.ask_join(kind, name, **how)
        self.hear()
        return incarnation

    def peer(self, name: str, **how: Any) -> Incarnation:
        """Join as a peer."""
        return self.join(Kind.PEER, name, **how)

    def user(self, name: str, **how: Any) -> Incarnation:
        """Join as a user."""
        return self.join(Kind.USER, name, **how)

    def leave(self, incarnation: Incarnation, **how: Any) -> None:
        """Leave, and apply the answer."""
        self.ask_leave(incarnation, **how)
        self.hear()

    def remote(self, kind: Kind, name: str, node: NodeId = OTHER) -> Incarnation:
        """A member joins on another node."""
        incarnation = Incarnation(f"{node}-{name}")
        self._broker.join(ROOM, Member(kind, PeerId(name), incarnation, node, {}), self._capacity)
        self.hear()
        return incarnation

    def remote_leaves(self, incarnation: Incarnation) -> None:
        """A member of another node leaves."""
        self._broker.leave(ROOM, incarnation, LeaveReason.NODE_LOST)
        self.hear()

    def relay(self, sender: Incarnation, request: tuple[Targeted, bytes]) -> Relay | Publish | Send | None:
        """Send a peer's message."""
        effect = self.room.delivery.relay(sender, *request)
        self.apply([] if effect is None else [effect])
        return effect

    def broadcast(self, sender: Incarnation, request: tuple[Message, bytes]) -> None:
        """Send a user's message."""
        self.apply(self.room.delivery.broadcast(sender, *request))

    def types(self, incarnation: Incarnation) -> list[str]:
        """The types of the messages that a member was sent."""
        return [one["type"] for one in self.sent[incarnation]]

    def clear(self) -> None:
        """Forget what was sent and done."""
        for messages in self.sent.values():
            messages.clear()
        self.effects.clear()
        self.done.clear()
        self.published.clear()


class SlowBroker(MemoryBroker):
    """A broker whose events wait until `arrive`, as those of a broker over a network do."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[RoomId, Event]] = []

    def listen(self, listener: Listener) -> None:
        self._listen = listener
        super().listen(lambda room, event: self._waiting.append((room, event)))

    def arrive(self) -> None:
        """Pass the waiting events on."""
        events, self._waiting = self._waiting, []
        for room, event in events:
            self._listen(room, event)


class OtherNodes(MemoryBroker):
    """A broker whose other nodes are played by the test: it records what is sent to them."""

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self.full = full
        self.sent: list[tuple[Incarnation, Incarnation, bytes, int]] = []
        self.receipts: list[Receipt] = []
        self.claims: list[Member] = []
        self.cutovers: list[MemberMoved] = []
        self.released: list[Incarnation] = []

    def listen(self, listener: Listener) -> None:
        self._listen = listener
        super().listen(listener)

    def relay(
        self,
        room: RoomId,
        sender: Member,
        target: Member,
        frame: bytes,
        delivery_id: int,
        step: NegotiationStep | None = None,
    ) -> None:
        if self.full:
            raise Unavailable("full")
        self.sent.append((sender.incarnation, target.incarnation, frame, delivery_id))

    def broadcast(
        self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, delivery_id: int
    ) -> None:
        for target in targets:
            self.relay(room, sender, target, frame, delivery_id)

    def send_receipt(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        self.receipts.append(receipt)

    def claim(self, room: RoomId, member: Member) -> None:
        self.claims.append(member)

    def ack_cutover(self, room: RoomId, move: MemberMoved) -> None:
        self.cutovers.append(move)

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        self.released.append(incarnation)

    def remote(self, kind: Kind, name: str) -> Incarnation:
        """A member joins on another node."""
        incarnation = Incarnation(f"other-{name}")
        self.join(ROOM, Member(kind, PeerId(name), incarnation, OTHER, {}), 10)
        return incarnation

    def say(self, event: Event) -> Awaitable[None] | None:
        """Let the room hear an event."""
        return self._listen(ROOM, event)

    def move(self, incarnation: Incarnation, node: NodeId, epoch: int = 1, *others: NodeId) -> MemberMoved:
        """Let the room hear of a move."""
        event = MemberMoved(20, incarnation, OTHER if node == NODE else NODE, node, epoch, others)
        self.say(event)
        return event
