from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol.codec import Limits, peer_decoder, user_decoder
from mcp_actors.protocol.errors import (
    BadMessage,
    ErrorCode,
    NotInRoom,
    PeerIdTaken,
    PeerNotFound,
    RoomFull,
    StaleNegotiation,
    Unavailable,
)
from mcp_actors.protocol.events import (
    Announced,
    JoinRefused,
    Kind,
    LeaveReason,
    Member,
    MemberJoined,
    MemberLeft,
    MemberMarked,
    MemberMoved,
    Missed,
    Receipt,
    Signalled,
    Step,
    Switched,
    Vacated,
)
from mcp_actors.protocol.handover import MemberState, Offers, Pending
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RequestId, RoomId
from mcp_actors.room.effects import Publish, Relay
from mcp_actors.room.room import Departure, Entry, Greeting, Room, ack, peer_not_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.protocol.errors import SignalingError
    from mcp_actors.protocol.events import Event
    from mcp_actors.protocol.messages import Message, Targeted
    from mcp_actors.room.effects import Send

ROOM = RoomId("room123")
NODE = NodeId("node")
LIMITS = Limits(message_bytes=10_000, metadata_bytes=1000, id_length=128)
DECODE_PEER = peer_decoder(LIMITS).decode
DECODE_USER = user_decoder(LIMITS).decode


class World:
    """A room, the broker that orders it, and what each of its members was sent."""

    def __init__(self, capacity: int = 10, max_unanswered: int = 100) -> None:
        self.room = Room(ROOM, capacity, max_unanswered)
        self.sent: dict[Incarnation, list[dict[str, Any]]] = {}
        self.refusals: dict[Incarnation, SignalingError] = {}
        self.events: list[Event] = []
        self.published: list[Publish] = []
        self._capacity = capacity
        self._broker = MemoryBroker()
        self._broker.listen(lambda _room, event: self.events.append(event))

    def ask_join(
        self,
        kind: Kind,
        name: str,
        request_id: RequestId | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        presence: bool = False,
    ) -> Incarnation:
        """Ask to join; nobody hears of it yet."""
        incarnation = Incarnation(f"{kind}-{name}-{len(self.sent)}")
        self.sent[incarnation] = []
        member = Member(kind, PeerId(name), incarnation, NODE, metadata or {})
        self.room.enter(Entry(member, Greeting(request_id, ({"urls": "stun:stun.test"},)), presence))
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
        """Ask to leave; nobody hears of it yet."""
        asked = self.room.leave(incarnation, Departure(request_id, replied))
        if asked:
            self._broker.leave(ROOM, incarnation, reason)
        return asked

    def hear_one(self) -> None:
        """Apply the oldest thing the broker said."""
        event = self.events.pop(0)
        if isinstance(event, JoinRefused):
            error = self.room.refused(event)
            assert error is not None
            self.refusals[event.incarnation] = error
        elif isinstance(event, Vacated):
            self.room.vacated()
        else:
            assert isinstance(event, MemberJoined | MemberLeft)
            self.deliver(self.room.heard(event))

    def hear(self) -> None:
        """Apply all the broker said."""
        while self.events:
            self.hear_one()

    def deliver(self, effects: Sequence[Send | Publish]) -> None:
        for send in effects:
            if isinstance(send, Publish):
                self.published.append(send)
                continue
            for incarnation in send.to:
                self.sent[incarnation].append(json.loads(send.frame))

    def join(self, kind: Kind, name: str, **how: Any) -> Incarnation:
        incarnation = self.ask_join(kind, name, **how)
        self.hear()
        return incarnation

    def peer(self, name: str, **how: Any) -> Incarnation:
        return self.join(Kind.PEER, name, **how)

    def user(self, name: str, **how: Any) -> Incarnation:
        return self.join(Kind.USER, name, **how)

    def leave(self, incarnation: Incarnation, **how: Any) -> None:
        self.ask_leave(incarnation, **how)
        self.hear()

    def elsewhere(self, kind: Kind, name: str, node: str = "other") -> Incarnation:
        """Somebody joins on another node."""
        incarnation = Incarnation(f"{node}-{name}")
        self._broker.join(ROOM, Member(kind, PeerId(name), incarnation, NodeId(node), {}), self._capacity)
        self.hear()
        return incarnation

    def gone(self, incarnation: Incarnation) -> None:
        """Somebody of another node leaves."""
        self._broker.leave(ROOM, incarnation, LeaveReason.NODE_LOST)
        self.hear()

    def forget(self) -> None:
        """Empty everybody's record of what was sent."""
        for messages in self.sent.values():
            messages.clear()


def _signal(target: str, request_id: int | None = None) -> tuple[Targeted, bytes]:
    said = {"type": "signal", "room": ROOM, "payload": {"target_peer_id": target, "data": 1, "x": [1]}}
    frame = json.dumps(said if request_id is None else {**said, "id": request_id}).encode()
    return cast("Targeted", DECODE_PEER(frame)), frame


def _message(content: object, request_id: int | None = None) -> tuple[Message, bytes]:
    said = {"type": "message", "room": ROOM, "payload": {"content": content}}
    frame = json.dumps(said if request_id is None else {**said, "id": request_id}).encode()
    return cast("Message", DECODE_USER(frame)), frame


def _relay(world: World, sender: Incarnation, target: str, request_id: int | None = None) -> Relay:
    effect = world.room.relay(sender, *_signal(target, request_id))
    assert isinstance(effect, Relay)
    return effect


def _entry(name: str, order: int, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"peer_id": name, "metadata": metadata or {}, "order": order}


# -------------------------------------------------------------------------------------------------------------- joining


def test_nobody_is_in_the_room_before_the_broker_says_so() -> None:
    world = World()
    ana = world.ask_join(Kind.PEER, "ana")
    assert ana not in world.room.roster
    assert world.sent[ana] == []
    world.hear()
    assert ana in world.room.roster


def test_the_first_peer_is_told_that_it_is_alone() -> None:
    world = World()
    ana = world.peer("ana", request_id=7, metadata={"name": "Ana"})
    assert world.sent[ana] == [
        {
            "type": "joined",
            "room": "room123",
            "id": 7,
            "payload": {
                "peer_id": "ana",
                "order": 1,
                "peers": [_entry("ana", 1, {"name": "Ana"})],
                "ice_servers": [{"urls": "stun:stun.test"}],
            },
        }
    ]


def test_a_peer_is_told_of_every_peer_in_join_order_itself_included() -> None:
    world = World()
    for name in ("cem", "ana"):
        world.peer(name, metadata={"n": name})
    world.user("uma")
    ben = world.peer("ben")
    payload = world.sent[ben][0]["payload"]
    assert payload["peers"] == [_entry("cem", 1, {"n": "cem"}), _entry("ana", 2, {"n": "ana"}), _entry("ben", 3)]
    assert payload["order"] == 3


def test_a_user_is_told_of_every_user_once_and_of_every_peer() -> None:
    world = World()
    world.user("uma")
    world.peer("ana", metadata={"a": 1})
    world.user("uma")
    vic = world.user("vic", request_id="x")
    assert world.sent[vic] == [
        {
            "type": "room-joined",
            "room": "room123",
            "id": "x",
            "payload": {"users": [{"user_id": "uma"}, {"user_id": "vic"}], "peers": [_entry("ana", 1, {"a": 1})]},
        }
    ]


@pytest.mark.parametrize("kind", Kind)
def test_a_reply_to_a_join_without_an_id_has_none(kind: Kind) -> None:
    world = World()
    assert "id" not in world.sent[world.join(kind, "ana")][0]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("request_id", [0, ""])
def test_an_id_that_is_falsy_is_echoed_all_the_same(kind: Kind, request_id: RequestId) -> None:
    world = World()
    member = world.join(kind, "ana", request_id=request_id)
    world.leave(member, request_id=request_id)
    assert [message["id"] for message in world.sent[member]] == [request_id, request_id]


def test_a_new_peer_is_announced_to_all_others_once() -> None:
    world = World()
    others = [world.peer("ana"), world.user("uma"), world.user("uma")]
    world.forget()
    ben = world.peer("ben", metadata={"b": 1})
    for other in others:
        assert world.sent[other] == [{"type": "peer-joined", "room": "room123", "payload": _entry("ben", 2, {"b": 1})}]
    assert [message["type"] for message in world.sent[ben]] == ["joined"]


def test_a_new_user_is_announced_to_the_other_users_alone() -> None:
    world = World()
    ana, uma, uma_too = world.peer("ana"), world.user("uma"), world.user("uma")
    world.forget()
    vic = world.user("vic")
    announcement = {"type": "user-joined", "room": "room123", "payload": {"user_id": "vic"}}
    assert world.sent[uma] == world.sent[uma_too] == [announcement]
    assert world.sent[ana] == []
    assert [message["type"] for message in world.sent[vic]] == ["room-joined"]


def test_only_the_first_connection_of_a_user_is_announced() -> None:
    world = World()
    uma, vic = world.user("uma"), world.user("vic")
    world.forget()
    again = world.user("vic")
    assert world.sent[uma] == world.sent[vic] == []
    assert [message["type"] for message in world.sent[again]] == ["room-joined"]


def test_the_reply_to_a_join_comes_before_anything_else() -> None:
    world = World()
    world.peer("ana")
    ben = world.ask_join(Kind.PEER, "ben")
    world.ask_join(Kind.PEER, "cem")
    world.hear()
    assert [message["type"] for message in world.sent[ben]] == ["joined", "peer-joined"]


def test_members_of_other_nodes_are_announced_and_welcomed_by_nobody_here() -> None:
    world = World()
    ana = world.peer("ana")
    world.forget()
    elsewhere = Member(Kind.PEER, PeerId("ben"), Incarnation("far.1"), NodeId("far"), {}, 2)
    sends = world.room.heard(MemberJoined(2, elsewhere))
    assert [list(send.to) for send in sends] == [[ana]]


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_peer_id_in_use_is_refused() -> None:
    world = World()
    ana = world.peer("ana")
    world.forget()
    second = world.peer("ana", request_id=7)
    error = world.refusals[second]
    assert isinstance(error, PeerIdTaken)
    assert str(error) == "Peer id 'ana' is in use in this room; join under another one."
    assert (error.room, error.id) == ("room123", 7)
    assert world.sent[ana] == world.sent[second] == []
    assert second not in world.room.roster


@pytest.mark.parametrize(("kind", "word"), [(Kind.PEER, "peers"), (Kind.USER, "users")])
def test_a_full_room_is_refused_per_kind(kind: Kind, word: str) -> None:
    world = World(capacity=2)
    world.join(kind, "a")
    world.join(kind, "b")
    third = world.join(kind, "c", request_id="x")
    error = world.refusals[third]
    assert isinstance(error, RoomFull)
    assert error.details == {"limit": 2}
    assert str(error) == f"The room is full: it holds 2 {word}."
    assert (error.room, error.id) == ("room123", "x")
    world.join(Kind.USER if kind is Kind.PEER else Kind.PEER, "d")
    assert len(world.refusals) == 1


def test_any_other_refusal_may_be_tried_again() -> None:
    world = World()
    ana = world.ask_join(Kind.PEER, "ana")
    error = world.room.refused(JoinRefused(ana, ErrorCode.UNAVAILABLE))
    assert isinstance(error, Unavailable)
    assert error.retryable


def test_a_long_hostile_peer_id_does_not_fill_the_refusal() -> None:
    world = World()
    name = "\u0301" * 128
    world.peer(name)
    assert len(str(world.refusals[world.peer(name)])) < 500


def test_a_refused_join_leaves_nothing_behind() -> None:
    world = World()
    ana = world.peer("ana")
    world.peer("ana")
    world.leave(ana)
    assert world.room.empty


def test_a_refused_join_that_was_being_left_leaves_nothing_behind() -> None:
    world = World()
    ana = world.peer("ana")
    second = world.ask_join(Kind.PEER, "ana")
    assert world.ask_leave(second)
    world.hear()
    world.leave(ana)
    assert world.room.empty
    assert not world.ask_leave(second)
    assert not world.room._leaving


# -------------------------------------------------------------------------------------------------------------- leaving


def test_a_peer_that_leaves_is_answered_and_the_others_are_told() -> None:
    world = World()
    ana, ben, uma = world.peer("ana"), world.peer("ben"), world.user("uma")
    world.forget()
    world.leave(ben, request_id=7)
    assert world.sent[ben] == [{"type": "left", "room": "room123", "id": 7, "payload": {"peer_id": "ben"}}]
    news = {"type": "peer-left", "room": "room123", "payload": {"peer_id": "ben", "reason": "left"}}
    assert world.sent[ana] == world.sent[uma] == [news]


def test_a_user_that_leaves_is_answered_and_the_other_users_are_told() -> None:
    world = World()
    ana, uma, vic = world.peer("ana"), world.user("uma"), world.user("vic")
    world.forget()
    world.leave(uma, request_id="x")
    assert world.sent[uma] == [{"type": "room-left", "room": "room123", "id": "x", "payload": {"user_id": "uma"}}]
    news = {"type": "user-left", "room": "room123", "payload": {"user_id": "uma", "reason": "left"}}
    assert world.sent[vic] == [news]
    assert world.sent[ana] == []


@pytest.mark.parametrize("reason", LeaveReason)
def test_the_reason_of_a_leave_is_told(reason: LeaveReason) -> None:
    world = World()
    uma, ben, vic = world.user("uma"), world.peer("ben"), world.user("vic")
    world.forget()
    world.leave(ben, reason=reason, replied=False)
    world.leave(vic, reason=reason, replied=False)
    assert [message["payload"]["reason"] for message in world.sent[uma]] == [reason, reason]


@pytest.mark.parametrize("kind", Kind)
def test_a_member_that_is_gone_is_not_answered(kind: Kind) -> None:
    world = World()
    gone = world.join(kind, "gone")
    world.forget()
    world.leave(gone, reason=LeaveReason.DISCONNECTED, replied=False)
    assert world.sent[gone] == []


def test_only_the_last_connection_of_a_user_is_missed() -> None:
    world = World()
    uma, first, second = world.user("uma"), world.user("vic"), world.user("vic")
    world.forget()
    world.leave(first)
    assert world.sent[uma] == world.sent[second] == []
    world.leave(second, reason=LeaveReason.TIMEOUT)
    assert [message["type"] for message in world.sent[uma]] == ["user-left"]
    assert world.sent[uma][0]["payload"]["reason"] == "timeout"


def test_a_leave_without_an_id_is_answered_without_one() -> None:
    world = World()
    ana = world.peer("ana")
    world.leave(ana)
    assert world.sent[ana][-1] == {"type": "left", "room": "room123", "payload": {"peer_id": "ana"}}


def test_leaving_twice_is_leaving_once() -> None:
    world = World()
    ana = world.peer("ana")
    assert world.ask_leave(ana, request_id=1)
    assert not world.ask_leave(ana, request_id=2)
    world.hear()
    assert not world.ask_leave(ana)
    assert [message.get("id") for message in world.sent[ana] if message["type"] == "left"] == [1]


def test_a_stranger_has_nothing_to_leave() -> None:
    assert not World().ask_leave(Incarnation("stranger"))


def test_who_leaves_while_entering_is_welcomed_and_dismissed() -> None:
    world = World()
    uma = world.user("uma")
    world.forget()
    ana = world.ask_join(Kind.PEER, "ana")
    assert world.ask_leave(ana)
    world.hear()
    assert [message["type"] for message in world.sent[ana]] == ["joined", "left"]
    assert [message["type"] for message in world.sent[uma]] == ["peer-joined", "peer-left"]
    assert ana not in world.room.roster


def test_a_late_leave_of_an_old_incarnation_does_not_remove_the_new_one() -> None:
    world = World()
    old = world.peer("ana")
    ben = world.peer("ben")
    world.leave(old)
    new = world.peer("ana")
    world.forget()
    assert world.room.heard(MemberLeft(world.room.version + 1, old, LeaveReason.DISCONNECTED)) == []
    assert new in world.room.roster
    assert _relay(world, ben, "ana").to == new


# -------------------------------------------------------------------------------------------------- versions, emptiness


def test_an_event_heard_twice_changes_nothing() -> None:
    world = World()
    ana = world.ask_join(Kind.PEER, "ana")
    event = cast("MemberJoined", world.events[0])
    world.hear()
    assert world.room.heard(event) == []
    world.peer("ben")
    assert world.room.heard(event) == []
    world.leave(ana)
    assert world.room.heard(MemberLeft(9, ana, LeaveReason.LEFT)) == []
    assert ana not in world.room.roster


def test_the_version_is_that_of_the_last_event() -> None:
    world = World()
    assert world.room.version == 0
    ana = world.peer("ana")
    world.peer("ben")
    assert world.room.version == 2
    world.leave(ana)
    assert world.room.version == 3


def test_a_room_is_empty_when_nobody_is_here_or_on_the_way_in() -> None:
    world = World()
    empty = [world.room.empty]
    ana = world.ask_join(Kind.PEER, "ana")
    empty.append(world.room.empty)
    world.hear()
    empty.append(world.room.empty)
    world.ask_leave(ana)
    empty.append(world.room.empty)
    world.hear()
    empty.append(world.room.empty)
    assert empty == [True, False, False, False, True]


# ------------------------------------------------------------------------------------------------------------- relaying


def test_a_signal_goes_to_its_target_alone_as_it_was_with_the_sender() -> None:
    world = World()
    ana, ben, _ = world.peer("ana"), world.peer("ben"), world.peer("cem")
    message, frame = _signal("ben", 7)
    relay = world.room.relay(ana, message, frame)
    assert relay is not None
    assert (relay.sender, relay.to, relay.message) == (ana, ben, message)
    assert relay.frame == b'{"sender":"ana",' + frame[1:]


def test_a_peer_cannot_relay_before_joining() -> None:
    world = World()
    world.peer("ben")
    ana = world.ask_join(Kind.PEER, "ana")
    for sender in (ana, Incarnation("stranger")):
        with pytest.raises(NotInRoom):
            _relay(world, sender, "ben")


def test_a_peer_cannot_relay_after_leaving() -> None:
    world = World()
    ana = world.peer("ana")
    world.peer("ben")
    world.ask_leave(ana)
    with pytest.raises(NotInRoom):
        _relay(world, ana, "ben")
    world.hear()
    with pytest.raises(NotInRoom):
        _relay(world, ana, "ben")


def test_a_target_nobody_knows_is_not_found() -> None:
    world = World()
    ana = world.peer("ana")
    world.user("uma")
    world.ask_join(Kind.PEER, "cem")
    for target in ("nobody", "", "uma", "cem", "ANA", "x" * 5000):
        with pytest.raises(PeerNotFound) as caught:
            _relay(world, ana, target)
        assert len(str(caught.value)) < 100


def test_a_target_that_is_leaving_is_not_found() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    world.ask_leave(ben)
    with pytest.raises(PeerNotFound):
        _relay(world, ana, "ben")
    world.hear()
    with pytest.raises(PeerNotFound):
        _relay(world, ana, "ben")


def test_a_peer_does_not_talk_to_itself() -> None:
    world = World()
    ana = world.peer("ana")
    with pytest.raises(BadMessage) as caught:
        _relay(world, ana, "ana")
    assert caught.value.details == {"field": "payload.target_peer_id"}


def test_the_target_of_a_signal_names_it_in_the_error() -> None:
    assert str(peer_not_found(_signal("peer456")[0])) == "No peer 'peer456' in this room."


def test_an_ack_carries_room_id_and_status() -> None:
    said = json.loads(ack(_signal("ben", 0)[0]))
    assert said == {"type": "ack", "room": "room123", "id": 0, "payload": {"status": "delivered"}}


# --------------------------------------------------------------------------------------------------------- broadcasting


def test_a_message_goes_to_every_other_connection_of_every_user() -> None:
    world = World()
    ana, uma, uma_too, vic = world.peer("ana"), world.user("uma"), world.user("uma"), world.user("vic")
    world.forget()
    message, frame = _message({"hello": 1})
    world.deliver(world.room.broadcast(uma, message, frame))
    assert world.sent[uma_too] == world.sent[vic] == [{"sender": "uma", **json.loads(frame)}]
    assert world.sent[ana] == world.sent[uma] == []


def test_a_message_is_encoded_once_for_all() -> None:
    world = World()
    senders = [world.user(name) for name in "abc"]
    assert len(world.room.broadcast(senders[0], *_message(1))) == 1


@pytest.mark.parametrize("alone", [True, False])
def test_a_message_with_an_id_is_acknowledged_to_its_sender_alone(alone: bool) -> None:
    world = World()
    uma = world.user("uma")
    if not alone:
        world.user("vic")
    world.forget()
    world.deliver(world.room.broadcast(uma, *_message("x", 0)))
    acknowledgement = {"type": "ack", "room": "room123", "id": 0, "payload": {"status": "delivered"}}
    assert world.sent[uma] == [acknowledgement]


def test_a_user_cannot_speak_before_joining_or_after_leaving() -> None:
    world = World()
    uma = world.user("uma")
    vic = world.ask_join(Kind.USER, "vic")
    with pytest.raises(NotInRoom):
        world.room.broadcast(vic, *_message("x"))
    world.ask_leave(uma)
    with pytest.raises(NotInRoom):
        world.room.broadcast(uma, *_message("x"))
    world.hear()
    with pytest.raises(NotInRoom):
        world.room.broadcast(uma, *_message("x"))


# ------------------------------------------------------------------------------------------------------------ any order

STEPS = st.sampled_from(["peer", "peer", "user", "leave", "leave", "vanish", "hear", "hear", "hear"])


class Replay:
    """What a client that believes what it is told takes for the room's roster."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.peers: list[str] = []
        self.users: list[str] = []
        for message in messages:
            self._apply(message["type"], message["payload"])

    def _apply(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "joined" | "room-joined":
                self.peers = [peer["peer_id"] for peer in payload["peers"]]
                self.users = [user["user_id"] for user in payload.get("users", [])]
            case "peer-joined":
                assert payload["peer_id"] not in self.peers
                self.peers.append(payload["peer_id"])
            case "peer-left":
                self.peers.remove(payload["peer_id"])
            case "user-joined":
                assert payload["user_id"] not in self.users
                self.users.append(payload["user_id"])
            case "user-left":
                self.users.remove(payload["user_id"])


@given(st.data())
def test_whatever_the_order_what_members_are_told_adds_up_to_the_roster(data: st.DataObject) -> None:
    world = World(capacity=4)
    asked: list[Incarnation] = []
    for step in data.draw(st.lists(STEPS, max_size=40)):
        match step:
            case "peer" | "user":
                name = data.draw(st.sampled_from(["a", "b", "c", "d", "e"]))
                asked.append(world.ask_join(Kind(step), name, request_id=1))
            case "leave" | "vanish" if asked:
                world.ask_leave(data.draw(st.sampled_from(asked)), request_id=2, replied=step == "leave")
            case "hear" if world.events:
                world.hear_one()
        _check(world)
    world.hear()
    _check(world)
    for member in list(world.room.roster.members()):
        world.ask_leave(member.incarnation)
    world.hear()
    assert world.room.empty


def _check(world: World) -> None:
    roster = world.room.roster
    for member in roster.members():
        messages = world.sent[member.incarnation]
        assert messages[0]["type"] in {"joined", "room-joined"}
        assert messages[0].get("id") == 1
        replay = Replay(messages)
        assert replay.peers == [peer.id for peer in roster.peers()]
        if member.kind is Kind.USER:
            assert sorted(replay.users) == sorted(roster.users())
    orders = [peer.order for peer in roster.peers()]
    assert orders == sorted(set(orders))


# ---------------------------------------------------------------------------------------------------------- other nodes


def _away(world: World, sender: Incarnation, target: str, request_id: int | None = None) -> Publish:
    effect = world.room.relay(sender, *_signal(target, request_id))
    assert isinstance(effect, Publish)
    return effect


def _said(world: World, sender: Incarnation, request_id: int | None = None) -> list[Publish]:
    world.published.clear()
    world.deliver(world.room.broadcast(sender, *_message("x", request_id)))
    return world.published


def _receipt(publish: Publish, *, delivered: bool = True, of: int = 0) -> Receipt:
    return Receipt(publish.sender, publish.to[of].incarnation, publish.ticket, delivered)


def test_those_on_other_nodes_are_in_the_roster_and_are_sent_nothing_from_here() -> None:
    world = World()
    ben = world.elsewhere(Kind.PEER, "ben")
    ana = world.peer("ana")
    assert [peer["peer_id"] for peer in world.sent[ana][0]["payload"]["peers"]] == ["ben", "ana"]
    world.gone(ben)
    assert world.sent[ana][-1]["payload"] == {"peer_id": "ben", "reason": "node-lost"}
    assert set(world.sent) == {ana}


def test_a_room_is_empty_when_only_those_on_other_nodes_are_left() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    assert not world.room.empty
    world.leave(ana)
    assert world.room.empty


def test_a_room_that_is_vacated_forgets_those_on_other_nodes() -> None:
    world = World()
    world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    world.room.vacated()
    assert len(world.room.roster) == 0


def test_a_signal_for_a_peer_on_another_node_is_published_with_the_senders_stamp() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    publish = _away(world, ana, "ben")
    assert [member.incarnation for member in publish.to] == [ben]
    assert json.loads(publish.frame)["sender"] == "ana"
    assert publish.ticket == 0


def test_a_signal_with_an_id_is_answered_when_its_receipt_comes_and_once() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    publish = _away(world, ana, "ben", 7)
    world.forget()
    world.deliver(world.room.receipt(_receipt(publish)))
    world.deliver(world.room.receipt(_receipt(publish)))
    assert world.sent[ana] == [{"type": "ack", "room": ROOM, "id": 7, "payload": {"status": "delivered"}}]


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_signal_that_another_node_could_not_deliver_is_answered(request_id: int | None) -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    publish = _away(world, ana, "ben", request_id)
    world.forget()
    world.deliver(world.room.receipt(_receipt(publish, delivered=False)))
    (error,) = world.sent[ana]
    assert (error["type"], error.get("id"), error["payload"]["code"]) == ("error", request_id, "peer-not-found")


def test_a_signal_with_an_id_is_answered_when_its_target_leaves_before_the_receipt() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _away(world, ana, "ben", 7)
    world.forget()
    world.gone(ben)
    assert [message["type"] for message in world.sent[ana]] == ["peer-left", "error"]
    assert world.sent[ana][1]["id"] == 7


def test_a_receipt_for_a_sender_that_has_left_is_for_nobody() -> None:
    world = World()
    ana = world.peer("ana")
    world.peer("amy")
    world.elsewhere(Kind.PEER, "ben")
    asked, unasked = _away(world, ana, "ben", 7), _away(world, ana, "ben")
    world.leave(ana)
    assert world.room.receipt(_receipt(asked)) == []
    assert world.room.receipt(_receipt(unasked, delivered=False)) == []


def test_messages_that_wait_for_receipts_are_bounded() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    waiting = [_away(world, ana, "ben", number) for number in range(100)]
    with pytest.raises(Unavailable, match="100 messages"):
        world.room.relay(ana, *_signal("ben", 100))
    _away(world, ana, "ben")  # without an id nothing waits
    world.room.forget_receipts(ana, waiting[0].ticket)
    _away(world, ana, "ben", 100)


def test_a_message_is_published_once_to_each_node_with_users() -> None:
    world = World()
    uma, vic = world.user("uma"), world.user("vic")
    world.elsewhere(Kind.PEER, "ben", "peers-only")
    one = world.elsewhere(Kind.USER, "wim", "b")
    world.elsewhere(Kind.USER, "xia", "b")
    two = world.elsewhere(Kind.USER, "yan", "c")
    world.forget()
    (publish,) = _said(world, uma)
    assert [member.incarnation for member in publish.to] == [one, two]
    assert [message["type"] for message in world.sent[vic]] == ["message"]


def test_a_message_with_an_id_is_answered_when_all_nodes_have_it_or_are_gone() -> None:
    world = World()
    uma = world.user("uma")
    world.elsewhere(Kind.USER, "wim", "b")
    yan = world.elsewhere(Kind.USER, "yan", "c")
    (publish,) = _said(world, uma, 3)
    world.forget()
    world.deliver(world.room.receipt(_receipt(publish)))
    assert world.sent[uma] == []
    world.gone(yan)
    assert [message["type"] for message in world.sent[uma]] == ["user-left", "ack"]


def test_a_message_of_another_node_is_for_the_users_here_alone() -> None:
    world = World()
    world.peer("ana")
    uma, vic = world.user("uma"), world.user("vic")
    there = world.elsewhere(Kind.USER, "wim")
    assert list(world.room.announced(Announced(there, uma, b"{}", 0)).to) == [uma, vic]


def test_a_frame_of_another_node_is_for_who_is_here_and_not_leaving() -> None:
    world = World()
    ana = world.peer("ana")
    assert world.room.signalled(ana)
    assert not world.room.signalled(Incarnation("nobody"))
    world.ask_leave(ana)
    assert not world.room.signalled(ana)


def test_a_refusal_nobody_waits_for_is_no_error() -> None:
    assert World().room.refused(JoinRefused(Incarnation("nobody"), ErrorCode.UNAVAILABLE)) is None


# --------------------------------------------------------------------------------------------------------- negotiation


def _negotiate(kind: str, target: str, negotiation: int | None = None, **fields: Any) -> tuple[Targeted, bytes]:
    content = {"offer": {"sdp": "v=0"}, "answer": {"sdp": "v=0"}, "ice-candidate": None}[kind]
    payload = {"target_peer_id": target, kind.removeprefix("ice-"): content}
    said = {"type": kind, "room": ROOM, "payload": payload, **fields}
    frame = json.dumps(said if negotiation is None else {**said, "negotiation": negotiation}).encode()
    return cast("Targeted", DECODE_PEER(frame)), frame


def _offer(world: World, sender: Incarnation, target: str) -> int:
    """Offer, and return the number the target sees."""
    effect = world.room.relay(sender, *_negotiate("offer", target))
    assert effect is not None
    number = json.loads(effect.frame)["negotiation"]
    assert isinstance(number, int)
    return number


def _stale(world: World, sender: Incarnation, kind: str, target: str, negotiation: int) -> StaleNegotiation:
    with pytest.raises(StaleNegotiation) as caught:
        world.room.relay(sender, *_negotiate(kind, target, negotiation))
    return caught.value


def test_an_offer_carries_its_number_beside_its_sender_and_its_own_text() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    for sender, target, number in ((ana, "ben", 1), (ben, "ana", 2), (ben, "ana", 3)):
        message, frame = _negotiate("offer", target)
        name = b"ana" if sender == ana else b"ben"
        effect = world.room.relay(sender, message, frame)
        assert effect is not None
        assert effect.frame == b'{"sender":"%b","negotiation":%d,' % (name, number) + frame[1:]


@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
@pytest.mark.parametrize("negotiation", [None, 1, 7])
def test_an_answer_or_a_candidate_is_relayed_to_the_letter_with_its_echo_or_without(
    kind: str, negotiation: int | None
) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    _offer(world, ana, "ben")
    message, frame = _negotiate(kind, "ana", negotiation)
    effect = world.room.relay(ben, message, frame)
    assert effect is not None
    assert effect.frame == b'{"sender":"ben",' + frame[1:]


@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
def test_what_belongs_to_an_overtaken_offer_is_refused_with_the_newest_number(kind: str) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    first, second = _offer(world, ana, "ben"), _offer(world, ana, "ben")
    error = _stale(world, ben, kind, "ana", first)
    assert error.details == {"negotiation": second}
    assert not error.retryable
    world.room.relay(ben, *_negotiate(kind, "ana", second))
    world.room.relay(ben, *_negotiate(kind, "ana"))


def test_a_candidate_of_the_offerers_own_overtaken_offer_is_refused() -> None:
    world = World()
    ana, _ben = world.peer("ana"), world.peer("ben")
    first, second = _offer(world, ana, "ben"), _offer(world, ana, "ben")
    _stale(world, ana, "ice-candidate", "ben", first)
    world.room.relay(ana, *_negotiate("ice-candidate", "ben", second))


def test_in_glare_the_offer_that_is_taken_is_answered_whichever_has_the_lower_number() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    impolite = _offer(world, ana, "ben")
    _offer(world, ben, "ana")
    world.room.relay(ben, *_negotiate("answer", "ana", impolite))
    world.room.relay(ben, *_negotiate("ice-candidate", "ana", impolite))
    world.room.relay(ana, *_negotiate("ice-candidate", "ben", impolite))


def test_the_ack_of_an_offer_tells_its_number_and_that_of_an_answer_none() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    for sender, kind, target, payload in (
        (ana, "offer", "ben", {"status": "delivered", "negotiation": 1}),
        (ben, "answer", "ana", {"status": "delivered"}),
    ):
        message, frame = _negotiate(kind, target, None if kind == "offer" else 1, id=7)
        relay = world.room.relay(sender, message, frame)
        assert isinstance(relay, Relay)
        assert json.loads(ack(message, step=relay.step))["payload"] == payload


def test_numbers_are_forgotten_with_either_of_the_pair() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.peer("ben")
    cem = world.peer("cem")
    assert [_offer(world, ana, "ben"), _offer(world, ana, "ben"), _offer(world, cem, "ana")] == [1, 2, 1]
    world.leave(ben)
    assert world.room._negotiations
    ben = world.peer("ben")
    assert [_offer(world, ana, "ben"), _offer(world, cem, "ana")] == [1, 2]
    world.leave(ana)
    assert world.room._negotiations is None


def test_a_room_without_offers_keeps_no_numbers() -> None:
    world = World()
    ana, _ben = world.peer("ana"), world.peer("ben")
    _relay(world, ana, "ben")
    world.room.relay(ana, *_negotiate("answer", "ben", 3))
    assert world.room._negotiations is None


def _far(world: World, sender: Incarnation, target: Incarnation, step: Step) -> int:
    return world.room.overtaken(Signalled(sender, target, b"{}", 0, step))


def test_an_offer_to_another_node_is_published_with_its_number_and_acknowledged_with_it() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    publish = world.room.relay(ana, *_negotiate("offer", "ben", id=7))
    assert isinstance(publish, Publish)
    assert publish.step is not None
    number = publish.step.number
    assert publish.step == Step("offer", json.loads(publish.frame)["negotiation"])
    world.forget()
    world.deliver(world.room.receipt(_receipt(publish)))
    assert world.sent[ana][0]["payload"] == {"status": "delivered", "negotiation": number}


def test_an_offer_of_another_node_is_known_from_its_arrival_on() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    assert _far(world, ben, ana, Step("offer", 4)) == 0
    world.room.relay(ana, *_negotiate("answer", "ben", 4))
    assert _offer(world, ana, "ben") > 4
    assert _far(world, ben, ana, Step("offer", 8)) == 0
    assert _stale(world, ana, "answer", "ben", 4).details == {"negotiation": 8}


@pytest.mark.parametrize("kind", ["answer", "ice-candidate"])
def test_what_comes_from_another_node_for_an_overtaken_offer_is_found_out_here(kind: Any) -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    assert _far(world, ben, ana, Step(kind, 1)) == 0
    first, second = _offer(world, ana, "ben"), _offer(world, ana, "ben")
    assert _far(world, ben, ana, Step(kind, first)) == second
    assert _far(world, ben, ana, Step(kind, second)) == 0
    assert _far(world, Incarnation("nobody"), ana, Step(kind, first)) == 0


@pytest.mark.parametrize("request_id", [None, 7])
def test_a_sender_is_told_of_what_another_node_found_overtaken(request_id: int | None) -> None:
    world = World()
    ana = world.peer("ana")
    ben = world.elsewhere(Kind.PEER, "ben")
    fields = {} if request_id is None else {"id": request_id}
    publish = world.room.relay(ana, *_negotiate("answer", "ben", 1, **fields))
    assert isinstance(publish, Publish)
    world.forget()
    receipt = Receipt(ana, ben, publish.ticket, delivered=False, overtaken=3)
    world.deliver(world.room.receipt(receipt))
    (error,) = world.sent[ana]
    assert (error.get("id"), error["payload"]["code"]) == (request_id, "stale-negotiation")
    assert error["payload"]["details"] == {"negotiation": 3}


def test_a_room_that_is_vacated_forgets_its_numbers() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    _offer(world, ana, "ben")
    world.room.vacated()
    assert world.room._negotiations is None


# --------------------------------------------------------------------------------------------------------------- moves

OTHER, THIRD = NodeId("other"), NodeId("third")
ALL = (NODE, OTHER, THIRD)


def _moved(incarnation: Incarnation, node: NodeId, *, old: NodeId = OTHER, moves: int = 1) -> MemberMoved:
    return MemberMoved(50, incarnation, old, node, moves, ALL)


def _move_here(world: World, incarnation: Incarnation, moves: int = 1) -> None:
    """The session of a member of another node goes on here."""
    world.room.claim(incarnation, moves)
    world.room.moved(_moved(incarnation, NODE, moves=moves))
    world.sent[incarnation] = []


def _move_away(world: World, incarnation: Incarnation, moves: int = 1) -> None:
    """The session of a member that is here goes on elsewhere."""
    world.room.moved(_moved(incarnation, OTHER, old=NODE, moves=moves))


def _pending(ticket: int, request_id: int, *awaited: Incarnation, target: str | None = "ana") -> Pending:
    return Pending(ticket, request_id, None if target is None else PeerId(target), list(awaited), None)


def test_a_member_that_was_claimed_can_speak_and_be_spoken_to_once_it_moved_and_nobody_is_told() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    world.forget()
    world.room.claim(ben, 1)
    with pytest.raises(NotInRoom):
        world.room.relay(ben, *_signal("ana"))
    world.room.moved(_moved(ben, NODE))
    relay = world.room.relay(ben, *_signal("ana"))
    assert isinstance(relay, Relay)
    assert json.loads(relay.frame)["sender"] == "ben"
    assert isinstance(world.room.relay(ana, *_signal("ben")), Relay)
    assert (world.room.version, world.sent[ana]) == (50, [])


def test_a_claim_is_not_granted_by_the_move_to_another_node() -> None:
    world = World()
    world.peer("ana")
    ben = world.elsewhere(Kind.PEER, "ben")
    world.room.claim(ben, 1)
    world.room.moved(_moved(ben, THIRD, moves=2))
    assert not world.room.is_here(ben)
    world.room.give_up_claim(ben)
    world.room.moved(_moved(ben, NODE, old=THIRD, moves=1))
    assert not world.room.is_here(ben)


def test_a_room_is_not_empty_while_a_claim_is_under_way() -> None:
    room = Room(ROOM, 10, 100)
    room.claim(Incarnation("ben"), 1)
    assert not room.empty
    room.give_up_claim(Incarnation("ben"))
    assert room.empty


def test_a_move_of_somebody_unknown_changes_nothing_but_the_version() -> None:
    world = World()
    world.room.claim(Incarnation("ben"), 1)
    world.room.moved(_moved(Incarnation("ben"), NODE))
    assert not world.room.is_here(Incarnation("ben"))


def test_who_moved_away_speaks_here_no_more_and_is_spoken_to_at_its_node() -> None:
    world = World()
    ana, amy = world.peer("ana"), world.peer("amy")
    _move_away(world, ana)
    with pytest.raises(NotInRoom):
        world.room.relay(ana, *_signal("amy"))
    assert [member.node for member in _away(world, amy, "ana").to] == [OTHER]


def test_who_was_leaving_when_it_moved_away_is_found_and_may_come_back() -> None:
    world = World()
    ana, amy = world.peer("ana"), world.peer("amy")
    world.room.leave(ana, Departure(None, replied=False))
    _move_away(world, ana)
    _away(world, amy, "ana")
    world.room.depart(ana)
    _move_here(world, ana, moves=2)
    assert isinstance(world.room.relay(ana, *_signal("amy")), Relay)


def test_a_room_with_nobody_left_is_not_empty_until_who_moved_away_is_let_go_of() -> None:
    world = World()
    ana = world.peer("ana")
    _move_away(world, ana)
    assert not world.room.empty
    world.room.depart(ana)
    assert world.room.empty


def test_what_still_comes_for_one_that_moved_away_is_taken_until_it_is_let_go_of() -> None:
    world = World()
    ana = world.peer("ana")
    _move_away(world, ana)
    assert world.room.signalled(ana)
    world.room.depart(ana)
    assert not world.room.signalled(ana)


def test_who_moved_away_is_complete_when_all_others_have_said_so() -> None:
    world = World()
    ana = world.peer("ana")
    assert not world.room.is_complete(ana)
    world.room.switched(Switched(ana, OTHER, 1))
    _move_away(world, ana)
    for node in (OTHER, THIRD):
        assert not world.room.is_complete(ana)
        world.room.switched(Switched(ana, node, 1))
    assert world.room.is_complete(ana)


def test_a_message_to_all_reaches_one_that_moved_where_the_node_that_sent_it_saw_it_be() -> None:
    world = World()
    uma, vic = world.user("uma"), world.elsewhere(Kind.USER, "vic", "other")
    xia = world.elsewhere(Kind.USER, "xia", "third")
    _move_here(world, vic)
    _move_away(world, uma)

    def heard(sender: Incarnation) -> set[Incarnation]:
        return set(world.room.announced(Announced(sender, uma, b"{}", 0)).to)

    assert heard(xia) == {uma}
    world.room.switched(Switched(uma, THIRD, 1))
    assert heard(xia) == set()
    world.room.switched(Switched(vic, THIRD, 1))
    assert heard(xia) == {vic}


def test_a_message_to_all_is_not_for_a_peer_that_moved_away() -> None:
    world = World()
    ana, vic = world.peer("ana"), world.elsewhere(Kind.USER, "vic")
    _move_away(world, ana)
    assert world.room.announced(Announced(vic, ana, b"{}", 0)).to == []


def test_what_is_known_of_a_member_goes_with_it() -> None:
    world = World()
    ana = world.join(Kind.PEER, "ana", presence=True)
    ben = world.elsewhere(Kind.PEER, "ben")
    offer = world.room.relay(ana, *_negotiate("offer", "ben", id=7))
    assert isinstance(offer, Publish)
    _move_away(world, ana)
    state = world.room.depart(ana)
    number = _number(offer)
    assert state.watching
    assert state.offers == [Offers(ben, number, 0)]
    assert state.pending == [Pending(offer.ticket, 7, PeerId("ben"), [ben], Step("offer", number))]
    assert world.room.depart(ana) == MemberState(offers=[Offers(ben, number, 0)])


def _number(publish: Publish) -> int:
    assert publish.step is not None
    return publish.step.number


def test_what_another_node_knew_of_a_member_is_known_here() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    offers = [Offers(ana, 4, 9), Offers(Incarnation("gone"), 5, 6)]
    assert world.room.adopt(ben, MemberState(watching=True, offers=offers)) == []
    world.deliver(world.room.marked(MemberMarked(51, ana, away=True)))
    assert [message["type"] for message in world.sent[ben]] == ["peer-away"]
    assert world.room.depart(ben) == MemberState(watching=True, offers=offers[:1])


def test_the_later_of_two_numbers_of_an_offer_stays() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    world.room.adopt(ben, MemberState(offers=[Offers(ana, 4, 9)]))
    world.room.adopt(ben, MemberState(offers=[Offers(ana, 8, 3)]))
    assert world.room.depart(ben).offers == [Offers(ana, 8, 9)]


def test_what_waited_at_another_node_for_receipts_is_answered_here() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    world.deliver(world.room.adopt(ben, MemberState(pending=[_pending(3, 7, ana)])))
    world.deliver(world.room.receipt(Receipt(ben, ana, 3, delivered=True)))
    (ack,) = world.sent[ben]
    assert (ack["type"], ack["id"]) == ("ack", 7)


def test_a_receipt_that_comes_before_what_it_is_for_is_known_waits() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    assert world.room.receipt(Receipt(ben, ana, 3, delivered=True)) == []
    world.deliver(world.room.adopt(ben, MemberState(pending=[_pending(3, 7, ana)])))
    assert [message["type"] for message in world.sent[ben]] == ["ack"]
    assert world.room.depart(ben).pending == []


def test_no_more_receipts_wait_than_messages_may() -> None:
    world = World(max_unanswered=2)
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    for ticket in (1, 2, 3):
        world.room.receipt(Receipt(ben, ana, ticket, delivered=True))
    pending = [_pending(ticket, ticket, ana) for ticket in (1, 2, 3)]
    world.deliver(world.room.adopt(ben, MemberState(pending=pending)))
    assert [message["id"] for message in world.sent[ben]] == [1, 2]


def test_what_waited_for_one_who_left_before_it_is_known_here_is_answered_at_once() -> None:
    world = World()
    world.peer("ana")
    ben = world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    world.deliver(world.room.adopt(ben, MemberState(pending=[_pending(3, 7, Incarnation("gone"), target="zoe")])))
    (error,) = world.sent[ben]
    assert (error["id"], error["payload"]["code"]) == (7, "peer-not-found")


def test_tickets_of_another_node_are_not_given_again() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    cia = world.elsewhere(Kind.PEER, "cia", "third")
    _move_here(world, ben)
    world.room.adopt(ben, MemberState(pending=[_pending(30, 7, cia, target="cia")]))
    assert _away(world, ana, "cia", 8).ticket == 31


def test_what_was_known_of_one_who_is_not_here_is_dropped() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    assert world.room.adopt(ben, MemberState(watching=True, pending=[_pending(3, 7, ana)])) == []
    assert world.room.depart(ben) == MemberState()


def test_who_left_the_room_while_it_moved_is_forgotten() -> None:
    world = World()
    ana = world.peer("ana")
    _move_away(world, ana)
    world.gone(ana)
    assert world.room.empty
    assert not world.room.is_departing(ana)


def test_what_a_member_missed_is_told_as_it_would_have_been() -> None:
    world = World()
    ana = world.peer("ana")
    zoe = Member(Kind.PEER, PeerId("zoe"), Incarnation("z"), OTHER, {"x": 1}, order=4)
    peer = PeerId("zoe")
    told = [
        json.loads(frame)
        for news in (Missed(peer, zoe), Missed(peer, reason=LeaveReason.TIMEOUT))
        if (frame := world.room.missed(ana, news)) is not None
    ]
    assert [(message["type"], message["payload"]) for message in told] == [
        ("peer-joined", {"peer_id": "zoe", "metadata": {"x": 1}, "order": 4}),
        ("peer-left", {"peer_id": "zoe", "reason": "timeout"}),
    ]


@pytest.mark.parametrize(("away", "kind"), [(True, "peer-away"), (False, "peer-back")])
def test_who_was_away_meanwhile_is_told_to_those_alone_who_want_to_know(away: bool, kind: str) -> None:
    world = World()
    ana, amy = world.join(Kind.PEER, "ana", presence=True), world.peer("amy")
    news = Missed(PeerId("zoe"), away=away)
    frame = world.room.missed(ana, news)
    assert frame is not None
    assert json.loads(frame)["type"] == kind
    assert world.room.missed(amy, news) is None


# --------------------------------------------------------------------------------------------------------- sent again


def test_what_is_sent_again_while_it_is_under_way_is_sent_once_and_answered_once() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    publish = _away(world, ana, "ben", 7)
    world.forget()
    assert world.room.relay(ana, *_again(_signal("ben", 7))) is None
    world.deliver(world.room.receipt(_receipt(publish)))
    assert [message["id"] for message in world.sent[ana]] == [7]


def test_what_is_sent_again_after_it_was_answered_is_passed_on() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    world.room.receipt(_receipt(_away(world, ana, "ben", 7)))
    assert isinstance(world.room.relay(ana, *_again(_signal("ben", 7))), Publish)


def test_what_another_sends_under_the_same_id_is_passed_on() -> None:
    world = World()
    ana, amy = world.peer("ana"), world.peer("amy")
    world.elsewhere(Kind.PEER, "ben")
    _away(world, ana, "ben", 7)
    assert isinstance(world.room.relay(amy, *_again(_signal("ben", 7))), Publish)


def test_what_is_not_said_to_be_sent_again_is_passed_on_under_any_id() -> None:
    world = World()
    ana = world.peer("ana")
    world.elsewhere(Kind.PEER, "ben")
    _away(world, ana, "ben", 7)
    _away(world, ana, "ben", 7)


def test_a_message_to_all_that_is_sent_again_while_it_is_under_way_is_sent_once() -> None:
    world = World()
    uma = world.user("uma")
    world.elsewhere(Kind.USER, "vic")
    assert len(_said(world, uma, 7)) == 1
    message, frame = _message("x", 7)
    assert world.room.broadcast(uma, structs.replace(message, again=True), frame) == []


def test_what_was_under_way_at_another_node_is_not_sent_again_here() -> None:
    world = World()
    ana, ben = world.peer("ana"), world.elsewhere(Kind.PEER, "ben")
    _move_here(world, ben)
    world.room.adopt(ben, MemberState(pending=[_pending(3, 7, ana)]))
    assert world.room.relay(ben, *_again(_signal("ana", 7))) is None


def _again(said: tuple[Targeted, bytes]) -> tuple[Targeted, bytes]:
    message, frame = said
    return structs.replace(message, again=True), frame
