from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from pykka import ActorDeadError

from mcp_actors.actors.directory import Directory
from mcp_actors.actors.mail import Broadcast, Call, Signal
from mcp_actors.actors.room import RoomActor, forget
from mcp_actors.broker import Recovered
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.protocol import handover
from mcp_actors.protocol import messages as wire
from mcp_actors.protocol.errors import CloseCode, NotInRoom, PeerIdTaken, PeerNotFound, RoomFull
from mcp_actors.protocol.events import (
    ClaimRefused,
    CutoverAcked,
    HandedOver,
    Kind,
    LeaveReason,
    Member,
    MemberLeft,
    Receipt,
    RemoteSignal,
    Removal,
)
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId
from tests.support.loop import RecordingClient, scheduler, until
from tests.support.rooms import NODE, OTHER, ROOM, THIRD, OtherNodes, SlowBroker, message, signal

if TYPE_CHECKING:
    from collections.abc import Callable

    import pykka

    from mcp_actors.protocol.messages import Targeted
    from mcp_actors.protocol.outgoing import Outgoing, Relayed
    from tests.conftest import ExpectedLogs

OTHER_ROOM = RoomId("room456")
ACK = {"type": "ack", "room": ROOM, "id": 7, "payload": {"status": "delivered"}}


class House:
    """The rooms of one node, and the clients in them."""

    def __init__(self, capacity: int = 10, broker: MemoryBroker | None = None) -> None:
        self.directory = Directory(
            broker or MemoryBroker(), capacity=capacity, max_rooms=10, max_pending_acks=100, max_inbox=100
        )
        self.clients: list[RecordingClient] = []

    def ask_enter(
        self, kind: Kind, name: str, room: RoomId = ROOM, client: RecordingClient | None = None
    ) -> Membership:
        """Ask to join; `entered` is the answer."""
        client = client or RecordingClient()
        incarnation = Incarnation(f"{kind}-{name}-{len(self.clients)}")
        self.clients.append(client)
        ref = self.directory.room(room)
        mail = Call(RoomActor.enter, (Member(kind, PeerId(name), incarnation, NODE, {}), client, False, False))
        return Membership(ref, incarnation, client, ref.ask(mail, block=False))

    async def enter(self, kind: Kind, name: str, **how: Any) -> Membership:
        """Join."""
        membership = self.ask_enter(kind, name, **how)
        await membership.entered
        return membership

    async def peers(self, *names: str, room: RoomId = ROOM) -> list[Membership]:
        """Join as peers, and forget what they were sent."""
        memberships = [await self.enter(Kind.PEER, name, room=room) for name in names]
        self.clear()
        return memberships

    def claim(self, ben: Incarnation) -> Membership:
        """Claim the peer ben of another node; `entered` is the answer."""
        client, ref = RecordingClient(), self.directory.room(ROOM)
        self.clients.append(client)
        member = Member(Kind.PEER, PeerId("ben"), ben, NODE, {}, epoch=1)
        return Membership(ref, ben, client, ref.ask(Call(RoomActor.claim, (member, client)), block=False))

    def clear(self) -> None:
        """Forget what the clients were sent."""
        for client in self.clients:
            client.clear()

    async def retired(self) -> None:
        """Wait until no room is open."""
        await until(lambda: not len(self.directory), "the end of the rooms")


class Membership:
    """One client in one room."""

    def __init__(
        self,
        ref: pykka.ActorRef[RoomActor],
        incarnation: Incarnation,
        client: RecordingClient,
        entered: pykka.Future[Any],
    ) -> None:
        self.ref = ref
        self.incarnation = incarnation
        self.client = client
        self.entered = entered

    def leave(self, request_id: int | None = None) -> pykka.Future[None]:
        """Ask to leave."""
        return self.ask(RoomActor.leave, LeaveReason.LEFT, request_id, True)

    def vanish(self) -> None:
        """Tell that the connection is gone."""
        self.ref.tell(Call(RoomActor.leave, (self.incarnation, LeaveReason.DISCONNECTED)))

    def moderate(self, request: wire.Moderation) -> pykka.Future[None]:
        """Make a moderator's request."""
        return self.ask(RoomActor.moderate, request)

    def ask(self, method: Callable[..., Any], *args: Any) -> pykka.Future[Any]:
        """Ask for a call of a method of the actor."""
        return self.ref.ask(Call(method, (self.incarnation, *args)), block=False)

    def tell(self, request: tuple[Targeted, bytes]) -> None:
        """Send a peer's message."""
        self.ref.tell(Signal(self.incarnation, *request))

    async def signal(self, target: str, request_id: int | None = None) -> None:
        """Send a signal, and wait until the room has handled it."""
        self.tell(signal(target, request_id))
        await self.handled()

    async def handled(self) -> None:
        """Wait until the room has no mail left."""
        await self.ref.actor_inbox.drained()  # type: ignore[attr-defined]

    @property
    def error(self) -> dict[str, Any]:
        """The one message that the client was sent, an error."""
        (found,) = self.client.messages
        assert found["type"] == "error"
        return {"code": found["payload"]["code"], "room": found["room"], "id": found.get("id")}


async def test_a_message_to_many_lets_others_run_and_keeps_the_order_of_the_room() -> None:
    house = House(capacity=300)
    users = [await house.enter(Kind.USER, f"user-{number}") for number in range(201)]
    sender = users[0]
    await sender.handled()
    house.clear()
    sender.ref.tell(Broadcast(sender.incarnation, *message("first", 1)))
    sender.ref.tell(Broadcast(sender.incarnation, *message("second", 2)))
    await scheduler(1)
    reached = sum(bool(user.client.messages) for user in users)
    assert 0 < reached < 200
    await sender.handled()
    for user in users[1:]:
        assert [one["payload"]["content"] for one in user.client.messages] == ["first", "second"]
    assert [one["id"] for one in sender.client.messages] == [1, 2]


def kick(name: str) -> wire.Kick:
    return wire.Kick(room=ROOM, payload=wire.KickPayload(peer_id=PeerId(name)), id=1)


async def awaited(future: pykka.Future[Any]) -> Any:
    return await future


async def test_a_join_is_answered_when_the_client_was_welcomed_and_a_leave_when_it_was_told() -> None:
    house = House()
    ana = await house.enter(Kind.PEER, "ana")
    assert ana.client.types == ["welcome"]
    ben = await house.enter(Kind.PEER, "ben")
    await ana.leave(5)
    assert ana.client.types == ["welcome", "peer-joined", "left"]
    assert ben.client.types == ["welcome", "peer-left"]


async def test_a_room_waits_for_the_broker() -> None:
    broker = SlowBroker()
    house = House(broker=broker)
    ana, ben = house.ask_enter(Kind.PEER, "ana"), house.ask_enter(Kind.PEER, "ben")
    ana.tell(signal("ben", 7))
    await ana.handled()
    await scheduler(3)
    assert ana.ref.is_alive()
    assert ana.client.messages == ben.client.messages == []
    broker.arrive()
    await ben.entered
    assert ana.client.types == ["welcome", "error", "peer-joined"]
    house.clear()
    left = ben.leave(1)
    await ana.signal("ben", 7)
    assert ana.error["code"] == "peer-not-found"
    assert ben.client.messages == []
    broker.arrive()
    await left
    assert ben.client.types == ["left"]


async def test_messages_behind_a_join_are_handled_when_it_is_done() -> None:
    house = House()
    (ben,) = await house.peers("ben")
    ana = house.ask_enter(Kind.PEER, "ana")
    ana.tell(signal("ben", 7))
    locked = ana.moderate(wire.Lock(room=ROOM))
    left = ana.leave()
    for future in (ana.entered, left):
        await future
    with pytest.raises(NotInRoom):
        await locked
    assert ben.client.types[:2] == ["peer-joined", "signal"]
    assert ana.client.types[:2] == ["welcome", "ack"]


async def test_a_refused_join_raises_the_reason() -> None:
    house = House(capacity=2)
    ana, _ = await house.peers("ana", "ben")
    for name, error in (("ana", PeerIdTaken), ("cem", RoomFull)):
        rival = house.ask_enter(Kind.PEER, name)
        rival.tell(signal("ana", 7))
        left = rival.leave()
        with pytest.raises(error):
            await rival.entered
        with pytest.raises(NotInRoom):
            await asyncio.wait_for(awaited(left), 2)
        assert rival.error == {"code": "not-in-room", "room": ROOM, "id": 7}
    assert ana.client.messages == []
    assert ana.ref.is_alive()


async def test_a_room_retires_after_the_last_leave_and_a_refused_join() -> None:
    house = House()
    (ana,) = await house.peers("ana")
    with pytest.raises(PeerIdTaken):
        await house.enter(Kind.PEER, "ana")
    await ana.leave()
    await house.retired()
    assert not ana.ref.is_alive()


async def test_a_room_retires_when_the_only_member_vanishes_while_it_joins() -> None:
    house = House()
    ana = house.ask_enter(Kind.PEER, "ana")
    ana.vanish()
    await ana.entered
    await house.retired()


async def test_leaving_twice_is_answered_twice_and_done_once() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    first, second = ana.leave(1), ana.leave(2)
    await first
    await second
    assert [said.get("id") for said in ana.client.messages] == [1]
    assert ben.client.types == ["peer-left"]


async def test_signals_between_two_peers_arrive_in_order_and_are_acknowledged() -> None:
    house = House()
    ana, ben, cem = await house.peers("ana", "ben", "cem")
    for number in range(300):
        ana.tell(signal("ben", number))
    await ana.handled()
    assert [said["id"] for said in ben.client.messages] == list(range(300))
    assert [said["id"] for said in ana.client.messages] == list(range(300))
    assert cem.client.messages == []


@pytest.mark.parametrize(("target", "code"), [("nobody", "peer-not-found"), ("ana", "bad-message")])
async def test_a_message_that_cannot_be_relayed_is_answered_with_an_error(target: str, code: str) -> None:
    house = House()
    ana, _ = await house.peers("ana", "ben")
    await ana.signal(target, 7)
    assert ana.error == {"code": code, "room": ROOM, "id": 7}
    assert ana.ref.is_alive()


async def test_a_member_that_leaves_can_send_nothing_more() -> None:
    house = House()
    ana = await house.enter(Kind.PEER, "ana")
    uma, vic = await house.enter(Kind.USER, "uma"), await house.enter(Kind.USER, "vic")
    house.clear()
    left = [ana.leave(), uma.leave()]
    ana.tell(signal("ana", 7))
    uma.ref.tell(Broadcast(uma.incarnation, *message("x", 8)))
    for future in left:
        await future
    assert ana.client.messages[0]["payload"]["code"] == uma.client.messages[0]["payload"]["code"] == "not-in-room"
    assert vic.client.types == ["peer-left", "user-left"]


async def test_mail_of_a_stranger_is_not_answered() -> None:
    house = House()
    (ana,) = await house.peers("ana")
    stranger = Membership(ana.ref, Incarnation("stranger"), RecordingClient(), ana.entered)
    await stranger.signal("ana", 7)
    stranger.vanish()
    await stranger.handled()
    assert ana.client.messages == []
    assert ana.ref.is_alive()


async def test_a_broadcast_reaches_every_other_user_though_one_takes_nothing() -> None:
    house = House()
    uma, deaf, vic = [await house.enter(Kind.USER, name) for name in ("uma", "deaf", "vic")]
    house.clear()
    deaf.client.accepts = False
    uma.ref.tell(Broadcast(uma.incarnation, *message({"a": 1}, 7)))
    await uma.handled()
    assert vic.client.types == ["message"]
    assert uma.client.messages == [ACK]


async def test_a_client_that_comes_back_is_welcomed_with_the_last_offset() -> None:
    house = House(broker=(broker := OtherNodes()))
    (ana,) = await house.peers("ana")
    ben = broker.remote(Kind.PEER, "ben")
    broker.say(RemoteSignal(ben, ana.incarnation, b'{"type":"signal"}', 0, offset=b"1-0.0@n"))
    broker.say(Receipt(ana.incarnation, ben, 0, delivered=False))
    await ana.ask(RoomActor.welcome_back)
    assert ana.client.types == ["peer-joined", "signal", "error", "welcome"]
    assert [said.get("at") for said in ana.client.messages] == [None, "1-0.0@n", None, "1-0.0@n"]


class Bug(RecordingClient):
    """A client that breaks the rule that it never fails."""

    def send(self, message: Outgoing | Relayed, bulk: bool = False) -> bool:
        raise RuntimeError("a bug")


@pytest.fixture
def lost(expected_logs: ExpectedLogs) -> None:
    """A room is lost in this test."""
    expected_logs("pykka", "Unhandled exception in room 'room123'")
    expected_logs("mcp_actors.room", "room lost")


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize("by", ["message", "event"])
async def test_a_bug_closes_the_members_of_its_room_only(by: str) -> None:
    house = House()
    ana, gone, rival = *(await house.peers("ana", "gone")), house.ask_enter(Kind.PEER, "ana")
    (eve,) = await house.peers("eve", room=OTHER_ROOM)
    with pytest.raises(PeerIdTaken):
        await rival.entered
    await rival.ask(forget)
    await gone.leave()
    bug = await house.enter(Kind.PEER, "bug", client=Bug())
    if by == "message":
        ana.tell(signal("bug"))
    else:
        ana.vanish()
    late = house.ask_enter(Kind.PEER, "late")
    left = bug.leave()
    for answer in (late.entered, left):
        with pytest.raises(ActorDeadError):
            await asyncio.wait_for(awaited(answer), 2)
    assert not ana.ref.is_alive()
    assert ana.client.closes == bug.client.closes == [CloseCode.ROOM_LOST]
    assert gone.client.closes == rival.client.closes == eve.client.closes == []
    assert eve.ref.is_alive()
    fresh = await house.enter(Kind.PEER, "ana")
    assert [peer.peer_id for peer in fresh.client.welcomes[0].peers] == ["ana"]


@pytest.mark.usefixtures("lost")
async def test_the_requests_that_a_lost_room_was_asked_for_are_answered() -> None:
    broker = SlowBroker()
    house = House(broker=broker)
    ana, bug = house.ask_enter(Kind.PEER, "ana"), house.ask_enter(Kind.PEER, "bug", client=Bug())
    await ana.handled()
    broker.arrive()
    await bug.entered
    left, late = ana.leave(), house.ask_enter(Kind.PEER, "late")
    locked = late.moderate(wire.Lock(room=ROOM))
    await late.handled()
    broker.arrive()
    for answer in (left, late.entered, locked):
        with pytest.raises(ActorDeadError):
            await asyncio.wait_for(awaited(answer), 2)
    assert late.client.closes == [CloseCode.ROOM_LOST]


@pytest.mark.usefixtures("lost")
async def test_a_member_that_leaves_while_it_is_closed_finds_the_room_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    (ana,) = await house.peers("ana")
    await house.enter(Kind.PEER, "bug", client=Bug())
    alive: list[bool] = []
    monkeypatch.setattr(ana.client, "close", lambda _code: alive.append(ana.ref.is_alive()))
    ana.tell(signal("bug"))
    await until(lambda: alive, "the close")
    assert alive == [False]


async def moving_house() -> tuple[House, OtherNodes, Membership, Incarnation]:
    """A house with the local peer ana, and the peer ben at another node."""
    broker = OtherNodes()
    house = House(broker=broker)
    (ana,) = await house.peers("ana")
    ben = broker.remote(Kind.PEER, "ben")
    await ana.handled()
    house.clear()
    return house, broker, ana, ben


async def test_a_claim_is_answered_with_the_move_and_the_member_is_reached_from_then_on() -> None:
    house, broker, ana, ben = await moving_house()
    claimed = house.claim(ben)
    await ana.handled()
    assert [member.incarnation for member in broker.claims] == [ben]
    move = broker.move(ben, NODE)
    assert await claimed.entered == move
    assert broker.cutovers == [move]
    await ana.signal("ben")
    assert claimed.client.types == ["signal"]


async def test_a_refused_claim_is_answered_with_none_and_leaves_nothing() -> None:
    house, broker, ana, ben = await moving_house()
    claimed = house.claim(ben)
    broker.move(ben, THIRD, 2)
    broker.say(ClaimRefused(ben))
    assert await claimed.entered is None
    broker.say(MemberLeft(21, ben, LeaveReason.TIMEOUT))
    await ana.handled()
    assert (claimed.client.closes, claimed.client.messages) == ([], [])
    ana.leave()
    await house.retired()


async def test_a_client_that_moved_is_told_and_told_again_when_the_cutover_is_complete() -> None:
    _house, broker, ana, ben = await moving_house()
    broker.move(ana.incarnation, OTHER, 1, NODE, OTHER, THIRD)
    broker.say(RemoteSignal(ben, ana.incarnation, b'{"type":"signal"}', 5))
    for node in (OTHER, THIRD):
        await ana.handled()
        assert ana.client.told == [("moved", ROOM)]
        broker.say(CutoverAcked(ana.incarnation, node, 1))
    await ana.handled()
    assert ana.client.told == [("moved", ROOM), ("cutover complete", ROOM)]
    assert ana.client.types == ["signal"]


async def test_a_member_that_departs_is_released_and_its_state_returned() -> None:
    house, broker, ana, ben = await moving_house()
    amy = await house.enter(Kind.PEER, "amy")
    await ana.signal("ben", 7)
    house.clear()
    broker.move(ana.incarnation, OTHER, 1, NODE)
    state, member, late = await ana.ask(RoomActor.depart)
    assert [one.id for one in state.pending] == [7]
    assert (member.incarnation, member.node, late) == (ana.incarnation, OTHER, ())
    assert broker.released == [ana.incarnation]
    broker.say(RemoteSignal(ben, ana.incarnation, b'{"type":"signal"}', 5))
    await amy.handled()
    assert ana.client.messages == []
    assert [receipt.delivered for receipt in broker.receipts] == [False]


async def test_a_member_that_departs_before_other_nodes_know_is_released_when_they_do() -> None:
    house, broker, ana, ben = await moving_house()
    broker.move(ana.incarnation, OTHER, 1, NODE, OTHER)
    _, _, late = await ana.ask(RoomActor.depart)
    assert late == (OTHER,)
    broker.say(RemoteSignal(ben, ana.incarnation, b'{"type":"signal"}', 5))
    await until(lambda: broker.receipts, "the receipt")
    assert [(receipt.delivered, receipt.moved) for receipt in broker.receipts] == [(False, True)]
    assert broker.released == []
    broker.say(CutoverAcked(ana.incarnation, OTHER, 1))
    await house.retired()
    assert broker.released == [ana.incarnation]


async def test_a_member_that_left_while_it_moved_has_no_state() -> None:
    _house, broker, ana, _ben = await moving_house()
    broker.move(ana.incarnation, OTHER, 1, NODE)
    broker.say(MemberLeft(21, ana.incarnation, LeaveReason.TIMEOUT))
    assert await ana.ask(RoomActor.depart) is None


async def test_the_end_of_a_session_that_moved_is_no_leave() -> None:
    house, broker, ana, _ben = await moving_house()
    broker.move(ana.incarnation, OTHER, 1, NODE)
    ana.vanish()
    await house.retired()
    assert broker.released == [ana.incarnation]


async def test_a_member_that_moved_is_answered_nothing_at_its_old_node() -> None:
    house, broker, ana, _ben = await moving_house()
    broker.move(ana.incarnation, OTHER, 1, NODE, OTHER)
    await ana.leave(7)
    await ana.moderate(kick("ben"))
    await ana.signal("ben", 8)
    assert ana.client.messages == []
    assert broker.released == []
    ana.vanish()
    await house.retired()


@pytest.mark.parametrize("lives", [True, False])
async def test_a_leave_that_comes_after_the_move_is_answered(lives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(broker=(broker := OtherNodes()))
    (ana,) = await house.peers("ana")
    monkeypatch.setattr(ana.client, "moved", lambda _room: lives)
    monkeypatch.setattr(broker, "leave", lambda *_args: None)
    left = ana.leave(7)
    await ana.handled()
    broker.move(ana.incarnation, OTHER, 1, NODE, THIRD)
    await left
    assert broker.released == ([] if lives else [ana.incarnation])
    if lives:
        ana.vanish()
    await house.retired()


async def test_a_claimed_member_goes_on_with_what_its_old_node_knew() -> None:
    house, broker, ana, ben = await moving_house()
    claimed = house.claim(ben)
    broker.move(ben, NODE)
    await claimed.entered
    pending = [handover.Pending(3, 7, PeerId("ana"), {ana.incarnation: 0}, None)]
    state = handover.Handover(handover.MemberState(pending=pending), handover.SessionState(4, [b"{}"]))
    broker.say(HandedOver(ben, handover.pack(state)))
    broker.say(HandedOver(Incarnation("nobody"), b""))
    broker.say(Receipt(ben, ana.incarnation, 3, delivered=True))
    await claimed.ask(RoomActor.adopt, handover.MemberState(watching=True))
    await ana.ask(RoomActor.set_presence, True)
    missed = [RemoteSignal(ana.incarnation, ben, b'{"x":1}', 9)]
    await claimed.ask(RoomActor.recover, Recovered(missed, known=True))
    assert claimed.client.told == [("handed over", ROOM, state), ("recovered", b'{"x":1}')]
    await ana.handled()
    assert claimed.client.types == ["ack", "peer-away"]
    assert [receipt.delivery_id for receipt in broker.receipts] == [9]


async def test_a_kick_is_answered_when_it_is_done_and_the_client_is_told() -> None:
    ana, ben = await House().peers("ana", "ben")
    await ana.moderate(kick("ben"))
    assert ana.client.types == ["peer-left", "kicked"]
    assert (ben.client.types, ben.client.told) == (["kicked"], [("removed", ROOM, Removal(LeaveReason.KICKED))])
    assert (ben.client.closes, ana.client.told) == ([], [])
    with pytest.raises(PeerNotFound):
        await ana.moderate(kick("ben"))


async def test_a_room_that_is_closed_removes_its_members_and_retires() -> None:
    house = House()
    ana, ben = await house.peers("ana", "ben")
    left = ben.leave(1)
    await ana.moderate(wire.CloseRoom(room=ROOM, id=1))
    await left
    assert ana.client.types == ["peer-left", "room-closed"]
    assert ana.client.told == [("removed", ROOM, Removal(LeaveReason.ROOM_CLOSED))]
    await house.retired()


async def test_a_leave_is_answered_when_its_room_is_closed_first() -> None:
    broker = SlowBroker()
    house = House(broker=broker)
    ana, ben = house.ask_enter(Kind.PEER, "ana"), house.ask_enter(Kind.PEER, "ben")
    await scheduler(3)
    broker.arrive()
    await ben.entered
    closed, left = ana.moderate(wire.CloseRoom(room=ROOM)), ben.leave(1)
    await scheduler(3)
    broker.arrive()
    await closed
    await left
    assert ben.client.types[-1] == "room-closed"


async def test_an_offer_to_another_node_is_published_with_its_stamp_and_number() -> None:
    house = House(broker=(broker := OtherNodes()))
    (ana,) = await house.peers("ana")
    ben = broker.remote(Kind.PEER, "ben")
    payload = {"target_peer_id": "ben", "offer": {"sdp": "v=0"}}
    frame = json.dumps({"type": "offer", "room": ROOM, "payload": payload, "id": 7}).encode()
    offer = wire.Offer(
        room=ROOM,
        id=7,
        payload=wire.OfferPayload(target_peer_id=PeerId("ben"), offer=wire.OfferDescription(b"")),  # type: ignore[arg-type]
    )
    ana.tell((offer, frame))
    await ana.handled()
    ((sender, target, sent, delivery_id),) = broker.sent
    assert (sender, target, delivery_id) == (ana.incarnation, ben, 1)
    assert json.loads(sent) == {"sender": "ana", "negotiation": json.loads(sent)["negotiation"], **json.loads(frame)}
