from __future__ import annotations

from msgspec import structs

from mcp_actors.broker.member_table import MemberTable
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import PeerId, UserId
from tests.broker.redis.lua import A, B, peer, user


def test_members_are_counted_per_node_also_when_they_move() -> None:
    table = MemberTable()
    for member in (peer("ana"), user("una"), peer("ben", B)):
        table.put(member)
    assert table.nodes == {A: 2, B: 1}
    table.put(structs.replace(peer("ben", B), node=A))
    assert table.nodes == {A: 3}
    assert (table.node_of(peer("ben", B).incarnation), table.node_of(peer("zoe").incarnation)) == (A, None)
    assert table.remove(user("una").incarnation) == user("una")
    assert table.remove(user("una").incarnation) is None
    assert table.nodes == {A: 2}


def test_a_peer_id_is_free_again_when_its_peer_left() -> None:
    table = MemberTable()
    table.put(peer("ana"))
    assert table.rivals(peer("ana", B)) == [peer("ana")]
    assert table.rivals(user("ana")) == []
    table.remove(peer("ana").incarnation)
    assert table.rivals(peer("ana", B)) == []


def test_the_rivals_of_a_user_claim_what_it_owns_or_own_what_it_claims() -> None:
    table = MemberTable()
    claims = [user("ana", 1), user("ana", 2)]
    owner = structs.replace(user("ana", 3), verified=True)
    for member in (*claims, user("una", 4), peer("ana")):
        table.put(member)
    assert table.rivals(user("ana", 5)) == []
    assert table.rivals(owner) == claims
    assert table.like(owner) is None
    assert table.refusal(owner, 1) is None
    for member in claims:
        table.remove(member.incarnation)
    table.put(owner)
    assert table.rivals(claims[0]) == [owner]
    assert table.refusal(claims[0], 9) is ErrorCode.PEER_ID_TAKEN


def test_a_join_is_refused_for_a_taken_id_or_a_full_kind() -> None:
    table = MemberTable()
    table.put(peer("ana"))
    assert table.refusal(peer("ana", B), 9) is ErrorCode.PEER_ID_TAKEN
    assert table.refusal(peer("ben"), 1) is ErrorCode.ROOM_FULL
    assert table.refusal(user("ana"), 1) is None
    table.put(structs.replace(peer("ana"), detached=True))
    assert table.refusal(peer("ana", B), 1) is ErrorCode.PEER_ID_TAKEN
    assert table.refusal(structs.replace(peer("ana", B), verified=True), 1) is None


def test_an_update_is_for_a_peer_or_for_all_connections_of_a_user() -> None:
    table = MemberTable()
    for member in (peer("ana"), peer("ben"), user("ana"), user("ana", 2), user("una")):
        table.put(member)
    assert table.update(Kind.USER, UserId("ana"), {"a": 1}, 7)
    assert not table.update(Kind.USER, UserId("ana"), {"a": 1}, 8)
    assert table.update(Kind.PEER, PeerId("ben"), {"b": 1}, 9)
    assert not table.update(Kind.PEER, PeerId("una"), {"b": 1}, 9)
    found = {(member.kind, member.id, member.updated): member.metadata for member in table.members.values()}
    assert found == {
        ("peer", "ana", 0): {},
        ("peer", "ben", 9): {"b": 1},
        ("user", "ana", 8): {"a": 1},
        ("user", "una", 0): {},
    }
    assert table.nodes == {A: 5}
    alike = table.like(user("ana", 3))
    assert (alike and alike.metadata, table.like(user("eve")), table.like(peer("ana"))) == ({"a": 1}, None, None)
