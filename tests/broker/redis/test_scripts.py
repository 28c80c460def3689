from __future__ import annotations

import re
import time
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from mcp_actors.broker.redis import scripts
from mcp_actors.broker.redis.entries import Changes, Gone, Marked, Moved, Snapshot, field_of
from mcp_actors.broker.redis.scripts import SCRIPTS
from mcp_actors.protocol.events import LeaveReason
from mcp_actors.protocol.identifiers import NodeId, RoomId
from tests.broker.redis.lua import INBOX_LIFE, LEASE, MAX_ENTRIES, ROOM, A, B, C, Store, peer, user

if TYPE_CHECKING:
    from mcp_actors.protocol.events import Member

FILES = sorted(
    (path for path in (files("mcp_actors") / "broker" / "redis" / "lua").iterdir() if path.name.endswith(".lua")),
    key=lambda path: path.name,
)
TEXTS = {path.name.removesuffix(".lua"): path.read_text(encoding="utf-8") for path in FILES}
OF_ROOMS = {"join", "leave", "mark", "resync", "expire", "reap_room", "claim", "kick", "lock", "close"}
ROOMS = [
    RoomId("{a}b"),
    RoomId("}{"),
    RoomId("line\nbreak"),
    RoomId("#v"),
    RoomId("\U0001f980" * 128),
    RoomId("'; return 1 --"),
]
NOBODY = NodeId("nobody")


# ---------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize("name", TEXTS)
def test_each_file_says_what_it_does_and_takes_and_replies(name: str) -> None:
    header = re.match(r"(--.*\n)+", TEXTS[name])
    assert header is not None
    assert re.match(r"-- [A-Z]", header[0])
    assert re.search(r"^-- KEYS\b", header[0], re.MULTILINE)
    assert re.search(r"^-- (KEYS, )?ARGV\b", header[0], re.MULTILINE)
    assert name == "common" or re.search(r"^-- Replies: \S", header[0], re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"common"}))
def test_each_file_is_loaded_under_its_name(name: str) -> None:
    script = getattr(scripts, name.upper())
    assert script in SCRIPTS
    assert script.text == (TEXTS["common"] + TEXTS[name] if name in OF_ROOMS else TEXTS[name])


def test_no_script_is_there_without_a_file() -> None:
    assert len(SCRIPTS) == len(TEXTS) - 1
    assert len({script.digest for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize("name", sorted(set(TEXTS) - {"common"}))
def test_a_script_replies_no_word_that_its_header_does_not_name(name: str) -> None:
    text = TEXTS[name]
    header = re.match(r"(--.*\n)+", text)
    assert header is not None
    words = set(re.findall(r"(?:return|reply =) \{?'([A-Z]+)'", text[header.end() :]))
    assert words <= set(re.findall(r"[A-Z]{2,}", header[0].partition("Replies:")[2]))


def test_the_digests_are_those_by_which_a_server_knows_the_scripts(any_store: Store) -> None:
    for script in SCRIPTS:
        assert any_store.redis.script_load(script.text) == script.digest


# -------------------------------------------------------------------------------------------------------------- attach


def test_a_node_attaches_and_renews(any_store: Store) -> None:
    store = any_store
    assert store.attach(A) == ["NEW"]
    first = store.deadline(A)
    assert store.attach(A, lease=2 * LEASE) == ["OK"]
    second = store.deadline(A)
    assert first is not None
    assert second is not None
    assert second > first + LEASE / 2
    assert len(store.inbox(A)) == 1
    assert 0 < store.redis.pttl(store.keys.inbox(A)) <= INBOX_LIFE


def test_a_lease_runs_by_the_clock_of_the_server(store: Store) -> None:
    store.attach(A)
    seconds, micros = store.redis.time()
    deadline = store.deadline(A)
    assert deadline is not None
    assert 0 <= seconds * 1000 + micros / 1000 + LEASE - deadline < 5000


def test_nodes_with_other_settings_are_told_those_that_run(store: Store) -> None:
    store.attach(A, version="1", buckets=4)
    assert store.attach(B, version="1", buckets=8) == ["CONFIG", "1", "4"]
    assert store.attach(B, version="2", buckets=4) == ["CONFIG", "1", "4"]
    assert store.deadline(B) is None
    assert not store.redis.exists(store.keys.inbox(B))
    assert store.attach(B, version="1", buckets=4) == ["NEW"]


def test_a_condemned_node_has_to_wait(store: Store) -> None:
    store.attach(A)
    store.run_out(A)
    store.condemn()
    assert store.attach(A) == ["WAIT"]
    assert store.attach(A, anew=True) == ["WAIT"]
    assert (store.deadline(A) or 0) < 0


def test_a_node_whose_lease_ran_out_renews_it_if_nobody_condemned_it(store: Store) -> None:
    store.attach(A)
    store.run_out(A)
    assert store.attach(A) == ["OK"]
    assert store.condemn() == []


def test_a_node_that_was_declared_dead_is_told_so_until_it_begins_anew(store: Store) -> None:
    store.attach(A)
    store.beat(A, 5)
    store.run_out(A)
    store.condemn()
    assert store.reap_node(A) == 1
    assert store.attach(A) == ["GONE"]
    assert store.deadline(A) is None
    assert store.attach(A, anew=True) == ["NEW"]
    assert len(store.inbox(A)) == 1
    assert store.attach(A) == ["OK"]


def test_a_node_that_begins_anew_has_an_empty_inbox(store: Store) -> None:
    store.attach(A)
    store.beat(A, 5)
    assert store.attach(A, anew=True) == ["NEW"]
    assert len(store.inbox(A)) == 1


def test_a_node_that_lost_its_inbox_is_new(store: Store) -> None:
    store.attach(A)
    store.redis.delete(store.keys.inbox(A))
    assert store.attach(A) == ["NEW"]


def test_nobody_joins_after_a_restart_until_all_nodes_had_time_to_announce_their_members(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node, run="2", hold=50_000)
    word, wait = store.join(peer("ana"), run="2")
    assert word == "LATER"
    assert 0 < int(wait) <= 50_000
    assert store.fields() == set()
    assert store.resync(A, [(peer("ana", order=1), "in")], run="2") == ["OK"]
    store.redis.hset(store.keys.config, "joins-from", "1")
    assert store.join(peer("ben", B), others=[A], run="2") == ["LATER", "100"]  # the two are not done
    store.redis.hincrby(store.keys.config, "recovering", -2)
    store.attach(C, run="2")
    assert store.join(peer("ben", C), others=[A], run="2")[0] == "OK"
    store.attach(C, run="3", hold=50_000)
    assert store.join(peer("cia", C), others=[A], run="3")[0] == "LATER"


def test_a_node_that_knows_no_other_run_holds_nobody_up(store: Store) -> None:
    store.attach(A, run="2")
    assert store.join(peer("ana"))[0] == "OK"


# ------------------------------------------------------------------------------------------- beat, condemn, reap, bye


def test_a_beat_renews_and_probes_and_counts(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    store.redis.persist(store.keys.inbox(A))
    before = store.deadline(A)
    assert store.beat(A, 1, lease=2 * LEASE) == [b"OK", 0, 2]
    after = store.deadline(A)
    assert before is not None
    assert after is not None
    assert after > before + LEASE / 2
    assert store.redis.pttl(store.keys.inbox(A)) > 0
    store.run_out(B)
    assert store.beat(A, 2) == [b"OK", 1, 3]


def test_a_beat_cuts_what_was_read(store: Store) -> None:
    store.attach(A)
    for number in range(500):
        store.redis.xadd(store.keys.inbox(A), {"t": "k", "n": number})
    newest = store.redis.xinfo_stream(store.keys.inbox(A))["last-generated-id"].partition(b"-")[0].decode()
    before = store.redis.xlen(store.keys.inbox(A))
    _, _, left = store.beat(A, 1, cut=str(int(newest) + 1))
    assert left < before


@pytest.mark.parametrize("loss", ["lease", "inbox", "condemned"])
def test_a_beat_of_a_node_that_is_not_there_is_refused(store: Store, loss: str) -> None:
    store.attach(A)
    if loss == "lease":
        store.redis.zrem(store.keys.nodes, A)
    elif loss == "inbox":
        store.redis.delete(store.keys.inbox(A))
    else:
        store.run_out(A)
        store.condemn()
    before = store.deadline(A)
    assert store.beat(A) == [b"FENCED"]
    assert store.deadline(A) == before
    assert loss != "inbox" or not store.redis.exists(store.keys.inbox(A))


def test_only_nodes_whose_lease_ran_out_are_condemned(store: Store) -> None:
    for node in (A, B, C):
        store.attach(node)
    store.run_out(A, C)
    assert sorted(store.condemn()) == [A, C]
    assert store.deadline(B) not in {-1, None}
    assert store.beat(B)[1] == 2
    assert sorted(store.condemn()) == [A, C]


def test_no_more_nodes_are_condemned_at_once_than_asked_for(store: Store) -> None:
    for node in (A, B, C):
        store.attach(node)
    store.run_out(A, B, C)
    assert len(store.condemn(2)) == 2
    assert sum((store.deadline(node) or 0) < 0 for node in (A, B, C)) == 2


def test_a_condemned_node_is_refused_by_every_script_of_rooms(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.run_out(A)
    store.condemn()
    before = store.state()
    assert store.join(peer("ben")) == ["FENCED"]
    assert store.leave(peer("ana")) == ["FENCED"]
    assert store.resync(A, []) == ["FENCED"]
    assert store.expire(A, [peer("zoe", B)]) == ["FENCED"]
    assert store.state() == before


def test_a_node_that_never_attached_is_refused(store: Store) -> None:
    assert store.join(peer("ana", NOBODY)) == ["FENCED"]
    assert store.names() == set()


def test_a_node_is_forgotten_once_it_is_in_no_room(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.run_out(A)
    assert store.reap_node(A) == 0
    store.condemn()
    assert store.reap_node(A) == 0
    assert store.reap_room(A) == ["OK", "a.ana"]
    assert store.reap_node(A, life=50_000) == 1
    assert store.names() == {store.keys.config, store.keys.tombstone(A)}
    assert 0 < store.redis.pttl(store.keys.tombstone(A)) <= 50_000
    assert store.reap_node(A) == 0


def test_a_living_node_is_not_reaped(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    assert store.reap_room(A) == ["ALIVE"]
    assert store.reap_room(NOBODY) == ["ALIVE"]
    assert store.reap_node(A) == 0
    assert store.fields() == {"pana"}


def test_the_last_node_takes_the_configuration_with_it(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    assert store.bye(A) == 1
    assert store.names() == {store.keys.config, store.keys.nodes, store.keys.inbox(B)}
    assert store.bye(B) == 1
    assert store.names() == set()


def test_a_node_with_members_does_not_go(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    before = store.names()
    assert store.bye(A) == 0
    assert store.names() == before
    store.leave(peer("ana"))
    assert store.bye(A) == 1
    assert store.names() == set()


# ---------------------------------------------------------------------------------------------------------------- join


def test_the_first_member_is_told_the_room_and_the_next_the_change(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    word, first = store.join(peer("ana"))
    assert word == "OK"
    assert [type(news) for news in store.told(A)] == [Snapshot]
    _, second = store.join(peer("ben", B), others=[A])
    assert int(second) == int(first) + 1
    assert store.told(A) == [Changes(ROOM, int(first), int(second), [structs.replace(peer("ben", B), order=2)])]
    (whole,) = store.told(B)
    assert isinstance(whole, Snapshot)
    assert {member.id for member in whole.members} == {"ana", "ben"}
    assert store.state() == {
        "a": "1", "b": "1", "#v": second, "#e": "run", "#op": "2", "#cp": "2",
    }  # fmt: skip


def test_a_join_asked_again_changes_nothing(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.told(A)
    before = store.state()
    assert store.join(peer("ana")) == ["DUP"]
    assert store.join(peer("ana"), capacity=0) == ["DUP"]
    assert store.state() == before
    assert store.told(A) == []


def test_a_peer_id_is_taken_once_and_a_user_id_never(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    before = store.state()
    assert store.join(peer("ana", B), others=[A]) == ["TAKEN", before["#v"]]
    assert store.state() == before
    assert store.join(user("ana", 1))[0] == "OK"
    assert store.join(user("ana", 2))[0] == "OK"
    assert store.fields() == {"pana", "ua.ana.1", "ua.ana.2"}


def test_each_kind_has_a_capacity_of_its_own(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    assert store.join(peer("ana"), capacity=1)[0] == "OK"
    assert store.join(peer("ben"), capacity=1) == ["FULL", store.state()["#v"]]
    assert store.join(user("ben"), capacity=1)[0] == "OK"
    assert store.join(user("ana"), capacity=1) == ["FULL", store.state()["#v"]]
    assert store.join(peer("ben"), capacity=2)[0] == "OK"
    store.leave(peer("ana"))
    store.leave(user("ben"))
    assert store.join(user("ana"), capacity=1)[0] == "OK"
    assert store.join(peer("ana"), capacity=1) == ["FULL", store.state()["#v"]]


def test_a_taken_id_is_said_to_be_taken_in_a_full_room_too(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    _, version = store.join(peer("ana"), capacity=1)
    assert store.join(peer("ana", B), capacity=1, others=[A]) == ["TAKEN", version]


def test_each_kind_is_counted_by_itself_and_no_number_is_given_twice(store: Store) -> None:
    store.attach(A)
    for member in (peer("ana"), user("una"), peer("ben"), user("una", 2)):
        store.join(member)
    store.leave(peer("ben"))
    store.join(peer("cia"))
    store.join(peer("dan"), whole=True)
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    orders = {member.incarnation: member.order for member in whole.members}
    assert orders == {"a.ana": 1, "a.una.1": 1, "a.una.2": 2, "a.cia": 3, "a.dan": 4}


def test_the_count_begins_anew_when_the_room_does_but_the_version_rises(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    _, last = store.leave(peer("ana"))
    assert store.join(peer("ben"))[0] == "OK"
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    assert [member.order for member in whole.members] == [1]
    assert whole.version > int(last)


def test_versions_rise_over_a_loss_of_data_and_over_another_run(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    versions = [store.join(peer("ana"))[1], store.join(peer("ben"), run="2")[1], store.join(peer("cia"), run="2")[1]]
    store.redis.flushall()
    store.attach(A)
    versions.append(store.join(peer("ana"), run="3")[1])
    assert [int(version) for version in versions] == sorted({int(version) for version in versions})
    assert int(versions[2]) == int(versions[1]) + 1


def test_a_version_never_falls_behind_a_clock_that_was_set_back(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.redis.hset(store.keys.nodes_of(ROOM), "#v", str(2**52))
    assert store.join(peer("ben"), run="another")[1] == str(2**52 + 1)
    assert store.join(peer("cia"), run="another")[1] == str(2**52 + 2)


def test_an_inbox_that_was_not_declared_is_asked_for_before_anything_is_written(any_store: Store) -> None:
    store = any_store
    for node in (A, B, C):
        store.attach(node)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(B)
    before = store.state()
    word, *missing = store.join(peer("cia", C))
    assert (word, sorted(missing)) == ("KEYS", ["a", "b"])
    assert store.join(peer("cia", C), others=[A]) == ["KEYS", "b"]
    assert store.leave(peer("ana")) == ["KEYS", "b"]
    assert store.resync(A, []) == ["KEYS", "b"]
    assert store.expire(A, [peer("zoe", B)]) == ["KEYS", "b"]
    assert store.state() == before
    assert store.told(B) == []
    assert store.join(peer("cia", C), others=[A, B])[0] == "OK"


def test_a_node_that_asks_to_be_told_all_is_told_the_change_too(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.told(A)
    store.join(peer("ben"), whole=True)
    assert [type(news) for news in store.told(A)] == [Changes, Snapshot]
    assert store.state()["a"] == "2"


def test_an_inbox_that_is_gone_does_not_come_back(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.redis.delete(store.keys.inbox(A))
    assert store.join(peer("ben", B), others=[A])[0] == "OK"
    assert not store.redis.exists(store.keys.inbox(A))


@pytest.mark.parametrize("room", ROOMS, ids=["braces", "open", "newline", "field", "crabs", "code"])
def test_a_room_may_have_any_name(any_store: Store, room: RoomId) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    assert store.join(peer("ana"), room=room)[0] == "OK"
    assert store.join(peer("ben", B), room=room, others=[A])[0] == "OK"
    assert {news.room for news in store.told(A)} == {room}
    assert {name.decode() for name in store.redis.smembers(store.keys.rooms_of(A))} == {room}
    assert store.resync(A, [(peer("ana"), "in")], room=room, others=[B]) == ["OK"]
    assert store.leave(peer("ana"), room=room, others=[B])[0] == "OK"
    assert store.leave(peer("ben", B), room=room)[0] == "OK"
    assert not store.redis.exists(store.keys.room(room), store.keys.nodes_of(room))


def test_a_peer_may_be_named_as_a_field_of_the_room(store: Store) -> None:
    store.attach(A)
    for name in ("#v", "#e", "p", "a"):
        assert store.join(peer(name))[0] == "OK"
    assert store.state()["a"] == "4"


# --------------------------------------------------------------------------------------------------------------- leave


def test_a_leave_is_told_to_all_the_asking_node_included(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(A)
    store.told(B)
    _, version = store.leave(peer("ana"), others=[B], reason="timeout")
    left = [Changes(ROOM, int(version) - 1, int(version), [Gone(peer("ana").incarnation, LeaveReason.TIMEOUT, "pana")])]
    assert store.told(A) == left
    assert store.told(B) == left
    assert not store.redis.exists(store.keys.rooms_of(A))
    assert store.state() == {"b": "1", "#v": version, "#e": "run", "#op": "2", "#cp": "1"}


def test_a_leave_of_another_incarnation_has_no_effect(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    before = store.state()
    assert store.leave(peer("ana", B), others=[A]) == ["NOOP"]
    assert store.leave(peer("ben")) == ["NOOP"]
    assert store.state() == before
    assert store.leave(peer("ana"))[0] == "OK"
    assert store.leave(peer("ana")) == ["NOOP"]


def test_a_room_vanishes_with_its_last_member(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    before = store.names()
    store.join(peer("ana"))
    store.join(user("ana"))
    store.leave(peer("ana"))
    assert store.redis.exists(store.keys.room(ROOM))
    store.leave(user("ana"))
    assert store.names() == before


# -------------------------------------------------------------------------------------------------------------- resync


def test_a_resync_of_what_is_known_changes_nothing_and_tells_the_asking_node_alone(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    ana = structs.replace(peer("ana"), order=1)
    store.join(ana)
    _, version = store.join(peer("ben", B), others=[A])
    store.told(A)
    store.told(B)
    before = store.state()
    assert store.resync(A, [(ana, "in")], token="9", others=[B]) == ["OK"]  # noqa: S106 - of a question
    (whole,) = store.told(A)
    assert isinstance(whole, Snapshot)
    assert (whole.version, whole.token, whole.epoch) == (int(version), "9", "run")
    assert store.told(B) == []
    assert store.state() == before


def test_a_resync_after_another_run_gives_a_version_of_that_run(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    _, version = store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(B)
    store.resync(A, [(peer("ana", order=1), "in")], others=[B], run="2")
    (nothing,) = store.told(B)
    assert isinstance(nothing, Changes)
    assert nothing.changes == []
    assert nothing.version > nothing.after == int(version) + 1
    assert store.state()["#e"] == "2"


def test_members_that_redis_lost_are_back_under_their_numbers(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    members = [peer("ana", order=3), user("una", order=2)]
    assert store.resync(A, [(member, "in") for member in members]) == ["OK"]
    (whole,) = store.told(A)
    assert isinstance(whole, Snapshot)
    assert {member.incarnation: member for member in whole.members} == {
        member.incarnation: member for member in members
    }
    assert store.state() | {"#v": ""} == {
        "a": "2", "#v": "", "#e": "run", "#op": "3", "#cp": "1", "#ou": "2", "#cu": "1",
    }  # fmt: skip
    store.join(peer("ben", B), others=[A])
    (joined,) = store.told(A)
    assert isinstance(joined, Changes)
    assert joined.changes == [structs.replace(peer("ben", B), order=4)]


def test_a_member_that_may_be_there_is_neither_added_nor_removed(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    assert store.resync(A, [(peer("ana"), "if"), (peer("ben"), "if")]) == ["OK"]
    assert store.fields() == {"pana"}
    assert store.state()["a"] == "1"


def test_members_the_node_does_not_know_leave_in_one_version(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    for member in (peer("ana"), peer("ben"), user("una")):
        store.join(member)
    _, version = store.join(peer("cia", B), others=[A])
    store.told(B)
    assert store.resync(A, [(peer("ana", order=1), "in")], others=[B]) == ["OK"]
    (left,) = store.told(B)
    assert isinstance(left, Changes)
    assert left.version == int(version) + 1
    gone = {(peer("ben").incarnation, LeaveReason.DISCONNECTED), (user("una").incarnation, LeaveReason.DISCONNECTED)}
    assert {(gone.incarnation, gone.reason) for gone in left.changes if isinstance(gone, Gone)} == gone
    state = store.state()
    assert (state["a"], state["b"], state["#cp"], state["#cu"]) == ("1", "1", "2", "0")


@pytest.mark.parametrize("rival", ["id", "order"])
def test_a_member_whose_place_another_has_is_named(store: Store, rival: str) -> None:
    store.attach(A)
    store.attach(B)
    other = peer("ana" if rival == "id" else "ben", B)
    store.join(other)
    before = store.fields()
    ana = peer("ana", order=2 if rival == "id" else 1)
    assert store.resync(A, [(ana, "in")], others=[B]) == ["OK", ana.incarnation]
    assert store.fields() == before
    assert "a" not in store.state()
    assert not store.redis.exists(store.keys.rooms_of(A))


def test_a_resync_of_nothing_leaves_no_key(store: Store) -> None:
    store.attach(A)
    before = store.names()
    store.join(peer("ana"))
    assert store.resync(A, []) == ["OK"]
    assert store.names() == before
    assert store.resync(A, []) == ["OK"]
    assert store.names() == before


def test_wrong_counts_of_a_node_are_put_right(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.redis.hset(store.keys.nodes_of(ROOM), "a", "5")
    store.redis.delete(store.keys.rooms_of(A))
    store.resync(A, [(peer("ana", order=1), "in")])
    assert store.state()["a"] == "1"
    assert store.redis.smembers(store.keys.rooms_of(A)) == {ROOM.encode()}


# -------------------------------------------------------------------------------------------------------------- expire


def test_who_did_not_come_back_is_declared_gone_in_one_version(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    _, version = store.join(peer("ben", B), others=[A])
    store.told(A)
    store.told(B)
    lost = [peer("cia", C), user("una", 1, C)]
    assert store.expire(A, lost, others=[B]) == ["OK", "2"]
    gone = [Gone(member.incarnation, LeaveReason.NODE_LOST, field_of(member)) for member in lost]
    assert store.told(A) == store.told(B) == [Changes(ROOM, int(version), int(version) + 1, [*gone])]


def test_who_is_there_after_all_stays(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(A)
    assert store.expire(A, [peer("ben", B)], others=[B]) == ["OK", "0"]
    assert store.told(A) == []
    assert store.expire(A, [peer("ben", C)], others=[B]) == ["OK", "1"]  # another incarnation of the same id
    assert store.fields() == {"pana", "pben"}


def test_an_expiry_in_a_room_that_is_gone_leaves_no_key(store: Store) -> None:
    store.attach(A)
    before = store.names()
    assert store.expire(A, [peer("ben", B)]) == ["OK", "1"]
    assert store.names() == before


# ---------------------------------------------------------------------------------------------------------- reap_room


def test_the_members_of_a_dead_node_leave_in_one_version(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    store.join(peer("ana"))
    store.join(user("una"))
    _, version = store.join(peer("ben", B), others=[A])
    store.told(B)
    store.run_out(A)
    store.condemn()
    assert store.reap_room(A) == ["KEYS", "b"]
    assert store.fields() == {"pana", "pben", "ua.una.1"}
    assert sorted(store.reap_room(A, others=[B])) == ["OK", "a.ana", "a.una.1"]
    (left,) = store.told(B)
    assert isinstance(left, Changes)
    assert left.version == int(version) + 1
    assert {(gone.incarnation, gone.reason) for gone in left.changes if isinstance(gone, Gone)} == {
        (peer("ana").incarnation, LeaveReason.NODE_LOST),
        (user("una").incarnation, LeaveReason.NODE_LOST),
    }
    state = store.state()
    assert (state["#cp"], state["#cu"], "a" in state) == ("1", "0", False)
    assert store.reap_room(A, others=[B]) == ["OK"]
    assert store.told(B) == []


def test_a_room_of_dead_members_alone_vanishes(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.run_out(A)
    store.condemn()
    store.reap_room(A)
    assert store.names() == {store.keys.config, store.keys.nodes, store.keys.inbox(A)}


# --------------------------------------------------------------------------------------------------------------- claim


def _two_nodes(store: Store) -> tuple[Member, Member]:
    """Ana at node A and ben at node B, in one room, with all of that told."""
    store.attach(A)
    store.attach(B)
    ana, ben = peer("ana", color="red"), peer("ben", B)
    store.join(ana)
    store.join(ben, others=[A])
    for node in (A, B):
        store.told(node)
    return ana, ben


def test_a_claimed_member_moves_and_all_are_told_the_old_node_and_the_new_one_included(any_store: Store) -> None:
    store = any_store
    ana, ben = _two_nodes(store)
    before = store.members()[ana.incarnation]
    version = int(store.state()["#v"]) + 1
    assert store.claim(B, ana, 1, rival=A, others=[A]) == ["OK", str(version), "1"]
    told = [Changes(ROOM, version - 1, version, [Moved(ana.incarnation, B, 1)])]
    assert store.told(A) == store.told(B) == told
    assert store.members()[ana.incarnation] == structs.replace(before, node=B, moves=1)
    state = store.state()
    assert (state["b"], "a" in state, state["#cp"], state["#op"]) == ("2", False, "2", "2")
    assert not store.redis.exists(store.keys.rooms_of(A))
    assert set(store.members()) == {ana.incarnation, ben.incarnation}


def test_a_node_with_another_member_in_the_room_stays_in_it(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.join(user("una"), others=[B])
    store.claim(B, ana, 1, rival=A, others=[A])
    assert (store.state()["a"], store.state()["b"]) == ("1", "2")
    assert store.redis.smembers(store.keys.rooms_of(A)) == {ROOM.encode()}


def test_a_claim_by_a_node_new_to_the_room_is_told_all_of_it(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.attach(C)
    assert store.claim(C, ana, 3, rival=A, others=[A, B])[0] == "OK"
    (whole,) = store.told(C)
    assert isinstance(whole, Snapshot)
    assert {(member.id, member.node, member.moves) for member in whole.members} == {("ana", C, 3), ("ben", B, 0)}
    assert store.redis.smembers(store.keys.rooms_of(C)) == {ROOM.encode()}


def test_a_claim_that_asks_for_all_of_the_room_is_told_it_with_the_move(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, rival=A, others=[A], whole=True)
    assert [type(news) for news in store.told(B)] == [Changes, Snapshot]


def test_a_claim_changes_nothing_before_the_node_of_the_member_and_all_inboxes_are_declared(store: Store) -> None:
    ana, _ = _two_nodes(store)
    before = store.state()
    assert store.claim(B, ana, 1, others=[A]) == ["RIVAL", "a"]
    assert store.claim(B, ana, 1, rival=A) == ["KEYS", "a"]
    assert store.state() == before
    assert store.told(A) == store.told(B) == []


def test_a_move_names_the_nodes_of_which_nothing_more_comes(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.attach(C)
    store.join(peer("cia", C), others=[A, B])
    store.run_out(C)
    store.condemn()
    store.told(B)
    assert store.claim(B, ana, 1, rival=A, others=[A, C])[0] == "OK"
    (news,) = store.told(B)
    assert isinstance(news, Changes)
    assert news.changes == [Moved(ana.incarnation, B, 1, (C,))]


def test_a_claim_asked_for_again_changes_nothing(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, rival=A, others=[A])
    before = store.state()
    assert store.claim(B, ana, 1, rival=A, others=[A]) == ["DUP"]
    assert store.state() == before


def test_of_two_claims_the_one_with_more_moves_wins_in_whatever_order_they_come(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.attach(C)
    assert store.claim(B, ana, 1, rival=A, others=[A])[0] == "OK"
    assert store.claim(C, ana, 2, rival=A, others=[A, B]) == ["RIVAL", "b"]
    assert store.claim(C, ana, 2, rival=B, others=[A, B])[0] == "OK"
    for moves in (1, 2):
        assert store.claim(B, ana, moves, rival=C, others=[A, C]) == ["NOOP"]
    assert store.members()[ana.incarnation].node == C
    assert store.state()["b"] == "1"


def test_who_is_gone_or_was_replaced_cannot_be_claimed(store: Store) -> None:
    ana, _ = _two_nodes(store)
    assert store.claim(B, peer("zoe"), 1, rival=A, others=[A]) == ["NOOP"]
    store.mark(ana, away=True, others=[B])
    store.join(peer("ana", B), others=[A], rival=A)
    assert store.claim(B, ana, 1, rival=A, others=[A]) == ["NOOP"]


def test_a_claim_says_whether_the_lease_of_the_old_node_runs(store: Store) -> None:
    ana, _ = _two_nodes(store)
    cia = peer("cia")
    store.join(cia, others=[B])
    store.run_out(A)
    assert store.claim(B, ana, 1, rival=A, others=[A])[2] == "0"
    store.condemned(window=60_000)
    assert store.claim(B, cia, 1, rival=A, others=[A])[2] == "0"


def test_a_node_that_was_declared_dead_can_claim_nobody(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.run_out(B)
    store.condemn()
    assert store.claim(B, ana, 1, rival=A, others=[A]) == ["FENCED"]


def test_a_node_removes_or_marks_no_member_that_is_at_another_by_now(any_store: Store) -> None:
    store = any_store
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, rival=A, others=[A])
    before = store.state()
    assert store.leave(ana, others=[B]) == ["NOOP"]
    assert store.mark(ana, away=True, others=[B]) == ["NOOP"]
    assert store.state() == before
    moved = structs.replace(ana, node=B)
    assert store.mark(moved, away=True, others=[A])[0] == "OK"
    assert store.leave(moved, others=[A])[0] == "OK"


def test_a_room_that_all_members_moved_from_and_left_leaves_no_key(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    before = store.names()
    store.join(peer("ana"))
    store.claim(B, peer("ana"), 1, rival=A, others=[A])
    store.leave(structs.replace(peer("ana"), node=B), others=[A])
    assert store.names() == before


# ----------------------------------------------------------------------------------------------------- resync and moves


def test_a_node_that_does_not_know_that_its_member_moved_is_told_so_and_changes_nothing(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, rival=A, others=[A])
    before = store.state()
    assert store.resync(A, [(structs.replace(ana, order=1), "in")], others=[B]) == ["OK"]
    assert store.state() == before
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    assert {member.id: member.node for member in whole.members} == {"ana": B, "ben": B}


@pytest.mark.parametrize("first", ["old", "new"])
def test_of_two_nodes_that_announce_a_member_the_one_it_moved_to_last_has_it(store: Store, first: str) -> None:
    ana, ben = _two_nodes(store)
    store.redis.delete(store.keys.room(ROOM), store.keys.nodes_of(ROOM))
    known = structs.replace(ana, order=1)

    def old() -> None:
        assert store.resync(A, [(known, "in")], others=[B]) == ["OK"]

    def new() -> None:
        moved = structs.replace(known, node=B, moves=1)
        assert store.resync(B, [(moved, "in"), (structs.replace(ben, order=2), "in")], others=[A]) == ["OK"]

    for announce in (old, new) if first == "old" else (new, old):
        announce()
    assert {one.id: (one.node, one.moves) for one in store.members().values()} == {"ana": (B, 1), "ben": (B, 0)}
    assert (store.state()["b"], "a" in store.state(), store.state()["#cp"]) == ("2", False, "2")
    if first == "old":
        (changes,) = [news for news in store.told(A) if isinstance(news, Changes)]
        assert Moved(ana.incarnation, B, 1) in changes.changes


# ------------------------------------------------------------------------------------------- members of dead nodes


def test_the_members_of_a_dead_node_are_away_first_and_its_inbox_is_told(any_store: Store) -> None:
    store = any_store
    ana, _ = _two_nodes(store)
    store.run_out(A)
    assert store.condemned(window=60_000) == ["a", "0", "1"]
    assert store.reap_room(A, others=[B], reason="") == ["OK"]
    away = [Marked(ana.incarnation, away=True, field="pana")]
    for node in (A, B):
        (told,) = store.told(node)
        assert isinstance(told, Changes)
        assert told.changes == away
    assert store.state()["a"] == "1"
    assert store.reap_node(A) == 0
    assert store.redis.smembers(store.keys.left_by(A)) == {ROOM.encode()}
    assert store.reap_room(A, others=[B], reason="") == ["OK"]
    assert store.told(B) == []


def test_the_members_of_a_dead_node_that_went_on_stay_when_the_others_leave(store: Store) -> None:
    ana, ben = _two_nodes(store)
    store.join(peer("cia"), others=[B])
    store.run_out(A)
    store.condemned(window=60_000)
    store.reap_room(A, others=[B], reason="")
    store.claim(B, ana, 1, rival=A, others=[A])
    assert store.reap_room(A, others=[B], reason="timeout") == ["OK", "a.cia"]
    assert store.incarnations() == {ana.incarnation, ben.incarnation}
    assert "a" not in store.state()
    assert store.reap_node(A) == 1
    assert not store.redis.exists(store.keys.left_by(A), store.keys.inbox(A))


def test_a_condemned_node_has_its_time_once(store: Store) -> None:
    store.attach(A)
    store.run_out(A)
    assert store.condemned(window=60_000) == ["a", "0", "1"]
    deadline = store.deadline(A)
    assert store.condemned(window=60_000) == ["a", "0", "0"]
    assert store.deadline(A) == deadline


def test_the_time_of_a_condemned_node_is_over_when_it_is(store: Store) -> None:
    store.attach(A)
    store.run_out(A)
    store.condemned(window=60_000)
    store.redis.zadd(store.keys.nodes, {A: -int((time.time() - 1) * 1000)})
    assert store.condemned(window=60_000) == ["a", "1", "0"]


def test_a_node_that_stops_with_members_is_condemned_by_itself_and_lost_to_nobody(any_store: Store) -> None:
    store = any_store
    _two_nodes(store)
    assert store.bye(A) == 0
    assert store.retire(A, 60_000) == 1
    assert store.beat(A) == [b"FENCED"]
    assert store.condemned(window=60_000) == ["a", "0", "0"]
    assert store.attach(A) == ["WAIT"]


# ------------------------------------------------------------------------------------------------------------ sessions


def _noted(store: Store, *, proved: bool = False, left: bytes = b"") -> None:
    """Node A has a session of the second generation, and node B and C are there."""
    for node in (A, B, C):
        store.attach(node)
    assert store.note(A, "s", 2, proved=proved, left=left) == "OK"


NOTED = '[["room123","ana","s.1",false]]'


def test_a_session_is_taken_with_its_rooms_and_what_was_left_of_it(any_store: Store) -> None:
    store = any_store
    _noted(store, left=b"state")
    assert store.take(B, "s", 2) == ["OK", "3", "1", NOTED, "state", ""]


def test_the_token_before_is_good_until_the_client_is_known_to_have_the_later_one(store: Store) -> None:
    _noted(store)
    assert store.take(B, "s", 0) == ["NONE"]
    assert store.take(B, "s", 1) == ["OK", "3", "1", NOTED, "", ""]


def test_a_token_is_used_up_once_the_later_one_is_proved(store: Store) -> None:
    _noted(store, proved=True)
    assert store.take(B, "s", 1) == ["NONE"]
    assert store.take(B, "s", 2)[0] == "OK"


def test_a_token_that_is_later_than_what_was_noted_is_good(store: Store) -> None:
    _noted(store, proved=True)
    assert store.take(B, "s", 3) == ["OK", "4", "2", NOTED, "", ""]


def test_a_session_is_for_whom_it_was_opened_alone(store: Store) -> None:
    _noted(store)
    assert store.take(B, "s", 2, whose="user:uma") == ["NONE"]
    assert store.take(B, "nobody", 2) == ["NONE"]


def test_a_node_takes_no_session_that_it_has(store: Store) -> None:
    _noted(store)
    assert store.take(A, "s", 2) == ["NONE"]


def test_one_node_at_a_time_takes_a_session_and_asking_again_changes_nothing(any_store: Store) -> None:
    store = any_store
    _noted(store)
    first = store.take(B, "s", 2)
    assert store.take(C, "s", 2) == ["LATER"]
    assert store.take(B, "s", 2) == first


def test_a_node_that_does_not_come_to_an_end_with_it_loses_a_session_to_the_next(store: Store) -> None:
    _noted(store)
    store.take(B, "s", 2, patience=0)
    assert store.take(C, "s", 2) == ["OK", "4", "1", NOTED, "", ""]


def test_a_session_that_was_taken_can_be_taken_again_when_it_was_noted(store: Store) -> None:
    _noted(store)
    store.take(B, "s", 2)
    store.note(B, "s", 3)
    assert store.take(C, "s", 3)[:2] == ["OK", "4"]


def test_what_the_node_before_says_of_a_session_is_void(store: Store) -> None:
    _noted(store)
    store.take(B, "s", 2)
    assert store.note(A, "s", 2, proved=True) == "NOOP"
    assert store.forget(A, "s") == "NOOP"
    assert store.take(B, "s", 2)[0] == "OK"


def test_a_node_that_has_a_session_again_has_left_nothing_of_it(store: Store) -> None:
    _noted(store, left=b"state")
    store.take(B, "s", 2)
    store.note(B, "s", 3)
    assert store.take(C, "s", 3)[4] == ""


def test_a_session_that_ended_is_for_nobody_and_leaves_no_key(store: Store) -> None:
    _noted(store)
    before = store.names()
    assert store.forget(A, "s") == "OK"
    assert before - store.names() == {store.keys.session("s")}
    assert store.forget(A, "s") == "NOOP"
    assert store.take(B, "s", 2) == ["NONE"]


def test_a_note_that_nobody_renews_is_forgotten(store: Store) -> None:
    _noted(store)
    store.note(A, "s", 2, life=7000)
    assert 0 < store.redis.pttl(store.keys.session("s")) <= 7000


def test_a_node_that_was_declared_dead_takes_no_session(store: Store) -> None:
    _noted(store)
    store.run_out(B)
    store.condemn()
    assert store.take(B, "s", 2) == ["FENCED"]
    assert store.take(NOBODY, "s", 2) == ["FENCED"]


# ---------------------------------------------------------------------------------------------------------- moderation


def test_all_nodes_are_told_of_a_kick_and_the_one_that_has_nobody_left_is_out_of_the_room(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    ana, ben = peer("ana"), peer("ben", B)
    store.join(ana)
    store.join(ben, others=[A])
    for node in (A, B):
        store.told(node)
    assert store.kick(ana, ben) == ["KEYS", "b"]
    word, version = store.kick(ana, ben, others=[B])
    assert word == "OK"
    for node in (A, B):
        (news,) = store.told(node)
        assert isinstance(news, Changes)
        assert (news.version, news.changes) == (int(version), [Gone(ben.incarnation, LeaveReason.KICKED, "pben")])
    assert store.incarnations() == {ana.incarnation}
    assert "b" not in store.state()
    assert not store.redis.exists(store.keys.rooms_of(B))
    assert store.kick(ana, ben) == ["NOOP", version]


def test_who_was_put_out_cannot_be_claimed_nor_announced_again(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana, ben, una = peer("ana"), peer("ben", B), user("una", node=B)
    store.join(ana)
    for member in (ben, una):
        store.join(member, others=[A])
    store.kick(ana, ben, others=[B])
    assert store.claim(A, ben, 1, rival=B) == ["OUT", "kicked"]
    assert store.resync(
        B, [(structs.replace(ben, order=1), "in"), (structs.replace(una, order=1), "in")], others=[A]
    ) == [
        "OK",
        f"{ben.incarnation} kicked",
    ]
    assert store.close_room(ana, others=[B])[0] == "OK"
    assert store.claim(A, una, 1, rival=B) == ["OUT", "room-closed"]
    assert store.names() & {store.keys.room(ROOM), store.keys.nodes_of(ROOM), store.keys.rooms_of(A)} == set()


def test_those_who_were_put_out_are_forgotten_in_time_and_are_no_more_than_may_be(store: Store) -> None:
    store.attach(A)
    ana = peer("ana")
    store.join(ana)
    out = store.keys.out_of(ROOM)
    for number in range(3):
        store.join(peer(f"p{number}"))
        store.kick(ana, peer(f"p{number}"), life=60_000)
    assert store.redis.zcard(out) == 3
    assert 0 < store.redis.pttl(out) <= 60_000
    store.redis.zadd(out, {f"old{number} kicked": number for number in range(MAX_ENTRIES)})
    store.join(peer("last"))
    store.kick(ana, peer("last"), life=60_000)
    assert store.redis.zcard(out) == 4
    store.join(peer("last"))
    store.redis.delete(out)
    store.kick(ana, peer("last"), life=0)
    assert not store.redis.exists(out)


def test_a_locked_room_refuses_joins_but_of_moderators_and_tells_newcomers_so(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana, ben = peer("ana"), peer("ben", B)
    version = store.join(ana)[1]
    assert store.lock(ana, locked=False) == ["NOOP", version]
    word, locked = store.lock(ana)
    assert (word, store.lock(ana)) == ("OK", ["NOOP", locked])
    assert store.join(ben, others=[A]) == ["LOCKED", locked]
    assert store.join(ben, others=[A], moderator=True)[0] == "OK"
    whole = store.told(B)[-1]
    assert isinstance(whole, Snapshot)
    assert whole.lock == int(locked)
    assert store.lock(peer("eve"), others=[B])[0] == "NOOP"


@pytest.mark.parametrize(("known", "locked"), [(50, True), (-50, False), (0, False)])
def test_a_node_announces_the_lock_that_redis_lost(store: Store, known: int, locked: bool) -> None:
    store.attach(A)
    ana = peer("ana", order=1)
    store.resync(A, [(ana, "in")], lock=known)
    assert (int(store.state().get("#l", 0)) > 0) is locked
    assert (store.join(peer("ben"))[0] == "LOCKED") is locked
    store.resync(A, [(ana, "in")], lock=-10)  # an older word than what is known
    assert (int(store.state().get("#l", 0)) > 0) is locked
    store.resync(A, [])
    assert store.state() == {}


def test_a_moderator_who_has_moved_moderates_at_its_new_node_alone(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana, ben = peer("ana"), peer("ben", B)
    store.join(ana)
    store.join(ben, others=[A])
    _, version, *_ = store.claim(B, ana, 1, rival=A, others=[A])
    for reply in (store.kick(ana, ben, others=[B]), store.lock(ana, others=[B]), store.close_room(ana, others=[B])):
        assert reply == ["NOOP", version]
    moved = structs.replace(ana, node=B)
    assert store.lock(moved)[0] == store.kick(moved, ben)[0] == store.close_room(moved)[0] == "OK"


def test_who_is_not_in_the_room_any_more_moderates_nothing(store: Store) -> None:
    store.attach(A)
    version = store.join(peer("ana"))[1]
    eve = peer("eve")
    for reply in (store.kick(eve, peer("ana")), store.lock(eve), store.close_room(eve)):
        assert reply == ["NOOP", version]
