from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from mcp_actors.broker.redis.keys import Keys, bucket_of
from mcp_actors.protocol.identifiers import NodeId, RoomId

NODE = NodeId("node")
ROOMS = ["room", "{other}", "a{b}c", "}{", "{}", "line\nbreak", "\U0001f980" * 128]


def _all(keys: Keys, room: str) -> list[str]:
    name = RoomId(room)
    of_node = [keys.inbox(NODE), keys.rooms_of(NODE), keys.tombstone(NODE)]
    return [keys.nodes, keys.config, *of_node, keys.members(name), keys.state(name)]


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("bucket", range(3))
def test_all_keys_of_a_bucket_are_in_its_slot_for_any_room(bucket: int, room: str) -> None:
    keys = Keys("prefix", bucket, 3)
    assert {key_slot(key.encode()) for key in _all(keys, room)} == {keys.slot}


@pytest.mark.parametrize("buckets", [1, 3, 16, 64])
def test_each_bucket_has_its_own_share_of_the_slots(buckets: int) -> None:
    slots = [Keys("mcp_actors", bucket, buckets).slot for bucket in range(buckets)]
    assert [slot * buckets // REDIS_CLUSTER_HASH_SLOTS for slot in slots] == list(range(buckets))


def test_no_two_keys_are_the_same() -> None:
    of_rooms = [
        key
        for bucket in range(2)
        for room in ROOMS
        for key in (Keys("prefix", bucket, 2).members(RoomId(room)), Keys("prefix", bucket, 2).state(RoomId(room)))
    ]
    assert len(set(of_rooms)) == len(of_rooms)
    assert len(set(_all(Keys("prefix", 0, 2), "node"))) == 7


def test_another_prefix_has_other_keys() -> None:
    assert not set(_all(Keys("one", 0, 1), "room")) & set(_all(Keys("two", 0, 1), "room"))


@pytest.mark.parametrize("room", ROOMS)
def test_every_key_begins_with_the_prefix(room: str) -> None:
    keys = Keys("prefix", 1, 16)
    more = [keys.left_by(NODE), keys.session("s"), keys.removed(RoomId(room))]
    assert keys.pattern == "prefix:*"
    assert all(key.startswith("prefix:{") for key in [*_all(keys, room), *more])


def test_an_inbox_is_named_as_the_scripts_make_up_its_name() -> None:
    keys = Keys("prefix", 0, 1)
    assert keys.inbox(NODE) == keys.inboxes + NODE


def test_the_bucket_of_a_room_never_changes() -> None:
    assert [bucket_of(RoomId(room), 16) for room in ("room", "room123", "räume")] == [11, 1, 6]


@given(st.text(min_size=1), st.integers(1, 64))
def test_every_room_has_a_bucket(room: str, buckets: int) -> None:
    assert 0 <= bucket_of(RoomId(room), buckets) < buckets


def test_rooms_are_spread_over_the_buckets() -> None:
    counts = Counter(bucket_of(RoomId(f"room{number}"), 16) for number in range(1600))
    assert len(counts) == 16
    assert max(counts.values()) < 200
