"""The id and the body of webhooks."""

from __future__ import annotations

import json

from mcp_actors.broker.event_log import EventType, Logged
from mcp_actors.webhooks.payload import Dropped, payload_of
from tests.webhooks.events import event

AT = 1_764_532_800.25


def body(kind: EventType) -> dict[str, object]:
    decoded: dict[str, object] = json.loads(payload_of(Logged("1", AT, event(7, kind=kind))).body)
    return decoded


def test_a_member_is_described_without_what_only_the_server_may_know() -> None:
    joined, left = body(EventType.MEMBER_JOINED), body(EventType.MEMBER_LEFT)
    data = joined["data"]
    assert isinstance(data, dict)
    membership = data.pop("membership")
    assert joined == {"type": "member-joined", "timestamp": "2025-11-30T20:00:00.250Z", "data": data}
    assert data == {"room": "r", "kind": "peer", "id": "7", "verified": False, "metadata": {"n": 7}}
    assert left["data"] == data | {"membership": membership, "reason": "left"}
    assert "s.7" not in json.dumps([joined, left])


def test_a_room_has_no_member() -> None:
    assert body(EventType.ROOM_OPENED)["data"] == body(EventType.ROOM_CLOSED)["data"] == {"room": "r"}


def test_the_same_event_has_the_same_id_and_others_have_others() -> None:
    events = [event(n, room, kind) for n in (1, 2) for room in "rs" for kind in EventType]
    ids = {payload_of(Logged("1", AT, one)).id for one in events}
    again = {payload_of(Logged("2", AT + 1, one)).id for one in events}
    assert ids == again
    assert len(ids) == len(events)


def test_dropped_events_are_counted_and_no_count_has_the_id_of_another() -> None:
    first, again, later = Dropped("l", 0, 3, AT), Dropped("l", 0, 3, AT + 9), Dropped("l", 3, 5, AT)
    assert json.loads(payload_of(first).body)["data"] == {"count": 3}
    assert payload_of(first).id == payload_of(again).id
    assert len({payload_of(one).id for one in (first, later, Dropped("m", 0, 3, AT))}) == 3
