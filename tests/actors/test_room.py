from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import structs
from pykka import ActorDeadError

from mcp_actors.actors.directory import Directory
from mcp_actors.actors.mail import (
    Adopt,
    Broadcast,
    Claim,
    Depart,
    Enter,
    Exit,
    Greeting,
    Moderate,
    Recover,
    Relayed,
    Return,
)
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol import handover
from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.codec import Limits, peer_decoder, sender_stamp, stamp, user_decoder
from mcp_actors.protocol.errors import CloseCode, PeerIdTaken, PeerNotFound, RoomFull, Unavailable
from mcp_actors.protocol.events import (
    Announced,
    ClaimRefused,
    FramesLost,
    HandedOver,
    Kind,
    LeaveReason,
    Member,
    MemberLeft,
    MemberMoved,
    Missed,
    Receipt,
    Signalled,
    Step,
    Switched,
)
from mcp_actors.protocol.handover import Pending
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from tests.support.loop import RecordingOutlet, turns, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pykka

    from mcp_actors.actors.room import RoomActor
    from mcp_actors.protocol.events import Event
    from mcp_actors.protocol.messages import Message, Targeted
    from mcp_actors.room.room import Room
    from tests.conftest import ExpectedLogs

ROOM = RoomId("room123")
OTHER = RoomId("room456")
NODE = NodeId("node")
LIMITS = Limits(message_bytes=10_000, metadata_bytes=1000, id_length=128)
DECODE_PEER = peer_decoder(LIMITS).decode
DECODE_USER = user_decoder(LIMITS).decode


class SlowBroker(MemoryBroker):
    """A broker whose events are on their way until `arrive`, as those of one over a network are."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way: list[tuple[RoomId, Event]] = []

    def _tell(self, room: RoomId, event: Event) -> None:
        self._under_way.append((room, event))

    def arrive(self) -> None:
        """Let what is on its way be heard."""
        events, self._under_way = self._under_way, []
        for room, event in events:
            super()._tell(room, event)


class House:
    """The rooms of one node, and who is in them."""

    def __init__(self, capacity: int = 10, broker: MemoryBroker | None = None) -> None:
        self.directory = Directory(
            broker or MemoryBroker(), capacity=capacity, max_rooms=10, max_unanswered=100, max_inbox=100
        )
        self.outlets: dict[Incarnation, RecordingOutlet] = {}

    def ask_enter(self, kind: Kind, name: str, room: RoomId = ROOM, request_id: int | None = None) -> Guest:
        """Ask to enter; the guest's `entered` is to be awaited."""
        incarnation = Incarnation(f"{kind}-{name}-{len(self.outlets)}")
        outlet = self.outlets[incarnation] = RecordingOutlet()
        ref = self.directory.room(room)
        mail = Enter(Member(kind, PeerId(name), incarnation, NODE, {}), outlet, Greeting(request_id))
        return Guest(ref, incarnation, outlet, ref.ask(mail, block=False))

    async def enter(self, kind: Kind, name: str, room: RoomId = ROOM, request_id: int | None = None) -> Guest:
        """Enter, and forget what was said of it."""
        guest = self.ask_enter(kind, name, room, request_id)
        await guest.entered
        return guest

    async def peers(self, *names: str, room: RoomId = ROOM) -> list[Guest]:
        """Enter as peers, and forget what all were told of it."""
        guests = [await self.enter(Kind.PEER, name, room) for name in names]
        self.forget()
        return guests

    def forget(self) -> None:
        """Empty everybody's record of frames."""
        for outlet in self.outlets.values():
            outlet.frames.clear()


class Guest:
    """One connection in one room."""

    def __init__(
        self,
        ref: pykka.ActorRef[RoomActor],
        incarnation: Incarnation,
        outlet: RecordingOutlet,
        entered: pykka.Future[Any],
    ) -> None:
        self.ref = ref
        self.incarnation = incarnation
        self.outlet = outlet
        self.entered = entered

    def exit(self, request_id: int | None = None, *, replied: bool = True) -> pykka.Future[None]:
        """Ask to leave."""
        return self.ref.ask(Exit(self.incarnation, LeaveReason.LEFT, request_id, replied), block=False)

    def vanish(self) -> None:
        """Tell that the connection is gone."""
        self.ref.tell(Exit(self.incarnation, LeaveReason.DISCONNECTED))

    async def signal(self, target: str, request_id: int | None = None) -> bytes:
        """Send a signal, and wait until the room has handled it."""
        said: dict[str, Any] = {"type": "signal", "room": ROOM, "payload": {"target_peer_id": target, "data": [1]}}
        frame = json.dumps(said if request_id is None else {**said, "id": request_id}).encode()
        self.ref.tell(Relayed(self.incarnation, cast("Targeted", DECODE_PEER(frame)), frame))
        await self.handled()
        return frame

    async def negotiate(self, kind: str, target: str, **fields: Any) -> None:
        """Send an offer or what belongs to one, and wait until the room has handled it."""
        content = {"offer": {"sdp": "v=0"}, "answer": {"sdp": "v=0"}, "candidate": None}[kind.removeprefix("ice-")]
        payload = {"target_peer_id": target, kind.removeprefix("ice-"): content}
        frame = json.dumps({"type": kind, "room": ROOM, "payload": payload, **fields}).encode()
        self.ref.tell(Relayed(self.incarnation, cast("Targeted", DECODE_PEER(frame)), frame))
        await self.handled()

    async def say(self, content: object, request_id: int | None = None) -> bytes:
        """Broadcast a message, and wait until the room has handled it."""
        said: dict[str, Any] = {"type": "message", "room": ROOM, "payload": {"content": content}}
        frame = json.dumps(said if request_id is None else {**said, "id": request_id}).encode()
        self.ref.tell(Broadcast(self.incarnation, cast("Message", DECODE_USER(frame)), frame))
        await self.handled()
        return frame

    async def handled(self) -> None:
        """Wait until the room has no mail left."""
        await self.ref.actor_inbox.drained()  # type: ignore[attr-defined]


def _room(guest: Guest) -> Room:
    actor = guest.ref._actor_weakref()
    assert actor is not None
    return actor._room


def _error(outlet: RecordingOutlet) -> dict[str, Any]:
    (message,) = outlet.messages
    assert message["type"] == "error"
    return message


ACK = {"type": "ack", "room": "room123", "id": 7, "payload": {"status": "delivered"}}


# ----------------------------------------------------------------------------------------------------------- membership


async def test_joins_and_leaves_are_heard_by_all_in_one_order() -> None:
    house = House()
    ana = await house.enter(Kind.PEER, "ana", request_id=1)
    uma = await house.enter(Kind.USER, "uma", request_id=2)
    ben = await house.enter(Kind.PEER, "ben", request_id=3)
    await ben.exit(4)
    await uma.exit(5)
    assert ana.outlet.types == ["joined", "peer-joined", "peer-left"]
    assert uma.outlet.types == ["room-joined", "peer-joined", "peer-left", "room-left"]
    assert ben.outlet.types == ["joined", "left"]
    assert [message.get("id") for message in uma.outlet.messages] == [2, None, None, 5]


async def test_who_asks_is_answered_when_the_reply_is_written() -> None:
    house = House()
    ana = house.ask_enter(Kind.PEER, "ana")
    await ana.entered
    assert ana.outlet.types == ["joined"]
    await ana.exit()
    assert ana.outlet.types == ["joined", "left"]


async def test_a_room_waits_for_the_brokers_answer_to_a_join() -> None:
    broker = SlowBroker()
    house = House(broker=broker)
    ana = house.ask_enter(Kind.PEER, "ana")
    await ana.handled()
    await turns(3)
    assert ana.ref.is_alive()
    assert ana.outlet.frames == []
    broker.arrive()
    await ana.entered
    assert ana.outlet.types == ["joined"]


async def test_a_member_stays_until_the_broker_says_it_left_though_nobody_finds_it() -> None:
    broker = SlowBroker()
    house = House(broker=broker)
    ana, ben = house.ask_enter(Kind.PEER, "ana"), house.ask_enter(Kind.PEER, "ben")
    await ana.handled()
    broker.arrive()
    await ben.entered
    house.forget()
    left = ben.exit(1)
    await ana.signal("ben", 7)
    assert _error(ana.outlet)["payload"]["code"] == "peer-not-found"
    assert ben.outlet.frames == []
    broker.arrive()
    await left
    assert ben.outlet.types == ["left"]
    assert ana.outlet.types == ["error", "peer-left"]


async def test_the_reply_to_a_leave_is_the_last_frame() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    left = ana.exit(1)
    ben.vanish()
    ben.ref.tell(Relayed(ben.incarnation, cast("Targeted", DECODE_PEER(_offer("ana"))), _offer("ana")))
    await left
    await until(lambda: len(house.directory) == 0, "the room's retirement")
    assert ana.outlet.types[-1] == "left"


def _offer(target: str) -> bytes:
    payload = {"target_peer_id": target, "offer": {"type": "offer", "sdp": "v=0"}}
    return json.dumps({"type": "offer", "room": ROOM, "payload": payload}).encode()


async def test_a_connection_that_is_gone_is_told_nothing_more() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    ana.vanish()
    await ana.handled()
    assert ana.outlet.frames == []
    assert [m["payload"] for m in ben.outlet.messages] == [{"peer_id": "ana", "reason": "disconnected"}]


async def test_a_refused_join_is_answered_with_the_reason_and_no_frame() -> None:
    house = House(capacity=2)
    (ana, _) = await house.peers("ana", "ben")
    for name, error in (("ana", PeerIdTaken), ("cem", RoomFull)):
        guest = house.ask_enter(Kind.PEER, name, request_id=9)
        with pytest.raises(error) as caught:
            await guest.entered
        assert (caught.value.room, caught.value.id) == ("room123", 9)
        assert guest.outlet.frames == []
    assert ana.outlet.frames == []
    assert ana.ref.is_alive()


async def test_a_room_retires_after_a_refused_join_and_the_last_leave() -> None:
    house = House()
    (ana,) = await house.peers("ana")
    rival = house.ask_enter(Kind.PEER, "ana")
    with pytest.raises(PeerIdTaken):
        await rival.entered
    await ana.exit()
    await until(lambda: len(house.directory) == 0, "the room's retirement")
    assert not ana.ref.is_alive()


async def test_leaving_while_the_join_is_under_way_answers_both() -> None:
    house = House()
    (ben,) = await house.peers("ben")
    ana = house.ask_enter(Kind.PEER, "ana", request_id=1)
    left = ana.exit(2)
    await ana.entered
    await left
    assert ana.outlet.types == ["joined", "left"]
    assert ben.outlet.types == ["peer-joined", "peer-left"]


async def test_vanishing_while_the_join_is_under_way_leaves_nobody_behind() -> None:
    house = House()
    ana = house.ask_enter(Kind.PEER, "ana")
    ana.vanish()
    await ana.entered
    await until(lambda: len(house.directory) == 0, "the room's retirement")


async def test_leaving_while_the_join_is_being_refused_answers_both() -> None:
    house = House()
    (ana,) = await house.peers("ana")
    rival = house.ask_enter(Kind.PEER, "ana")
    left = rival.exit()
    with pytest.raises(PeerIdTaken):
        await rival.entered
    await asyncio.wait_for(_awaited(left), 2)
    assert ana.outlet.frames == []
    assert rival.outlet.frames == []


async def _awaited(future: pykka.Future[None]) -> None:
    return await future


async def test_leaving_twice_is_answered_twice_and_said_once() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    first, second = ana.exit(1), ana.exit(2)
    await first
    await second
    assert [message.get("id") for message in ana.outlet.messages] == [1]
    assert ben.outlet.types == ["peer-left"]


async def test_the_same_peer_may_come_back() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    await ana.exit()
    again = await house.enter(Kind.PEER, "ana")
    ana.vanish()
    await ben.signal("ana")
    assert again.outlet.types == ["joined", "signal"]


# ------------------------------------------------------------------------------------------------------------- messages


async def test_a_signal_reaches_its_target_alone() -> None:
    house = House()
    ana, ben, cem = await house.peers("ana", "ben", "cem")
    frame = await ana.signal("ben")
    assert ben.outlet.frames == [b'{"sender":"ana",' + frame[1:]]
    assert ana.outlet.frames == cem.outlet.frames == []


async def test_signals_between_two_peers_arrive_in_the_order_sent() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    for number in range(300):
        frame = _offer("ben")[:-1] + f', "id": {number}}}'.encode()
        ana.ref.tell(Relayed(ana.incarnation, cast("Targeted", DECODE_PEER(frame)), frame))
    await ana.handled()
    assert [message["id"] for message in ben.outlet.messages] == list(range(300))
    assert [message["id"] for message in ana.outlet.messages] == list(range(300))


async def test_a_signal_with_an_id_is_acknowledged_to_its_sender() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    await ana.signal("ben", 7)
    assert ana.outlet.messages == [ACK]
    assert ben.outlet.types == ["signal"]


async def test_delivered_is_not_said_of_a_frame_the_target_did_not_take() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    ben.outlet.accepts = False
    await ana.signal("ben", 7)
    message = _error(ana.outlet)
    assert (message["room"], message["id"], message["payload"]["code"]) == ("room123", 7, "peer-not-found")


async def test_a_frame_without_an_id_that_was_not_taken_is_complained_of_too() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    ben.outlet.accepts = False
    await ana.signal("ben")
    message = _error(ana.outlet)
    assert message["payload"]["code"] == "peer-not-found"
    assert "id" not in message


@pytest.mark.parametrize(("target", "code"), [("nobody", "peer-not-found"), ("ana", "bad-message")])
async def test_a_signal_that_cannot_be_relayed_is_answered_with_the_error(target: str, code: str) -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    await ana.signal(target, 7)
    message = _error(ana.outlet)
    assert (message["room"], message["id"], message["payload"]["code"]) == ("room123", 7, code)
    assert ben.outlet.frames == []
    assert ana.ref.is_alive()


async def test_a_peer_that_is_leaving_cannot_relay() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    left = ana.exit()
    await ana.signal("ben", 7)
    await left
    assert ana.outlet.types == ["error", "left"]
    assert ana.outlet.messages[0]["payload"]["code"] == "not-in-room"
    assert ben.outlet.types == ["peer-left"]


async def test_mail_of_a_stranger_is_answered_to_nobody() -> None:
    house = House()
    (ana,) = await house.peers("ana")
    stranger = Guest(ana.ref, Incarnation("stranger"), RecordingOutlet(), ana.entered)
    await stranger.signal("ana", 7)
    await stranger.say("hello", 7)
    stranger.vanish()
    await stranger.handled()
    assert ana.outlet.frames == []
    assert ana.ref.is_alive()


async def test_a_message_reaches_every_other_user_connection() -> None:
    house = House()
    ana = await house.enter(Kind.PEER, "ana")
    uma, uma_too, vic = [await house.enter(Kind.USER, name) for name in ("uma", "uma", "vic")]
    house.forget()
    frame = await uma.say({"a": 1}, 7)
    assert uma_too.outlet.frames == vic.outlet.frames == [b'{"sender":"uma",' + frame[1:]]
    assert ana.outlet.frames == []
    assert uma.outlet.messages == [ACK]


async def test_a_user_that_is_leaving_cannot_speak() -> None:
    house = House()
    uma, vic = await house.enter(Kind.USER, "uma"), await house.enter(Kind.USER, "vic")
    house.forget()
    left = uma.exit()
    await uma.say("x", 7)
    await left
    assert uma.outlet.types == ["error", "room-left"]
    assert vic.outlet.types == ["user-left"]


async def test_a_connection_that_takes_nothing_keeps_nobody_from_hearing() -> None:
    house = House()
    uma, deaf, vic = [await house.enter(Kind.USER, name) for name in ("uma", "deaf", "vic")]
    house.forget()
    deaf.outlet.accepts = False
    await uma.say("x")
    assert vic.outlet.types == ["message"]


# ----------------------------------------------------------------------------------------------------------------- bugs


def _bug(*_args: object) -> None:
    raise RuntimeError("a bug")


@pytest.fixture
def lost(expected_logs: ExpectedLogs) -> None:
    """A room is lost in this test, and said so."""
    expected_logs("pykka", "Unhandled exception in room 'room123'")
    expected_logs("mcp_actors.room", "room lost")


def _break(monkeypatch: pytest.MonkeyPatch, guest: Guest, method: str) -> None:
    """Put a bug into one method of one room."""
    room = _room(guest)
    broken = type("BrokenRoom", (type(room),), {"__slots__": (), method: _bug})
    monkeypatch.setattr(room, "__class__", broken)


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("method", ["relay", "heard"])
async def test_a_bug_closes_the_members_of_its_room_alone(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    (eve,) = await house.peers("eve", room=OTHER)
    _break(monkeypatch, ana, method)
    if method == "relay":
        await ana.signal("ben", 7)
    else:
        ben.vanish()
    await until(lambda: not ana.ref.is_alive(), "the room's end")
    assert ana.outlet.closes == ben.outlet.closes == [CloseCode.ROOM_LOST]
    assert eve.outlet.closes == []
    assert eve.ref.is_alive()
    assert len(house.directory) == 1


@pytest.mark.usefixtures("lost")
async def test_a_bug_does_not_close_a_connection_that_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    (ana,) = await house.peers("ana")
    rival = house.ask_enter(Kind.PEER, "ana")
    with pytest.raises(PeerIdTaken):
        await rival.entered
    _break(monkeypatch, ana, "relay")
    await ana.signal("ben", 7)
    assert ana.outlet.closes == [CloseCode.ROOM_LOST]
    assert rival.outlet.closes == []


@pytest.mark.usefixtures("lost")
async def test_a_bug_does_not_close_a_connection_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    await ben.exit()
    _break(monkeypatch, ana, "relay")
    await ana.signal("ben", 7)
    assert ana.outlet.closes == [CloseCode.ROOM_LOST]
    assert ben.outlet.closes == []


@pytest.mark.usefixtures("lost")
async def test_a_bug_under_ask_is_answered_to_the_asker_and_closes_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    (ana,) = await house.peers("ana")
    _break(monkeypatch, ana, "leave")
    with pytest.raises(RuntimeError, match="a bug"):
        await ana.exit()
    assert ana.outlet.closes == [CloseCode.ROOM_LOST]
    assert not ana.ref.is_alive()


@pytest.mark.usefixtures("lost")
async def test_a_bug_answers_what_was_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    (ana, ben) = await house.peers("ana", "ben")
    _break(monkeypatch, ana, "heard")
    left = ana.exit()
    cem = house.ask_enter(Kind.PEER, "cem")
    for answer in (left, cem.entered):
        with pytest.raises(ActorDeadError):
            await asyncio.wait_for(_awaited(answer), 2)
    for guest in (ana, ben, cem):
        assert guest.outlet.closes == [CloseCode.ROOM_LOST]


@pytest.mark.usefixtures("lost")
async def test_mail_behind_a_bug_is_answered_too(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    (ana,) = await house.peers("ana")
    _break(monkeypatch, ana, "relay")
    ana.ref.tell(Relayed(ana.incarnation, cast("Targeted", DECODE_PEER(_offer("x"))), _offer("x")))
    late = house.ask_enter(Kind.PEER, "late")
    left = ana.exit()
    for answer in (late.entered, left):
        with pytest.raises(ActorDeadError):
            await answer
    assert late.outlet.closes == []


@pytest.mark.usefixtures("lost")
async def test_the_next_join_after_a_bug_starts_a_fresh_room(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    ana, _ = await house.peers("ana", "ben")
    _break(monkeypatch, ana, "relay")
    await ana.signal("ben", 7)
    await until(lambda: not ana.ref.is_alive(), "the room's end")
    fresh = await house.enter(Kind.PEER, "ana", request_id=1)
    assert fresh.ref is not ana.ref
    (message,) = fresh.outlet.messages
    assert message["type"] == "joined"
    assert [peer["peer_id"] for peer in message["payload"]["peers"]] == ["ana"]


@pytest.mark.usefixtures("lost")
async def test_a_member_that_leaves_when_it_is_closed_finds_the_room_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    alive: list[bool] = []
    monkeypatch.setattr(ana.outlet, "close", lambda _code: alive.append(ana.ref.is_alive()))
    _break(monkeypatch, ana, "relay")
    await ana.signal("ben", 7)
    await turns(3)
    assert alive == [False]
    assert ben.outlet.closes == [CloseCode.ROOM_LOST]


# ---------------------------------------------------------------------------------------------------------- other nodes


class Elsewhere(MemoryBroker):
    """A broker whose other nodes are the test: it keeps what is sent to them, and lets them be heard."""

    def __init__(self, *, full: bool = False) -> None:
        super().__init__()
        self.full = full
        self.sent: list[tuple[Any, ...]] = []
        self.receipts: list[Receipt] = []

    def relay(
        self, room: RoomId, sender: Member, target: Member, frame: bytes, ticket: int, step: Step | None = None
    ) -> None:
        if self.full:
            raise Unavailable("full")
        self.sent.append((sender.incarnation, target.incarnation, frame, ticket))

    def announce(self, room: RoomId, sender: Member, targets: Sequence[Member], frame: bytes, ticket: int) -> None:
        for target in targets:
            self.relay(room, sender, target, frame, ticket)

    def confirm(self, room: RoomId, sender: Member, receipt: Receipt) -> None:
        self.sent.append((sender.incarnation, receipt.target, receipt.ticket, receipt.delivered))
        self.receipts.append(receipt)

    def come(self, kind: Kind, name: str) -> Incarnation:
        """Somebody joins on another node."""
        incarnation = Incarnation(f"other-{name}")
        self.join(ROOM, Member(kind, PeerId(name), incarnation, NodeId("other"), {}), 10)
        return incarnation

    def say(self, event: Event) -> None:
        """Let an event be heard."""
        self._tell(ROOM, event)


async def test_a_signal_for_another_node_goes_to_the_broker_and_its_receipt_to_the_sender() -> None:
    broker = Elsewhere()
    house = House(broker=broker)
    (ana,) = await house.peers("ana")
    ben = broker.come(Kind.PEER, "ben")
    frame = await ana.signal("ben", 7)
    ((sender, target, sent, ticket),) = broker.sent
    assert (sender, target, sent) == (ana.incarnation, ben, stamp(sender_stamp("ana"), frame))
    house.forget()
    broker.say(Receipt(ana.incarnation, ben, ticket, delivered=True))
    await ana.handled()
    assert ana.outlet.types == ["ack"]


async def test_a_broker_that_takes_no_more_is_told_to_the_sender_and_nothing_waits() -> None:
    house = House(broker=(broker := Elsewhere(full=True)))
    (ana,) = await house.peers("ana")
    broker.come(Kind.PEER, "ben")
    house.forget()
    await ana.signal("ben", 7)
    assert ana.outlet.last()["payload"]["code"] == "unavailable"
    assert ana.outlet.last()["id"] == 7
    assert not _room(ana)._unanswered


@pytest.mark.parametrize(("ticket", "accepts", "confirmed"), [(0, True, []), (5, True, [True]), (0, False, [False])])
async def test_a_signal_of_another_node_is_written_and_confirmed(
    ticket: int, accepts: bool, confirmed: list[bool]
) -> None:
    house = House(broker=(broker := Elsewhere()))
    (ana,) = await house.peers("ana")
    ben = broker.come(Kind.PEER, "ben")
    await ana.handled()
    house.forget()
    ana.outlet.accepts = accepts
    broker.say(Signalled(ben, ana.incarnation, b'{"type":"signal"}', ticket))
    await ana.handled()
    assert ana.outlet.types == (["signal"] if accepts else [])
    assert broker.sent == [(ben, ana.incarnation, ticket, delivered) for delivered in confirmed]


async def test_a_signal_of_another_node_for_somebody_who_left_is_not_confirmed_as_delivered() -> None:
    house = House(broker=(broker := Elsewhere()))
    ana, amy = await house.peers("ana", "amy")
    ben = broker.come(Kind.PEER, "ben")
    await amy.exit()
    broker.say(Signalled(ben, amy.incarnation, b"{}", 0))
    await ana.handled()
    assert broker.sent == [(ben, amy.incarnation, 0, False)]


async def test_a_message_of_another_node_reaches_every_user_here() -> None:
    house = House(broker=(broker := Elsewhere()))
    uma, vic = await house.enter(Kind.USER, "uma"), await house.enter(Kind.USER, "vic")
    wim = broker.come(Kind.USER, "wim")
    await uma.handled()
    house.forget()
    broker.say(Announced(wim, uma.incarnation, b'{"type":"message"}', 4))
    await uma.handled()
    assert uma.outlet.types == vic.outlet.types == ["message"]
    assert broker.sent == [(wim, uma.incarnation, 4, True)]


async def test_a_member_that_leaves_unasked_has_its_connection_closed_to_join_again() -> None:
    house = House(broker=(broker := Elsewhere()))
    ana, amy = await house.peers("ana", "amy")
    broker.leave(ROOM, ana.incarnation, LeaveReason.NODE_LOST)
    await amy.handled()
    assert ana.outlet.closes == [CloseCode.ROOM_LOST]
    assert amy.outlet.last()["payload"] == {"peer_id": "ana", "reason": "node-lost"}


async def test_a_member_whose_frames_were_lost_has_its_connection_closed_to_join_again() -> None:
    house = House(broker=(broker := Elsewhere()))
    ana, amy = await house.peers("ana", "amy")
    broker.say(FramesLost(ana.incarnation))
    await amy.handled()
    assert ana.outlet.closes == [CloseCode.ROOM_LOST]
    assert amy.outlet.closes == []


async def test_a_room_with_members_on_other_nodes_alone_retires() -> None:
    house = House(broker=(broker := Elsewhere()))
    (ana,) = await house.peers("ana")
    broker.come(Kind.PEER, "ben")
    await ana.exit()
    await until(lambda: not len(house.directory), "the end of the room")


# --------------------------------------------------------------------------------------------------------- negotiation


async def test_an_offer_is_numbered_for_its_target_and_in_its_ack() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    await ana.negotiate("offer", "ben", id=7)
    await ben.negotiate("offer", "ana")
    assert [message["negotiation"] for message in (*ben.outlet.messages, *ana.outlet.messages[1:])] == [1, 2]
    assert ana.outlet.messages[0]["payload"] == {"status": "delivered", "negotiation": 1}


@pytest.mark.parametrize("fields", [{}, {"id": 7}])
async def test_a_stale_answer_is_refused_to_its_sender_and_not_relayed(fields: dict[str, int]) -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    await ana.negotiate("offer", "ben")
    await ana.negotiate("offer", "ben")
    house.forget()
    await ben.negotiate("answer", "ana", negotiation=1, **fields)
    error = _error(ben.outlet)
    assert (error["room"], error.get("id")) == (ROOM, fields.get("id"))
    assert error["payload"]["code"] == "stale-negotiation"
    assert error["payload"]["details"] == {"negotiation": 2}
    assert ana.outlet.frames == []


async def test_a_stale_answer_of_another_node_is_not_written_and_its_sender_is_told() -> None:
    house = House(broker=(broker := Elsewhere()))
    (ana,) = await house.peers("ana")
    ben = broker.come(Kind.PEER, "ben")
    await ana.negotiate("offer", "ben")
    await ana.negotiate("offer", "ben")
    first, second = (json.loads(sent[2])["negotiation"] for sent in broker.sent)
    broker.sent.clear()
    house.forget()
    for ticket, number in ((0, first), (5, first), (6, second)):
        broker.say(Signalled(ben, ana.incarnation, b'{"type":"answer"}', ticket, Step("answer", number)))
    await ana.handled()
    assert ana.outlet.types == ["answer"]
    assert broker.sent == [
        (ben, ana.incarnation, 0, False),
        (ben, ana.incarnation, 5, False),
        (ben, ana.incarnation, 6, True),
    ]
    assert [receipt.overtaken for receipt in broker.receipts] == [second, second, 0]


# --------------------------------------------------------------------------------------------------------------- moves


class Moving(Elsewhere):
    """The same, for members whose sessions go on elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[Member] = []
        self.switches: list[MemberMoved] = []
        self.released: list[Incarnation] = []

    def claim(self, room: RoomId, member: Member) -> None:
        self.claims.append(member)

    def switch(self, room: RoomId, move: MemberMoved) -> None:
        self.switches.append(move)

    def release(self, room: RoomId, incarnation: Incarnation) -> None:
        self.released.append(incarnation)

    def move(self, incarnation: Incarnation, node: NodeId, moves: int = 1, *others: NodeId) -> MemberMoved:
        """Let a move be heard."""
        old = NodeId("other") if node == NODE else NODE
        event = MemberMoved(20, incarnation, old, node, moves, others)
        self.say(event)
        return event


OTHER_NODE, THIRD_NODE = NodeId("other"), NodeId("third")


async def _claimed(house: House, broker: Moving, ben: Incarnation) -> Guest:
    """A member of another node that is here now."""
    guest = _claiming(house, ben)
    broker.move(ben, NODE)
    await guest.entered
    return guest


def _claiming(house: House, ben: Incarnation, moves: int = 1) -> Guest:
    outlet = house.outlets[ben] = RecordingOutlet()
    ref = house.directory.room(ROOM)
    member = Member(Kind.PEER, PeerId("ben"), ben, NODE, {}, moves=moves)
    return Guest(ref, ben, outlet, ref.ask(Claim(member, outlet), block=False))


async def _moving_house() -> tuple[House, Moving, Guest, Incarnation]:
    """With ana, who is here, and ben, who is at another node."""
    broker = Moving()
    house = House(broker=broker)
    (ana,) = await house.peers("ana")
    ben = broker.come(Kind.PEER, "ben")
    await ana.handled()
    house.forget()
    return house, broker, ana, ben


async def test_a_claim_is_answered_with_the_move_and_the_member_hears_what_is_for_it_from_then_on() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = _claiming(house, ben)
    await ana.handled()
    assert [member.incarnation for member in broker.claims] == [ben]
    move = broker.move(ben, NODE)
    assert await guest.entered == move
    assert broker.switches == [move]
    await ana.signal("ben")
    assert guest.outlet.types == ["signal"]


async def test_a_claim_that_is_refused_is_answered_with_nothing_and_leaves_nothing() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = _claiming(house, ben)
    broker.say(ClaimRefused(ben))
    assert await guest.entered is None
    broker.say(MemberLeft(21, ben, LeaveReason.TIMEOUT))
    await ana.handled()
    assert guest.outlet.closes == []
    ana.exit()
    await until(lambda: not house.directory, "the end of the room")


async def test_a_claim_is_not_answered_with_the_move_to_another_node() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = _claiming(house, ben)
    broker.move(ben, THIRD_NODE, 2)
    broker.say(ClaimRefused(ben))
    assert await guest.entered is None
    await ana.signal("ben", 3)
    assert guest.outlet.frames == []
    ana.exit()
    await until(lambda: not house.directory, "the end of the room")


@pytest.mark.usefixtures("lost")
async def test_a_claim_in_a_room_that_is_lost_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    house, _broker, ana, ben = await _moving_house()
    guest = _claiming(house, ben)
    _break(monkeypatch, ana, "relay")
    await ana.signal("ben")
    with pytest.raises(ActorDeadError):
        await guest.entered
    assert guest.outlet.closes == [CloseCode.ROOM_LOST]


async def test_who_moved_away_is_told_and_told_again_when_all_that_others_sent_it_here_is_there() -> None:
    _house, broker, ana, ben = await _moving_house()
    broker.move(ana.incarnation, OTHER_NODE, 1, NODE, OTHER_NODE, THIRD_NODE)
    broker.say(Signalled(ben, ana.incarnation, b'{"type":"signal"}', 5))
    for node in (OTHER_NODE, THIRD_NODE):
        await ana.handled()
        assert ana.outlet.told == [("moved", ROOM)]
        broker.say(Switched(ana.incarnation, node, 1))
    await ana.handled()
    assert ana.outlet.told == [("moved", ROOM), ("complete", ROOM)]
    assert ana.outlet.types == ["signal"]
    assert ana.outlet.closes == []


async def test_who_moved_away_from_a_node_that_alone_was_in_the_room_is_complete_at_once() -> None:
    _house, broker, ana, _ben = await _moving_house()
    broker.move(ana.incarnation, OTHER_NODE, 1, NODE)
    await ana.handled()
    assert ana.outlet.told == [("moved", ROOM), ("complete", ROOM)]


async def test_who_is_let_go_of_hears_no_more_here_and_what_is_known_of_it_is_returned() -> None:
    house, broker, ana, ben = await _moving_house()
    amy = await house.enter(Kind.PEER, "amy")
    await ana.signal("ben", 7)
    house.forget()
    broker.move(ana.incarnation, OTHER_NODE, 1, NODE)
    state, member = await ana.ref.ask(Depart(ana.incarnation), block=False)
    assert [one.id for one in state.pending] == [7]
    assert (member.incarnation, member.node) == (ana.incarnation, OTHER_NODE)
    assert broker.released == [ana.incarnation]
    broker.say(Signalled(ben, ana.incarnation, b'{"type":"signal"}', 5))
    await amy.handled()
    assert ana.outlet.frames == []
    assert [receipt.delivered for receipt in broker.receipts] == [False]


async def test_nothing_is_known_of_one_who_left_meanwhile() -> None:
    _house, broker, ana, _ben = await _moving_house()
    broker.move(ana.incarnation, OTHER_NODE, 1, NODE)
    broker.say(MemberLeft(21, ana.incarnation, LeaveReason.TIMEOUT))
    assert await ana.ref.ask(Depart(ana.incarnation), block=False) is None


async def test_the_end_of_a_session_that_moved_away_is_no_leave() -> None:
    house, broker, ana, _ben = await _moving_house()
    broker.move(ana.incarnation, OTHER_NODE, 1, NODE)
    ana.vanish()
    await until(lambda: not house.directory, "the end of the room")
    assert broker.released == [ana.incarnation]
    assert ana.incarnation in broker._rooms[ROOM].members


async def test_a_leave_that_the_move_came_before_is_answered_and_keeps_no_room() -> None:
    house = House(broker=(broker := Late()))
    (ana,) = await house.peers("ana")
    left = ana.exit(7)
    await ana.handled()
    broker.move(ana.incarnation, OTHER_NODE, 1, NODE, THIRD_NODE)
    await left
    assert ana.outlet.told == [("moved", ROOM)]
    assert broker.released == [ana.incarnation]
    await until(lambda: not house.directory, "the end of the room")


class Late(Moving):
    """The same, where a leave comes too late."""

    def leave(self, room: RoomId, incarnation: Incarnation, reason: LeaveReason) -> None:
        del room, incarnation, reason


async def test_what_the_other_node_hands_over_is_for_the_session_and_for_the_room() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = await _claimed(house, broker, ben)
    pending = [Pending(3, 7, PeerId("ana"), [ana.incarnation], None)]
    told = handover.Handover(handover.MemberState(pending=pending), handover.SessionState(4, [b"{}"]))
    broker.say(HandedOver(ben, handover.pack(told)))
    broker.say(Receipt(ben, ana.incarnation, 3, delivered=True))
    await ana.handled()
    assert guest.outlet.told == [("handed over", ROOM, told)]
    assert guest.outlet.types == ["ack"]


async def test_a_dead_node_hands_over_nothing() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = await _claimed(house, broker, ben)
    broker.say(HandedOver(ben, b""))
    broker.say(HandedOver(Incarnation("nobody"), b""))
    await ana.handled()
    assert guest.outlet.told == [("handed over", ROOM, None)]


async def test_what_is_recovered_is_for_the_session_and_its_senders_are_told() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = await _claimed(house, broker, ben)
    cia = broker.come(Kind.PEER, "cia")
    before = [Signalled(cia, ben, b"{1}", 1), Signalled(cia, ben, b"{0}", 0)]
    events: list[Signalled | Announced | Missed] = [
        Signalled(cia, ben, b"{2}", 2),
        Signalled(cia, ben, b"{3}", 0),
        Missed(PeerId("zoe"), reason=LeaveReason.LEFT),
        Missed(PeerId("cia"), away=True),
    ]
    await ana.ref.ask(Recover(ben, events, before, arrived=True), block=False)
    recovered = [told[1] for told in guest.outlet.told]
    assert recovered[:2] == [b"{2}", b"{3}"]
    assert [json.loads(frame)["type"] for frame in recovered[2:]] == ["peer-left"]
    assert [(one.ticket, one.delivered, one.queued) for one in broker.receipts] == [(1, True, False), (2, True, True)]


async def test_what_may_be_lost_at_a_dead_node_is_said_to_be_not_delivered() -> None:
    house, broker, ana, ben = await _moving_house()
    await _claimed(house, broker, ben)
    cia = broker.come(Kind.PEER, "cia")
    await ana.ref.ask(Recover(ben, [], [Signalled(cia, ben, b"{1}", 1)], arrived=False), block=False)
    assert [one.delivered for one in broker.receipts] == [False]


async def test_what_a_newer_offer_has_overtaken_is_not_recovered() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = await _claimed(house, broker, ben)
    cia = broker.come(Kind.PEER, "cia")
    events = [
        Signalled(cia, ben, b"{1}", 1, Step("offer", 1)),
        Signalled(cia, ben, b"{3}", 2, Step("offer", 3)),
        Signalled(cia, ben, b"{x}", 3, Step("ice-candidate", 1)),
    ]
    await ana.ref.ask(Recover(ben, events, [], arrived=True), block=False)
    assert [told[1] for told in guest.outlet.told] == [b"{1}", b"{3}"]
    assert [(one.delivered, one.overtaken) for one in broker.receipts] == [(True, 0), (True, 0), (False, 3)]


async def test_nothing_is_recovered_for_one_who_is_not_here() -> None:
    _house, broker, ana, ben = await _moving_house()
    await ana.ref.ask(Recover(ben, [Signalled(ana.incarnation, ben, b"{1}", 1)], [], arrived=True), block=False)
    assert broker.receipts == []


async def test_what_is_left_behind_of_a_member_is_known_to_its_room() -> None:
    house, broker, ana, ben = await _moving_house()
    guest = await _claimed(house, broker, ben)
    ana.ref.tell(Adopt(ben, handover.MemberState(watching=True)))
    broker.mark(ROOM, ana.incarnation, away=True)
    await ana.handled()
    assert guest.outlet.types == ["peer-away"]


async def test_what_comes_from_other_nodes_is_told_with_its_place_and_who_comes_back_with_the_last() -> None:
    _house, broker, ana, ben = await _moving_house()
    broker.say(Signalled(ben, ana.incarnation, b'{"type":"signal"}', 0, at=b"1-0.0@n"))
    broker.say(Receipt(ana.incarnation, ben, 0, delivered=False))
    ana.ref.tell(Return(ana.incarnation, Greeting(7)))
    await ana.handled()
    assert [message.get("at") for message in ana.outlet.messages] == ["1-0.0@n", None, "1-0.0@n"]
    assert ana.outlet.types == ["signal", "error", "joined"]


# ---------------------------------------------------------------------------------------------------------- moderation


async def test_a_kick_is_answered_when_it_is_done_and_the_outlet_of_who_goes_is_told() -> None:
    ana, ben = await House().peers("ana", "ben")
    kick = wire.Kick(room=ROOM, payload=wire.KickPayload(peer_id=PeerId("ben")), id=1)
    await ana.ref.ask(Moderate(ana.incarnation, kick), block=False)
    assert ana.outlet.types == ["peer-left", "kicked"]
    assert (ben.outlet.types, ben.outlet.told) == (["kicked"], [("put out", ROOM, LeaveReason.KICKED)])
    assert (ben.outlet.closes, ana.outlet.told) == ([], [])
    with pytest.raises(PeerNotFound):
        await ana.ref.ask(Moderate(ana.incarnation, kick), block=False)


async def slow_pair() -> tuple[SlowBroker, Guest, Guest]:
    """Peers ana and ben in a room whose next events are on their way until the broker is told."""
    late = SlowBroker()
    house = House(broker=late)
    ana, ben = house.ask_enter(Kind.PEER, "ana"), house.ask_enter(Kind.PEER, "ben")
    await turns(3)
    late.arrive()
    await ana.entered
    await ben.entered
    return late, ana, ben


@pytest.mark.parametrize("goes", [False, True], ids=["done", "in vain"])
async def test_what_is_sent_again_while_it_is_under_way_is_done_once_and_told_once(goes: bool) -> None:
    late, ana, ben = await slow_pair()
    if goes:
        ben.ref.tell(Exit(ben.incarnation, LeaveReason.LEFT))
    kick = wire.Kick(room=ROOM, payload=wire.KickPayload(peer_id=PeerId("ben")), id=1)
    first = ana.ref.ask(Moderate(ana.incarnation, kick), block=False)
    second = ana.ref.ask(Moderate(ana.incarnation, structs.replace(kick, again=True)), block=False)
    await turns(3)
    late.arrive()
    await second
    if goes:
        with pytest.raises(PeerNotFound):
            await first
    else:
        await first
        assert ana.outlet.types[-2:] == ["peer-left", "kicked"]


async def test_a_room_that_is_closed_puts_all_out_once_and_retires() -> None:
    house = House()
    guests = await house.peers("ana", "ben", "cia")
    await guests[0].ref.ask(Moderate(guests[0].incarnation, wire.CloseRoom(room=ROOM, id=1)), block=False)
    for guest in guests:
        assert guest.outlet.types == ["room-closed"]
        assert guest.outlet.told == [("put out", ROOM, LeaveReason.ROOM_CLOSED)]
    await until(lambda: not len(house.directory), "the end of the room")


async def test_a_leave_under_way_when_its_room_is_closed_is_done() -> None:
    late, ana, ben = await slow_pair()
    closing = ana.ref.ask(Moderate(ana.incarnation, wire.CloseRoom(room=ROOM)), block=False)
    leaving = ben.ref.ask(Exit(ben.incarnation, LeaveReason.LEFT, 1, replied=True), block=False)
    await turns(3)
    late.arrive()
    await closing
    await leaving
    assert ben.outlet.types[-1] == "room-closed"
