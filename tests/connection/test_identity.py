"""The identity and the permissions of a client."""

from __future__ import annotations

import pytest

from mcp_actors.auth.authentication import Authentication
from mcp_actors.auth.authorization import Admission, Handshake
from mcp_actors.auth.grants import Grant, Permission
from mcp_actors.connection.identity import MAX_ROOM_GRANTS, Identity
from mcp_actors.protocol.errors import BadMessage, Forbidden, Unauthorized
from mcp_actors.protocol.identifiers import RoomId
from mcp_actors.sessions import VERIFIED

TOKENS = {
    "alice": Grant("alice", None, frozenset({Permission.SIGNAL}), 2000.0),
    "listener": Grant("listener", ("team-*",), frozenset(), 2000.0),
    "moderator": Grant("moderator", None, frozenset({Permission.MODERATE}), 2000.0),
}


def identity(token: str | None = None, *, required: bool = False) -> Identity:
    authentication = Authentication(TOKENS.__getitem__, required=required, timeout=1, notice=1, leeway=0)
    found = Identity(authentication, Permission.SIGNAL)
    if token is not None:
        found.authenticate(token)
    return found


def test_an_id_is_claimed_where_there_are_no_tokens() -> None:
    anyone = Identity(None, Permission.SIGNAL)
    assert anyone.resolve("a", "payload.peer_id") == "a"
    assert anyone.session_owner("a") == "a"
    assert anyone.may_send
    with pytest.raises(BadMessage) as error:
        anyone.resolve(None, "payload.peer_id")
    assert error.value.details == {"field": "payload.peer_id"}
    with pytest.raises(BadMessage):
        anyone.authenticate("alice")


def test_an_id_is_claimed_without_an_optional_token_and_cannot_be_without_a_required_one() -> None:
    assert identity().resolve("a", "f") == "a"
    assert identity().may_send
    assert not identity(required=True).may_send
    with pytest.raises(Unauthorized):
        identity(required=True).resolve("a", "f")
    assert isinstance(identity(required=True).refusal(), Unauthorized)


def test_the_id_of_a_token_is_the_only_one() -> None:
    alice = identity("alice", required=True)
    assert alice.resolve(None, "f") == alice.resolve("alice", "f") == "alice"
    assert alice.session_owner("anything") == f"{VERIFIED}alice"
    assert alice.verified
    with pytest.raises(Forbidden):
        alice.resolve("mallory", "f")


def test_a_token_says_whether_its_client_may_send_and_where() -> None:
    listener = identity("listener")
    assert not listener.may_send
    assert isinstance(listener.refusal(), Forbidden)
    listener.expect_room(RoomId("team-1"))
    with pytest.raises(Forbidden):
        listener.expect_room(RoomId("other"))
    identity().expect_room(RoomId("other"))


@pytest.mark.parametrize("who", [Identity(None, Permission.SIGNAL), identity(), identity("alice")])
def test_only_a_token_lets_a_client_moderate(who: Identity) -> None:
    identity("moderator").expect_moderator(RoomId("r"))
    assert identity("moderator").may_moderate(RoomId("r"))
    assert not who.may_moderate(RoomId("r"))
    with pytest.raises(Forbidden):
        who.expect_moderator(RoomId("r"))


def test_grants_for_rooms_that_the_client_is_not_in_are_forgotten_when_there_are_many() -> None:
    found = Identity(None, Permission.SIGNAL)
    found.admit(Admission(Handshake("peer", {}, {}, "192.0.2.1"), None))
    for number in range(3 * MAX_ROOM_GRANTS):
        found.admit_to(RoomId(str(number)), Grant("alice"), {RoomId("0")})
    assert RoomId("0") in found.in_rooms
    assert len(found.in_rooms) <= MAX_ROOM_GRANTS
