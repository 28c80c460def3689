from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mcp_actors.protocol.events import Kind, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, UserId
from mcp_actors.room.roster import FORMER_NODES, Roster

NODE = NodeId("node")


def _peer(name: str, incarnation: str) -> Member:
    return Member(Kind.PEER, PeerId(name), Incarnation(incarnation), NODE, {})


def _user(name: str, incarnation: str) -> Member:
    return Member(Kind.USER, UserId(name), Incarnation(incarnation), NODE, {})


def test_a_new_roster_is_empty() -> None:
    roster = Roster()
    assert not roster
    assert len(roster) == 0
    assert not [*roster.members(), *roster.peers(), *roster.users()]


def test_peers_are_found_by_id_and_by_incarnation() -> None:
    roster, ana = Roster(), _peer("ana", "1")
    roster.add(ana)
    assert roster.peer(PeerId("ana")) is ana
    assert roster.member(Incarnation("1")) is ana
    assert Incarnation("1") in roster
    assert roster.peer(PeerId("ben")) is None
    assert roster.member(Incarnation("2")) is None


def test_it_is_known_where_a_member_was_in_its_latest_epochs() -> None:
    roster, ana = Roster(), _peer("ana", "1")
    roster.add(ana)
    assert roster.node_at(ana.incarnation, 3) == NODE
    nodes = [NODE, *(NodeId(f"node{epoch}") for epoch in range(1, FORMER_NODES + 2))]
    for epoch, node in enumerate(nodes[1:], 1):
        roster.move(ana.incarnation, node, epoch)
    known = [roster.node_at(ana.incarnation, epoch) for epoch in range(len(nodes))]
    assert known == [nodes[-1], *nodes[1:]]
    roster.remove(ana.incarnation)
    assert roster.node_at(ana.incarnation, 1) is None


def test_members_are_in_join_order() -> None:
    roster = Roster()
    members = [_peer("c", "3"), _user("x", "1"), _peer("a", "2"), _peer("b", "4")]
    for member in members:
        roster.add(member)
    assert list(roster.members()) == members
    assert [peer.id for peer in roster.peers()] == ["c", "a", "b"]


def test_adding_a_member_twice_changes_nothing() -> None:
    roster = Roster()
    for member in (_user("u", "1"), _peer("p", "2"), _user("u", "1"), _peer("p", "2")):
        roster.add(member)
    assert len(roster) == 2
    assert roster.connections_of(UserId("u")) == 1


def test_removing_a_member_twice_changes_nothing() -> None:
    roster, ana = Roster(), _peer("ana", "1")
    roster.add(ana)
    assert roster.remove(Incarnation("1")) is ana
    assert roster.remove(Incarnation("1")) is None
    assert not roster


def test_removing_an_old_incarnation_leaves_the_new_one() -> None:
    roster, old, new = Roster(), _peer("ana", "1"), _peer("ana", "2")
    roster.add(old)
    roster.add(new)
    assert roster.peer(PeerId("ana")) is new
    assert roster.remove(Incarnation("1")) is old
    assert roster.peer(PeerId("ana")) is new
    assert list(roster.peers()) == [new]


def test_a_user_is_listed_once_until_its_last_connection_leaves() -> None:
    roster = Roster()
    for member in (_user("u", "1"), _user("v", "2"), _user("u", "3")):
        roster.add(member)
    assert [user for user, *_ in roster.users()] == ["u", "v"]
    assert roster.connections_of(UserId("u")) == 2
    roster.remove(Incarnation("1"))
    assert [user for user, *_ in roster.users()] == ["u", "v"]
    roster.remove(Incarnation("3"))
    assert [user for user, *_ in roster.users()] == ["v"]
    assert roster.connections_of(UserId("u")) == 0


def test_metadata_of_a_user_is_that_of_all_its_connections_until_the_last_one_leaves() -> None:
    roster = Roster()
    for member in (_user("u", "1"), _user("u", "2"), _peer("u", "3")):
        roster.add(member)
    assert roster.update(Kind.USER, UserId("u"), {"a": 1})
    assert not roster.update(Kind.USER, UserId("u"), {"a": 1})
    assert [member.metadata for member in roster.members()] == [{"a": 1}, {"a": 1}, {}]
    assert list(roster.users()) == [("u", {"a": 1}, False)]
    roster.remove(Incarnation("1"))
    roster.remove(Incarnation("2"))
    roster.add(_user("u", "4"))
    assert list(roster.users()) == [("u", {}, False)]


def test_a_user_is_verified_if_all_its_connections_are() -> None:
    roster = Roster()
    owner = structs.replace(_user("u", "1"), verified=True)
    for member, verified in ((owner, True), (structs.replace(owner, incarnation=Incarnation("2")), True)):
        roster.add(member)
        assert list(roster.users()) == [("u", {}, verified)]
    roster.add(_user("u", "3"))
    assert list(roster.users()) == [("u", {}, False)]
    for number in ("1", "2", "3"):
        roster.remove(Incarnation(number))
    roster.add(_user("u", "4"))
    assert list(roster.users()) == [("u", {}, False)]
    roster.clear()
    roster.add(owner)
    assert list(roster.users()) == [("u", {}, True)]


def test_metadata_of_a_peer_is_replaced_in_place() -> None:
    roster = Roster()
    for name in ("a", "b"):
        roster.add(_peer(name, name))
    assert roster.update(Kind.PEER, PeerId("a"), {"x": 1})
    assert not roster.update(Kind.PEER, PeerId("c"), {"x": 1})
    assert [(peer.id, peer.metadata) for peer in roster.peers()] == [("a", {"x": 1}), ("b", {})]


def test_a_peer_and_a_user_may_have_the_same_id() -> None:
    roster = Roster()
    roster.add(_peer("same", "1"))
    roster.add(_user("same", "2"))
    assert [peer.id for peer in roster.peers()] == ["same"]
    assert [user for user, *_ in roster.users()] == ["same"]
    roster.remove(Incarnation("2"))
    assert roster.peer(PeerId("same")) is not None


incarnations = st.integers(1, 6).map(str)
members = st.builds(
    lambda kind, name, incarnation: Member(kind, name, Incarnation(f"{kind}{name}{incarnation}"), NODE, {}),
    st.sampled_from(Kind),
    st.sampled_from(["a", "b", "c"]),
    incarnations,
)
steps = st.lists(st.tuples(st.sampled_from(["add", "remove"]), members), max_size=40)


@given(steps)
def test_a_roster_behaves_like_a_list_of_its_members(schedule: list[tuple[str, Member]]) -> None:
    roster = Roster()
    model: list[Member] = []
    for step, member in schedule:
        if step == "remove":
            assert roster.remove(member.incarnation) == (member if member in model else None)
            model = [other for other in model if other != member]
        elif not _taken(member, model):
            roster.add(member)
            if member not in model:
                model.append(member)
        _compare(roster, model)


def _taken(member: Member, model: list[Member]) -> bool:
    """Whether the broker would refuse the member: of one peer id it lets one incarnation in at a time."""
    rivals = [other for other in model if other.kind is member.kind is Kind.PEER and other.id == member.id]
    return bool(rivals) and member not in rivals


def _compare(roster: Roster, model: list[Member]) -> None:
    assert list(roster.members()) == model
    assert len(roster) == len(model)
    peers = [m for m in model if m.kind is Kind.PEER]
    users = [UserId(m.id) for m in model if m.kind is Kind.USER]
    assert list(roster.peers()) == peers
    assert sorted(user for user, *_ in roster.users()) == sorted(set(users))
    for name in ("a", "b", "c"):
        assert roster.connections_of(UserId(name)) == users.count(UserId(name))
        assert roster.peer(PeerId(name)) == next((peer for peer in peers if peer.id == name), None)


@given(steps)
def test_the_latest_incarnation_of_a_peer_is_found(schedule: list[tuple[str, Member]]) -> None:
    """Only the broker keeps a second one out; a roster that hears of it goes by the latest."""
    roster = Roster()
    latest: dict[str, Member] = {}
    for step, member in schedule:
        if member.kind is Kind.USER:
            continue
        if step == "add":
            if member.incarnation not in roster:
                latest[member.id] = member
            roster.add(member)
        else:
            roster.remove(member.incarnation)
            if latest.get(member.id) == member:
                del latest[member.id]
    for name in ("a", "b", "c"):
        assert roster.peer(PeerId(name)) == latest.get(name)
