"""Store and forward: what becomes of messages to peers that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.errors import PeerNotFound
from mcp_actors.protocol.events import Kind, LeaveReason, MemberLeft, PresenceChanged, Receipt, Unsubscribed
from mcp_actors.protocol.identifiers import Incarnation, PeerId
from mcp_actors.room.effects import ExpireLater
from mcp_actors.room.rules import RoomRules
from tests.support.rooms import OTHER, World, decoded, signal

if TYPE_CHECKING:
    from mcp_actors.room.effects import Publish

RULES = RoomRules(10, silent=True, patience=5.0, max_waiting_messages=2, max_waiting_bytes=100_000)
ADA, BOB = PeerId("ada"), PeerId("bob")


class Stage:
    """A room with store and forward, and ada at this node."""

    def __init__(self) -> None:
        self.world = World(rules=RULES)
        self.ada = self.world.peer("ada")
        self.world.sent[self.ada].clear()

    def send(self, target: str, data: object = 1) -> None:
        """Send a message of ada, as the room's actor does."""
        request, frame = signal(target, payload={"target_peer_id": target, "data": data})
        try:
            effect = self.world.room.delivery.relay(self.ada, request, frame)
        except PeerNotFound as error:
            self.world.apply(self.world.room.undelivered(self.ada, request, frame, error))
        else:
            self.world.apply([] if effect is None else [effect])

    @property
    def expiring(self) -> list[ExpireLater]:
        """The batches that are to expire."""
        return [effect for effect in self.world.effects if isinstance(effect, ExpireLater)]

    def expire(self, batch: ExpireLater) -> None:
        """Let the time of a batch pass."""
        assert self.world.room.forwarding is not None
        self.world.apply(self.world.room.forwarding.expired(batch.sender, batch.target, batch.batch))

    def told(self, member: Incarnation | None = None) -> list[object]:
        """The data or the error codes that a member was sent."""
        sent = self.world.sent[member or self.ada]
        return [one["payload"].get("data", one["payload"].get("code")) for one in sent if "payload" in one]

    def receipt(self, published: Publish, *, delivered: bool) -> None:
        """Let the receipt for a message to another node arrive."""
        receipt = Receipt(self.ada, published.to[0].incarnation, published.delivery_id, delivered=delivered)
        self.world.hear(receipt)

    def data(self, published: Publish) -> object:
        """The data of a message to another node."""
        return decoded(published.message)["payload"]["data"]


def test_messages_for_an_absent_peer_follow_its_welcome_in_order_and_expire_no_more() -> None:
    stage = Stage()
    stage.send("bob", 1)
    stage.send("bob", 2)
    assert stage.expiring == [ExpireLater(ADA, BOB, 1, 5.0)]
    bob = stage.world.peer("bob")
    assert [one["type"] for one in stage.world.sent[bob]] == ["welcome", "signal", "signal"]
    assert stage.told(bob) == [1, 2]
    stage.expire(stage.expiring[0])
    assert stage.told() == []


def test_the_sender_is_told_once_when_nobody_came() -> None:
    stage = Stage()
    stage.send("bob", 1)
    stage.send("bob", 2)
    stage.expire(stage.expiring[0])
    assert stage.told() == ["peer-not-found"]
    assert stage.world.sent[stage.ada][0]["payload"]["details"] == {"peer_id": "ada", "target_peer_id": "bob"}
    assert stage.told(stage.world.peer("bob")) == []


def test_a_sender_is_told_at_once_when_no_more_of_its_messages_may_wait() -> None:
    stage = Stage()
    for number in range(3):
        stage.send("bob", number)
    assert stage.told() == ["peer-not-found"]
    assert stage.told(stage.world.peer("bob")) == [0, 1]


def test_a_message_for_a_peer_that_comes_at_another_node_goes_there() -> None:
    stage = Stage()
    stage.send("bob", 1)
    stage.world.remote(Kind.PEER, "bob", OTHER)
    (published,) = stage.world.published
    assert stage.data(published) == 1
    assert published.delivery_id


def test_a_message_that_reached_its_node_is_not_sent_again_when_the_target_leaves() -> None:
    stage = Stage()
    bob = stage.world.remote(Kind.PEER, "bob", OTHER)
    stage.send("bob", 1)
    stage.receipt(stage.world.published[0], delivered=True)
    stage.world.remote_leaves(bob)
    assert stage.told(stage.world.peer("bob")) == []
    assert stage.expiring == []


def test_a_message_that_a_killed_node_did_not_confirm_follows_its_target() -> None:
    stage = Stage()
    bob = stage.world.remote(Kind.PEER, "bob", OTHER)
    stage.send("bob", 1)
    stage.world.remote_leaves(bob)
    assert stage.told(stage.world.peer("bob")) == [1]
    stage.receipt(stage.world.published[0], delivered=True)
    assert stage.told() == []


def test_a_message_whose_target_was_gone_when_it_arrived_waits() -> None:
    stage = Stage()
    stage.world.remote(Kind.PEER, "bob", OTHER)
    stage.send("bob", 1)
    stage.receipt(stage.world.published[0], delivered=False)
    stage.expire(stage.expiring[0])
    assert stage.told() == ["peer-not-found"]


def test_messages_to_a_peer_whose_node_is_lost_wait_and_expire() -> None:
    stage = Stage()
    bob = stage.world.remote(Kind.PEER, "bob", OTHER)
    stage.send("bob", 1)
    stage.world.hear(PresenceChanged(99, bob, detached=True))
    stage.send("bob", 2)
    assert len(stage.world.published) == 1
    stage.expire(stage.expiring[0])
    assert stage.told() == ["peer-not-found"]


def test_what_a_sender_left_behind_still_reaches_a_target_at_this_node() -> None:
    stage = Stage()
    other = stage.world.peer("eve")
    stage.send("bob", 1)
    stage.world.hear(MemberLeft(99, stage.ada, LeaveReason.DISCONNECTED))
    bob = stage.world.peer("bob")
    assert stage.told(bob) == [1]
    assert stage.world.sent[bob][-1]["sender"] == "ada"
    assert stage.told(other) == []


def test_an_empty_room_forgets_what_waits() -> None:
    stage = Stage()
    stage.send("bob", 1)
    assert stage.world.room.forwarding is not None
    stage.world.leave(stage.ada)
    stage.world.room.heard(Unsubscribed())
    assert stage.world.room.forwarding.mailbox.bytes == 0


def test_members_of_a_silent_room_hear_nothing_of_each_other() -> None:
    world = World(rules=RULES)
    first, second = world.peer("a"), world.peer("b")
    far = world.remote(Kind.PEER, "c", OTHER)
    assert [entry.peer_id for entry in world.welcomes[second].peers] == ["b"]
    world.remote_leaves(far)
    world.leave(second)
    assert [one["type"] for one in world.sent[first]] == ["welcome"]
    assert world.room.roster.audience_size(Kind.PEER) == 0


def test_a_room_with_rules_has_their_capacity() -> None:
    assert World(capacity=500, rules=RULES).room.capacity == RULES.capacity
