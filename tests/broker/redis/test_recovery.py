from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.broker.redis.recovery import Recovery
from mcp_actors.protocol.identifiers import RoomId
from tests.broker.redis.buckets import KEYS
from tests.broker.redis.lua import A

if TYPE_CHECKING:
    from mcp_actors.broker.redis.write_queue import Call

ONE, TWO = RoomId("one"), RoomId("two")


def _recovery() -> tuple[Recovery, list[Call]]:
    calls: list[Call] = []
    return Recovery(KEYS, A, calls.append), calls


def test_redis_is_told_once_all_rooms_are_announced() -> None:
    recovery, calls = _recovery()
    recovery.begin([ONE, TWO])
    recovery.announced(ONE)
    recovery.announced(ONE)
    recovery.tell()
    assert calls == []
    recovery.announced(TWO)
    assert [call.command for call in calls] == [("HDEL", KEYS.config, "announcing:a")]


def test_a_node_without_rooms_is_done_at_once() -> None:
    recovery, calls = _recovery()
    recovery.tell()
    assert calls == []
    recovery.begin([])
    recovery.tell()
    assert len(calls) == 1


def test_redis_is_told_again_until_it_acknowledges() -> None:
    recovery, calls = _recovery()
    recovery.begin([ONE])
    recovery.announced(ONE)
    recovery.tell()
    assert len(calls) == 2
    calls[-1].answered(1)
    recovery.tell()
    recovery.announced(ONE)
    assert len(calls) == 2


def test_a_fenced_node_announces_nothing() -> None:
    recovery, calls = _recovery()
    recovery.begin([ONE])
    recovery.cancel()
    recovery.announced(ONE)
    recovery.tell()
    assert calls == []
