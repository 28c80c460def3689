from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.entries import Changes, Frame, Gone, Probe, Snapshot, field_of, pack_frame
from mcp_actors.protocol.events import Kind, LeaveReason, Member, Step
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId, UserId
from tests.broker.redis.lua import ROOM, RUN, A, B, Store, peer, user

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
    kind=st.sampled_from(["s", "m", "r"]),
    ticket=st.integers(0, 2**40),
    body=st.binary(max_size=300),
    step=st.none() | st.builds(Step, st.sampled_from(["offer", "answer", "ice-candidate"]), st.integers(1, 2**63 - 1)),
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
def test_frames_are_read_as_they_were_packed(sent: list[Frame]) -> None:
    assert entries.read([b"r", entries.pack_frames([pack_frame(frame) for frame in sent])]) == sent


def test_as_many_frames_as_an_entry_holds_are_read() -> None:
    sent = [Frame(ROOM, "a", "b", number, "s", 0, bytes(1024)) for number in range(entries.MAX_FRAMES)]
    packed = entries.pack_frames([pack_frame(frame) for frame in sent])
    assert entries.read([b"r", packed]) == sent


def test_a_frame_of_any_bytes_stays_as_it_is() -> None:
    frame = Frame(ROOM, "a", "b", 1, "s", 0, bytes(range(256)))
    assert entries.read([b"r", entries.pack_frames([pack_frame(frame)])]) == [frame]


def test_an_entry_that_holds_no_frames_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        entries.read([b"r", b"\xc1"])


def test_a_probe_is_read() -> None:
    assert entries.read([b"t", b"k", b"n", b"17"]) == Probe(17)


def test_a_peer_is_kept_under_its_id_and_each_connection_of_a_user_apart() -> None:
    assert field_of(peer("ana")) == "pana"
    assert field_of(peer("ana", A)) == field_of(peer("ana", B))
    assert field_of(user("ana", 1)) != field_of(user("ana", 2))
    assert field_of(user("ana", 1)) != field_of(peer("ana"))


@settings(max_examples=60)
@given(st.lists(members, min_size=1, max_size=4, unique_by=field_of))
def test_members_are_read_as_they_were_let_in(shared_store: Store, joining: list[Member]) -> None:
    store = shared_store
    store.redis.flushall()
    for node in (A, B):
        store.attach(node)
    store.join(peer("witness", B))
    store.told(B)
    expected = []
    orders = {Kind.PEER: 1, Kind.USER: 0}
    for member in joining:
        if field_of(member) == "pwitness":
            continue
        assert store.join(member, others=[B])[0] == "OK"
        orders[member.kind] += 1
        expected.append(msgspec.structs.replace(member, order=orders[member.kind]))
    told = store.told(B)
    assert [news.changes for news in told if isinstance(news, Changes)] == [[member] for member in expected]
    store.resync(B, [(peer("witness", B, 1), "in")], token="told", others=[A])  # noqa: S106 - of a question
    (snapshot,) = store.told(B)
    assert isinstance(snapshot, Snapshot)
    assert {member.incarnation: member for member in snapshot.members} == {
        member.incarnation: member for member in (peer("witness", B, 1), *expected)
    }
    assert snapshot.token == "told"  # noqa: S105 - of a question


@pytest.mark.parametrize("size", [0, 1, 31, 32, 255, 256, 65_535, 65_536, 200_000])
def test_metadata_of_any_size_is_read_as_it_was_written(any_store: Store, size: int) -> None:
    any_store.attach(A)
    member = peer("ana", text="ä" * size)
    any_store.join(member)
    change, snapshot = [*any_store.told(A), *_resynced(any_store, member)]
    assert isinstance(change, Snapshot)
    assert isinstance(snapshot, Snapshot)
    assert change.members == snapshot.members == [msgspec.structs.replace(member, order=1)]


def _resynced(store: Store, member: Member) -> list[Changes | Snapshot]:
    store.resync(member.node, [(member, "in")])
    return store.told(member.node)


def test_a_join_a_snapshot_and_a_leave_are_read_as_the_scripts_write_them(any_store: Store) -> None:
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
    assert store.told(B) == [
        Changes(ROOM, int(after), int(after) + 1, [Gone(ana.incarnation, LeaveReason.TIMEOUT, "pana")])
    ]


@pytest.mark.parametrize("reason", LeaveReason)
def test_every_reason_to_leave_is_read(store: Store, reason: LeaveReason) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.told(A)
    store.leave(peer("ana"), reason=reason)
    (left,) = store.told(A)
    assert isinstance(left, Changes)
    assert left.changes == [Gone(peer("ana").incarnation, reason, "pana")]


def test_a_change_of_nothing_is_read_as_written(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(B)
    store.resync(A, [(peer("ana"), "in")], others=[B], run="another run")
    (nothing,) = store.told(B)
    assert isinstance(nothing, Changes)
    assert nothing.changes == []


def test_a_room_without_members_is_read_as_written(any_store: Store) -> None:
    any_store.attach(A)
    any_store.resync(A, [], token="7")  # noqa: S106 - of a question
    (whole,) = any_store.told(A)
    assert whole == Snapshot(ROOM, whole.version, RUN, "7", [])


def test_a_first_inbox_begins_with_a_probe(store: Store) -> None:
    store.attach(A)
    store.beat(A, 3)
    assert store.inbox(A) == [Probe(0), Probe(3)]


def test_frames_written_to_an_inbox_are_read_there(store: Store) -> None:
    store.attach(A)
    sent = [Frame(ROOM, "a", "b", 1, "m", 5, b"\x00\xff"), Frame(RoomId("\U0001f980"), "c", "d", 2, "r", 0, b"1")]
    store.redis.xadd(store.keys.inbox(A), {"r": entries.pack_frames([pack_frame(frame) for frame in sent])})
    assert store.inbox(A)[1] == sent


def test_a_node_is_read_as_it_is_named(store: Store) -> None:
    node = NodeId("host-1234-añb")
    store.attach(node)
    store.join(peer("ana", node))
    (whole,) = store.told(node)
    assert isinstance(whole, Snapshot)
    assert [member.node for member in whole.members] == [node]


def test_a_frame_of_a_node_that_knows_no_steps_and_moves_is_read_and_its_own_is_two_bytes_longer() -> None:
    plain = Frame(ROOM, "a", "b", 1, "s", 0, b"{}")
    packed = pack_frame(plain)
    assert packed[:1] == b"\x99"
    assert packed[-2:] == b"\xc0\x00"
    assert entries.read([b"r", entries.pack_frames([b"\x97" + packed[1:-2]])]) == [plain]
