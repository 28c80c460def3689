from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mcp_actors.protocol.events import Kind, LeaveReason, Member, MissedChange
from mcp_actors.protocol.identifiers import Incarnation, PeerId, RequestId, UserId
from mcp_actors.room import announcements
from mcp_actors.room.announcements import Target
from tests.support.rooms import NODE, ROOM

if TYPE_CHECKING:
    from mcp_actors.protocol.messages import ServerMessage

ZOE = Member(Kind.PEER, PeerId("zoe"), Incarnation("z"), NODE, {"x": 1}, order=4, detached=True)


def said(message: ServerMessage | None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(message)
    assert found.pop("room") == ROOM
    return found


def test_a_detached_peer_is_shown_as_away() -> None:
    entry = msgspec.to_builtins(announcements.peer_entry(ZOE))
    assert entry == {"peer_id": "zoe", "metadata": {"x": 1}, "order": 4, "away": True}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (MissedChange(PeerId("zoe"), ZOE), "peer-joined"),
        (MissedChange(PeerId("zoe"), reason=LeaveReason.TIMEOUT), "peer-left"),
        (MissedChange(PeerId(""), locked=True), "room-locked"),
        (MissedChange(PeerId(""), locked=False), "room-unlocked"),
        (MissedChange(PeerId("zoe"), detached=True), "peer-away"),
        (MissedChange(PeerId("zoe"), detached=False), "peer-back"),
    ],
)
def test_a_missed_change_is_announced_as_it_would_have_been(change: MissedChange, kind: str) -> None:
    assert said(announcements.missed(ROOM, change, watching=True))["type"] == kind
    only_if_watching = kind in ("peer-away", "peer-back")
    assert (announcements.missed(ROOM, change, watching=False) is None) is only_if_watching


@pytest.mark.parametrize("target", [Target(Kind.PEER, PeerId("a")), Target(Kind.USER, UserId("a"))])
@pytest.mark.parametrize("request_id", [None, 0, "", 7])
def test_a_kicked_member_is_named_by_its_id(target: Target, request_id: RequestId | None) -> None:
    expected = {"type": "kicked", "payload": {f"{target.kind}_id": "a"}}
    found = said(announcements.kicked(ROOM, target, request_id))
    assert found == (expected if request_id is None else {**expected, "id": request_id})


def test_the_ack_of_an_offer_has_its_number() -> None:
    assert said(announcements.ack(ROOM, 0)) == {"type": "ack", "id": 0, "payload": {"status": "delivered"}}
    payload = {"status": "queued", "negotiation": 3}
    assert said(announcements.ack(ROOM, "x", "queued", 3)) == {"type": "ack", "id": "x", "payload": payload}
