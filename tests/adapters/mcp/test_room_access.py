"""Which rooms a caller may see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcp_actors.adapters.mcp.caller import Caller
from mcp_actors.adapters.mcp.room_access import RoomAccess
from mcp_actors.auth.authorization import Admission, Handshake
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.identifiers import NodeId, RoomId
from mcp_actors.room.rules import RoomRules, RuleBook
from tests.support.agents import holder

ROOM, OF_GATEWAY = RoomId("team-1"), RoomId("peerjs:k")


def _access(*, is_open: bool) -> RoomAccess:
    node = Node(
        NodeId("n"),
        MemoryBroker(),
        room_capacity=9,
        max_rooms=9,
        max_inbox=9,
        max_pending_acks=9,
        rules=RuleBook({OF_GATEWAY: RoomRules(9, gateway="PeerJS")}),
    )
    return RoomAccess(node, is_open=is_open)


def _asked(caller: Caller) -> Caller:
    return replace(caller, admission=Admission(Handshake("user", {}, {}, "127.0.0.1"), caller.grant))


@pytest.mark.parametrize(
    ("caller", "sees"),
    [
        (holder("ada"), True),
        (holder("ada", "team-*"), True),
        (holder("ada", "other"), False),
        (Caller("127.0.0.1"), False),
        (Caller("127.0.0.1", is_operator=True), True),
        (_asked(holder("ada")), False),
        (_asked(holder("ada", "team-1")), True),
    ],
    ids=["all rooms", "a pattern", "another room", "no token", "operator", "asked at joins", "granted at once"],
)
def test_a_caller_sees_the_rooms_that_it_may_enter(caller: Caller, sees: bool) -> None:
    assert _access(is_open=False).may_see(caller, ROOM) is sees


def test_a_server_without_tokens_shows_its_rooms_but_those_of_gateways() -> None:
    access = _access(is_open=True)
    assert access.may_see(Caller("127.0.0.1"), ROOM)
    assert not access.may_see(Caller("127.0.0.1"), OF_GATEWAY)
