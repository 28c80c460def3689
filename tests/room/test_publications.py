"""Publications: to whom they go, and how rooms learn names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw

from mcp_actors.protocol.errors import NotInRoom, Unavailable
from mcp_actors.protocol.events import Kind, RemoteBroadcast, RemoteSignal, Unsubscribed
from mcp_actors.protocol.identifiers import Incarnation, PeerId
from mcp_actors.protocol.messages import Message, Signal, SignalPayload
from mcp_actors.room.rules import RoomRules
from tests.support.rooms import OTHER, ROOM, THIRD, World

if TYPE_CHECKING:
    from mcp_actors.room.publications import Publications

RULES = RoomRules(10, silent=True, named=True)


class Stage:
    """A room with names, and its members at this node."""

    def __init__(self, *users: str, **limits: int) -> None:
        self.world = World(rules=RULES, **limits)
        self.users = {name: self.world.user(name) for name in users}
        self.world.clear()

    @property
    def publications(self) -> Publications:
        """Those of the room."""
        assert self.world.room.publications is not None
        return self.world.room.publications

    def send(self, sender: str, to: str = "", text: bytes = b'{"n":1}', name: str | None = None) -> None:
        """Publish under the name of a user, or another one."""
        request = signal(to) if to else None
        found = self.publications.send(self.users[sender], sender if name is None else name, request, text)
        self.world.apply(found)

    def heard(self, user: str) -> list[Any]:
        """What a user has heard: the sender and the rest of each message."""
        return [(one["sender"], one["n"]) for one in self.world.sent[self.users[user]]]


def signal(to: str) -> Signal:
    return Signal(room=ROOM, payload=SignalPayload(target_peer_id=PeerId(to), data=Raw(b"null")))


def test_a_message_goes_to_all_others_or_to_those_with_a_name() -> None:
    stage = Stage("ada", "bob", "eve")
    stage.send("bob")
    stage.send("ada", "bob", b'{"n":2}')
    assert stage.heard("ada") == [("bob", 1)]
    assert stage.heard("bob") == [("ada", 2)]
    assert stage.heard("eve") == [("bob", 1)]


def test_a_message_for_an_unknown_name_goes_to_all() -> None:
    stage = Stage("ada", "bob", "eve")
    stage.send("ada", "nobody")
    assert stage.heard("bob") == stage.heard("eve") == [("ada", 1)]
    stage.send("eve", name="bob")
    stage.send("ada", "bob", b'{"n":2}')
    assert stage.heard("bob") == [("ada", 1), ("bob", 1)]
    assert stage.heard("eve") == [("ada", 1), ("ada", 2)]


def test_a_member_without_a_name_has_an_empty_one() -> None:
    stage = Stage("ada", "bob")
    stage.send("ada", name="")
    assert stage.heard("bob") == [("", 1)]


def test_a_message_for_the_name_of_its_sender_alone_goes_nowhere() -> None:
    stage = Stage("ada", "bob")
    stage.send("ada", "ada")
    stage.send("ada", "ada")
    assert stage.heard("ada") == []


def test_messages_behind_a_join_wait_with_their_names() -> None:
    stage = Stage("ada")
    stage.users["bob"] = stage.world.ask_join(Kind.USER, "bob")
    stage.send("bob", name="b")
    stage.send("bob", "ada", b'{"n":2}', name="b")
    assert stage.heard("ada") == []
    stage.world.hear()
    assert stage.heard("ada") == [("b", 1), ("b", 2)]
    stage.send("ada", "b", b'{"n":3}')
    assert stage.world.sent[stage.users["bob"]][-1]["n"] == 3


def test_only_so_many_messages_wait_and_none_of_a_member_that_is_gone() -> None:
    stage = Stage("ada", max_pending_messages=1)
    stage.users["bob"] = stage.world.ask_join(Kind.USER, "bob")
    stage.send("bob")
    with pytest.raises(Unavailable):
        stage.send("bob")
    stage.users["eve"] = Incarnation("gone.1")
    with pytest.raises(NotInRoom):
        stage.send("eve")
    stage.world.ask_leave(stage.users["ada"])
    stage.send("ada")  # it is leaving, and nobody hears it


def test_names_at_other_nodes_are_learned_from_what_arrives() -> None:
    stage = Stage("ada")
    bob, eve = stage.world.remote(Kind.USER, "bob"), stage.world.remote(Kind.USER, "eve", THIRD)
    stage.world.clear()
    stage.world.hear(RemoteBroadcast(bob, stage.users["ada"], b'{"sender":"b","n":1}', 0))
    stage.world.hear(RemoteSignal(eve, stage.users["ada"], b'{"sender":"e","n":2}', 0))
    assert stage.heard("ada") == [("b", 1), ("e", 2)]
    for name, member, node in (("b", bob, OTHER), ("e", eve, THIRD)):
        stage.world.published.clear()
        stage.send("ada", name)
        (sent,) = stage.world.published
        assert isinstance(sent.message.request, Signal)
        assert [(one.incarnation, one.node) for one in sent.to] == [(member, node)]
    stage.world.published.clear()
    stage.send("ada")
    (sent,) = stage.world.published
    assert isinstance(sent.message.request, Message)
    assert [one.node for one in sent.to] == [OTHER, THIRD]


def test_what_strangers_send_and_members_without_a_name_teach_nothing() -> None:
    stage = Stage("ada")
    bob = stage.world.remote(Kind.USER, "bob")
    names = stage.world.room.roster.names
    assert names is not None
    stage.world.hear(RemoteBroadcast(bob, stage.users["ada"], b'{"sender":"","n":1}', 0))
    stage.world.hear(RemoteBroadcast(Incarnation("x"), stage.users["ada"], b'{"sender":"x","n":1}', 0))
    assert names.size == (0, 0)


def test_names_are_forgotten_with_their_members_and_with_the_room() -> None:
    stage = Stage("ada", "bob", "eve")
    names = stage.world.room.roster.names
    assert names is not None
    for user in stage.users:
        stage.send(user)
    assert names.size == (3, 3)
    stage.world.leave(stage.users["bob"])
    assert names.size == (2, 2)
    stage.world.hear(Unsubscribed())
    assert names.size == (0, 0)
    assert Stage().world.room.capacity == RULES.capacity


def test_a_join_in_a_silent_room_names_nobody_and_counts_who_hears_the_member() -> None:
    stage = Stage("ada", "bob")
    bob = stage.world.welcomes[stage.users["bob"]]
    assert (bob.users, bob.unlisted) == ([], 1)
    assert "user-joined" not in stage.world.types(stage.users["ada"])
