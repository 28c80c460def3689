from __future__ import annotations

from typing import Any

import msgspec
import pytest

from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RoomId, UserId
from mcp_actors.protocol.messages import PeerEntry, UserEntry
from mcp_actors.room.effects import Welcome
from mcp_actors.sessions.greeting import Greeting, Greetings, join_reply

ROOM = RoomId("r")
ANA = PeerEntry(PeerId("ana"), {"a": 1}, 1)
ENTRY = {"peer_id": "ana", "metadata": {"a": 1}, "order": 1}
STUN = {"urls": "stun:stun.test"}


def reply(kind: Kind, greeting: Greeting, *, locked: bool = False) -> dict[str, Any]:
    users = [UserEntry(UserId("uma"))] if kind is Kind.USER else []
    welcome = Welcome(Incarnation("i"), PeerId("ana"), [ANA], users, 1, 7, locked)
    found: dict[str, Any] = msgspec.to_builtins(join_reply(kind, ROOM, welcome, greeting))
    return found


def test_a_peer_is_shown_the_room_and_its_session() -> None:
    said = reply(Kind.PEER, Greeting(7, [STUN], "token", resumed=True, complete=True))
    assert said == {
        "type": "joined",
        "room": "r",
        "id": 7,
        "payload": {
            "peer_id": "ana",
            "order": 1,
            "peers": [ENTRY],
            "ice_servers": [STUN],
            "resume": "token",
            "resumed": True,
            "complete": True,
        },
    }


def test_a_peer_is_told_when_its_ice_servers_end() -> None:
    assert reply(Kind.PEER, Greeting(ice_servers=[STUN], ice_servers_expire_in=60))["payload"] == {
        "peer_id": "ana",
        "order": 1,
        "peers": [ENTRY],
        "ice_servers": [STUN],
        "ice_servers_expire_in": 60,
    }


def test_a_user_is_shown_the_room() -> None:
    said = reply(Kind.USER, Greeting("x"))
    assert said == {
        "type": "room-joined",
        "room": "r",
        "id": "x",
        "payload": {"users": [{"user_id": "uma"}], "peers": [ENTRY]},
    }


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("request_id", [None, 0, ""])
def test_a_reply_has_the_id_of_the_join_if_that_had_one(kind: Kind, request_id: int | str | None) -> None:
    said = reply(kind, Greeting(request_id))
    assert said.get("id") == request_id
    assert ("id" in said) is (request_id is not None)


@pytest.mark.parametrize("kind", Kind)
def test_a_locked_room_is_shown_as_locked(kind: Kind) -> None:
    assert reply(kind, Greeting(), locked=True)["payload"]["locked"] is True


def test_a_new_session_is_neither_resumed_nor_complete() -> None:
    assert Greeting(resume="token").fields() == {"resume": "token", "resumed": False}
    assert Greeting().fields() == {}


def test_the_terms_of_the_connection_are_told_with_or_without_a_session() -> None:
    terms = {"ping_interval": 10.0, "max_message_bytes": 65_536}
    assert Greeting(terms=terms).fields() == terms
    assert Greeting(resume="token", terms=terms).fields() == {**terms, "resume": "token", "resumed": False}
    assert reply(Kind.PEER, Greeting(terms=terms))["payload"].items() >= terms.items()
    assert not reply(Kind.USER, Greeting(terms=terms))["payload"].keys() & terms.keys()


def test_greetings_wait_for_the_reply_of_their_room_in_order() -> None:
    greetings, first, second, other = Greetings(), Greeting(1), Greeting(2), Greeting(3)
    for room, greeting in ((ROOM, first), (ROOM, second), (RoomId("other"), other)):
        greetings.add(room, greeting)
    assert [greetings.take(ROOM) for _ in range(3)] == [first, second, Greeting()]
    assert list(greetings) == ["other"]


def test_a_greeting_whose_join_failed_is_discarded_and_no_equal_one() -> None:
    greetings, failed, equal = Greetings(), Greeting(1), Greeting(1)
    greetings.add(ROOM, failed)
    greetings.add(ROOM, equal)
    greetings.discard(ROOM, failed)
    greetings.discard(ROOM, failed)
    assert greetings.take(ROOM) is equal
    assert not greetings
