"""Credentials for TURN servers, and the users in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.auth.turn import TurnServers, turn_user

URLS = ("turn:turn.example.com:3478", "turns:turn.example.com:5349?transport=tcp")


def test_a_user_name_has_its_end_and_the_password_is_its_hmac() -> None:
    server = TurnServers(URLS, "north", 3600).ice_server("alice", 1_764_052_449.9)
    # printf 1764056049:alice | openssl dgst -sha1 -hmac north -binary | base64
    assert server == {
        "urls": list(URLS),
        "username": "1764056049:alice",
        "credential": "bouW+E+OsLFwqKXOBiRNkeIPm4g=",
    }


def test_the_password_changes_with_the_secret_the_user_and_the_time() -> None:
    servers = [
        TurnServers(URLS, secret, ttl).ice_server(user, now)
        for secret, ttl, user, now in [
            *[("north", 60, "alice", 0.0), ("south", 60, "alice", 0.0), ("north", 61, "alice", 0.0)],
            *[("north", 60, "bob", 0.0), ("north", 60, "alice", 2.0)],
        ]
    ]
    assert len({server["credential"] for server in servers}) == len(servers)


@pytest.mark.parametrize(
    ("peer_id", "user"),
    [
        ("alice", "alice"),
        ("Ada.Lovelace_1-2@example.com", "Ada.Lovelace_1-2@example.com"),
        ("a:b", "a%3Ab"),
        ("Miles O'Brien", "Miles%20O%27Brien"),
        ('"\\', "%22%5C"),
        ("~%", "%7E%25"),
        ("Zoë", "Zo%C3%AB"),
        ("x" * 64, "x" * 64),
    ],
)
def test_the_user_is_the_id_in_characters_that_coturn_takes(peer_id: str, user: str) -> None:
    assert turn_user(peer_id, "r", verified=True) == user


@pytest.mark.parametrize("peer_id", ["x" * 65, "é" * 11, "the Reunion selection", "SELECT from the UNION", "😀" * 1024])
def test_a_digest_takes_the_place_of_an_id_that_coturn_would_not_take(peer_id: str) -> None:
    user = turn_user(peer_id, "r", verified=True)
    assert len(user) == 25
    assert user.startswith("~")
    assert turn_user(f"{peer_id}.", "r", verified=True) != user


def test_a_claimed_id_is_another_user_in_each_room_and_never_one_with_a_token() -> None:
    users = {turn_user("alice", room, verified=verified) for room in ("r", "s") for verified in (False, True)}
    assert len(users) == 3
    assert "alice" in users


@given(
    st.text(min_size=1, max_size=1024),
    st.text(min_size=1),
    st.text(min_size=1, max_size=1024),
    st.text(),
    st.booleans(),
)
def test_no_two_peers_are_the_same_user(one: str, room: str, other: str, another_room: str, verified: bool) -> None:
    user = turn_user(one, room, verified=verified)
    assert user.isascii()
    assert not set(user) & set(" :'\"\\\t\r\n")
    assert not ("union" in user.lower() and "select" in user.lower())
    assert len(user) <= 73
    assert (turn_user(other, another_room, verified=verified) == user) is (
        one == other and (verified or room == another_room)
    )
