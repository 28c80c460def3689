"""The ICE servers of a peer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from mcp_actors.auth.grants import Grant
from mcp_actors.auth.ice_servers import IceServerList, IceServerSource
from mcp_actors.auth.turn import TurnServers

STUN = {"urls": "stun:stun.example.com"}
OTHER = {"urls": "stun:other.example.com"}
TURN = TurnServers(("turn:turn.example.com",), "secret", 600)
NOW = 1_764_052_449.0


def source(*fixed: dict[str, Any]) -> IceServerSource:
    return IceServerSource(fixed, TURN, clock=lambda: NOW)


def test_without_turn_servers_nothing_expires() -> None:
    assert IceServerSource().servers_for(None, "alice") == IceServerList((), UNSET)
    assert IceServerSource((STUN,)).servers_for(None, "alice") == IceServerList((STUN,), UNSET)


@pytest.mark.parametrize(
    ("grant", "fixed"),
    [
        (None, [STUN]),
        (Grant("alice"), [STUN]),
        (Grant("alice", ice_servers=[OTHER]), [OTHER]),
        (Grant("alice", ice_servers=[]), []),
    ],
)
def test_turn_servers_stand_beside_those_of_the_settings_or_of_the_grant(
    grant: Grant | None, fixed: list[dict[str, Any]]
) -> None:
    found = source(STUN).servers_for(grant, "alice")
    assert found == IceServerList([*fixed, TURN.ice_server("alice", NOW)], 600)


def test_a_peer_without_a_user_gets_no_credentials() -> None:
    assert source(STUN).servers_for(None, None) == IceServerList((STUN,), UNSET)
