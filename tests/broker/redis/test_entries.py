from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.entries import (
    Audit,
    AuditedRoom,
    Changes,
    Damaged,
    Frame,
    Probe,
    Snapshot,
    UnreadableEntry,
    field_of,
    pack,
)
from mcp_actors.protocol.events import Kind, LeaveReason, Member, NegotiationStep
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId
from tests.broker.redis.lua import ROOM, RUN, A, B, Store, leaving, peer, user

ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
numbers = st.integers(-(2**53), 2**53)
json = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
frames = st.builds(
    Frame,
    room=ids.map(RoomId),
    source=ids,
    target=ids,
    number=st.integers(0, 2**40),
    kind=st.sampled_from(["signal", "broadcast", "receipt"]),
    delivery_id=st.integers(0, 2**40),
    body=st.binary(max_size=300),
    step=st.none()
    | st.builds(NegotiationStep, st.sampled_from(["offer", "answer", "ice-candidate"]), st.integers(1, 2**63 - 1)),
)


def _member(kind: Kind, name: str, incarnation: str, metadata: dict[str, Any]) -> Member:
    member_id: PeerId | UserId = PeerId(name) if kind is Kind.PEER else UserId(name)
    return Member(kind, member_id, Incarnation(incarnation), A, metadata)


members = st.builds(
    _member,
    kind=st.sampled_from(Kind),
    name=ids,
    incarnation=ids,
    metadata=st.dictionaries(ids, json, max_size=4),
)


@given(st.lists(frames, max_size=70))
def test_frames_decode_as_they_were_packed(sent: list[Frame]) -> None:
    assert entries.read([b"frames", entries.pack_frames([pack(frame) for frame in sent])]) == sent


def test_a_full_entry_is_decoded() -> None:
    sent = [Frame(ROOM, "a", "b", number, "signal", 0, bytes(1024)) for number in range(entries.MAX_FRAMES)]
    packed = entries.pack_frames([pack(frame) for frame in sent])
    assert entries.read([b"frames", packed]) == sent


def test_a_frame_may_have_any_bytes() -> None:
    frame = Frame(ROOM, "a", "b", 1, "signal", 0, bytes(range(256)))
    assert entries.read([b"frames", entries.pack_frames([pack(frame)])]) == [frame]


def test_an_entry_that_is_no_msgpack_is_unreadable() -> None:
    with pytest.raises(UnreadableEntry):
        entries.read([b"frames", b"\xc1"])


def test_a_probe_is_decoded() -> None:
    assert entries.read([b"type", b"probe", b"number", b"17"]) == Probe(17)


def test_an_audit_is_decoded() -> None:
    stored = AuditedRoom(ROOM, 1_796_034_829_173_468, 2, [Incarnation("a.ana")], 2, 0, sound=True)
    assert entries.read([b"type", b"audit", b"rooms", pack([stored])]) == Audit([stored])


def test_a_report_of_damage_is_decoded() -> None:
    assert entries.read([b"type", b"damaged", b"room", ROOM.encode()]) == Damaged(ROOM)


def test_peers_have_a_field_per_id_and_users_one_per_connection() -> None:
    assert field_of(peer("ana")) == "peer:ana"
    assert field_of(peer("ana", A)) == field_of(peer("ana", B))
    assert field_of(user("ana", 1)) != field_of(user("ana", 2))
    assert field_of(user("ana", 1)) != field_of(peer("ana"))


@settings(max_examples=60)
@given(st.lists(members, min_size=1, max_size=4, unique_by=lambda one: (one.kind, one.id)))
def test_members_decode_as_they_joined(shared_store: Store, joining: list[Member]) -> None:
    store = shared_store
    store.redis.flushall()
    for node in (A, B):
        store.attach(node)
    store.join(peer("witness", B))
    store.told(B)
    expected = []
    orders = {Kind.PEER: 1, Kind.USER: 0}
    for member in joining:
        if field_of(member) == "peer:witness":
            continue
        assert store.join(member, others=[B])[0] == "OK"
        orders[member.kind] += 1
        expected.append(msgspec.structs.replace(member, order=orders[member.kind]))
    told = store.told(B)
    assert [news.changes for news in told if isinstance(news, Changes)] == [[member] for member in expected]
    store.resync(B, [(peer("witness", B, 1), True)], token="told", others=[A])  # noqa: S106 - of a question
    (snapshot,) = store.told(B)
    assert isinstance(snapshot, Snapshot)
    assert {member.incarnation: member for member in snapshot.members} == {
        member.incarnation: member for member in (peer("witness", B, 1), *expected)
    }
    assert snapshot.token == "told"  # noqa: S105 - of a question


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536, 200_000])
def test_metadata_may_have_any_size(any_store: Store, size: int) -> None:
    any_store.attach(A)
    member = peer("ana", text="ä" * size)
    any_store.join(member)
    change, snapshot = [*any_store.told(A), *_resynced(any_store, member)]
    assert isinstance(change, Snapshot)
    assert isinstance(snapshot, Snapshot)
    assert change.members == snapshot.members == [msgspec.structs.replace(member, order=1)]


def _resynced(store: Store, member: Member) -> list[Changes | Snapshot]:
    store.resync(member.node, [(member, True)])
    return store.told(member.node)


def test_entries_of_the_scripts_are_decoded(any_store: Store) -> None:
    store, ana, ben = any_store, peer("ana"), user("ben", node=B)
    store.attach(A)
    store.attach(B)
    _, version = store.join(ana)
    (whole,) = store.told(A)
    one = msgspec.structs.replace(ana, order=1)
    assert whole == Snapshot(ROOM, int(version), RUN, "", [one])
    _, after = store.join(ben, others=[A])
    other = msgspec.structs.replace(ben, order=1)
    assert store.told(A) == [Changes(ROOM, int(version), int(version) + 1, [other])]
    assert int(after) == int(version) + 1
    store.told(B)
    store.leave(ana, others=[B], reason="timeout")
    assert store.told(B) == [Changes(ROOM, int(after), int(after) + 1, [leaving(ana, LeaveReason.TIMEOUT)])]


@pytest.mark.parametrize("reason", LeaveReason)
def test_every_reason_of_a_leave_is_decoded(store: Store, reason: LeaveReason) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.told(A)
    store.leave(peer("ana"), reason=reason)
    (left,) = store.told(A)
    assert isinstance(left, Changes)
    assert left.changes == [leaving(peer("ana"), reason)]


def test_an_empty_list_of_changes_is_decoded(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(B)
    store.resync(A, [(peer("ana"), True)], others=[B], run="another run")
    (nothing,) = store.told(B)
    assert isinstance(nothing, Changes)
    assert nothing.changes == []


def test_an_empty_snapshot_is_decoded(any_store: Store) -> None:
    any_store.attach(A)
    any_store.resync(A, [], token="7")  # noqa: S106 - of a question
    (whole,) = any_store.told(A)
    assert whole == Snapshot(ROOM, whole.version, RUN, "7", [])


def test_a_new_inbox_starts_with_a_probe(store: Store) -> None:
    store.attach(A)
    store.heartbeat(A, 3)
    assert store.inbox(A) == [Probe(0), Probe(3)]


def test_frames_written_to_an_inbox_are_decoded(store: Store) -> None:
    store.attach(A)
    sent = [
        Frame(ROOM, "a", "b", 1, "broadcast", 5, b"\x00\xff"),
        Frame(RoomId("\U0001f980"), "c", "d", 2, "receipt", 0, b"1"),
    ]
    store.redis.xadd(store.keys.inbox(A), {"frames": entries.pack_frames([pack(frame) for frame in sent])})
    assert store.inbox(A)[1] == sent


def test_the_id_of_a_node_may_be_unicode(store: Store) -> None:
    node = NodeId("host-1234-añb")
    store.attach(node)
    store.join(peer("ana", node))
    (whole,) = store.told(node)
    assert isinstance(whole, Snapshot)
    assert [member.node for member in whole.members] == [node]
