from __future__ import annotations

import re
import time
from importlib.resources import files

import pytest
from msgspec import structs

from mcp_actors.broker.redis import scripts
from mcp_actors.broker.redis.entries import Changes, Damaged, Left, Moved, OwnerFenced, RecoveryEnded, Snapshot, Updated
from mcp_actors.broker.redis.scripts import LIMITED, SCRIPTS
from mcp_actors.protocol.events import Kind, LeaveReason, Member
from mcp_actors.protocol.identifiers import Incarnation, NodeId, RoomId, UserId
from tests.broker.redis.lua import INBOX_LIFE, LEASE, MAX_ENTRIES, ROOM, A, B, C, Store, leaving, peer, presence, user

FILES = sorted(
    (path for path in (files("mcp_actors") / "broker" / "redis" / "lua").iterdir() if path.name.endswith(".lua")),
    key=lambda path: path.name,
)
TEXTS = {path.name.removesuffix(".lua"): path.read_text(encoding="utf-8") for path in FILES}
LIBRARY = TEXTS.pop("common")
ROOMS = [
    RoomId("{a}b"),
    RoomId("}{"),
    RoomId("line\nbreak"),
    RoomId("#version"),
    RoomId("\U0001f980" * 128),
    RoomId("'; return 1 --"),
]
NOBODY = NodeId("nobody")


@pytest.mark.parametrize("name", TEXTS)
def test_each_file_says_what_it_does_and_replies(name: str) -> None:
    header = re.match(r"(--.*\n)+", TEXTS[name])
    assert header is not None
    assert re.match(r"-- [A-Z]", header[0])
    assert re.search(r"^-- Replies: \S", header[0], re.MULTILINE)


@pytest.mark.parametrize("name", TEXTS)
def test_each_file_is_loaded_behind_the_library_under_its_name(name: str) -> None:
    script = getattr(scripts, name.upper())
    assert script in SCRIPTS
    assert script.text.startswith(LIBRARY)
    assert script.text.endswith(TEXTS[name])


@pytest.mark.parametrize("name", sorted({*TEXTS} - LIMITED))
def test_a_script_that_may_exceed_the_memory_begins_with_a_deletion(name: str) -> None:
    text = getattr(scripts, name.upper()).text.removeprefix(LIBRARY)
    written = re.findall(r"redis\.call\('(\w+)', ([\w.\[\]]+)", text)
    deleting = [command for command, _ in written if command not in {"HGET", "HMGET", "EXISTS"}][:1]
    assert deleting in (["ZREM"], ["DEL"], [])
    if deleting == ["ZREM"]:
        assert re.search(r"^takes(_rooms|_nodes)?\(\{'nodes'|^takes_room\(", TEXTS[name], re.MULTILINE)


def test_every_script_has_its_own_file() -> None:
    assert len(SCRIPTS) == len(TEXTS) == len({script.digest for script in SCRIPTS})


@pytest.mark.parametrize("name", TEXTS)
def test_a_script_replies_only_words_that_its_header_names(name: str) -> None:
    text = TEXTS[name]
    header = re.match(r"(--.*\n)+", text)
    assert header is not None
    words = set(re.findall(r"(?:return|reply =) \{?'([A-Z]+)'", text[header.end() :]))
    assert words <= set(re.findall(r"[A-Z]{2,}", header[0].partition("Replies:")[2]))


@pytest.mark.parametrize("name", TEXTS)
def test_a_script_names_its_keys_and_arguments(name: str) -> None:
    assert not re.search(r"\b(KEYS|ARGV)\b(?!, node)", re.sub(r"--.*|'KEYS'", "", TEXTS[name]))


def test_the_digests_are_those_of_the_server(any_store: Store) -> None:
    for script in SCRIPTS:
        assert any_store.redis.script_load(script.text) == script.digest


def test_a_node_registers_and_renews_its_lease(any_store: Store) -> None:
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


def test_nodes_with_other_settings_are_refused(store: Store) -> None:
    store.attach(A, version="1", buckets=4)
    assert store.attach(B, version="1", buckets=8) == ["CONFIG", "1", "4"]
    assert store.attach(B, version="2", buckets=4) == ["CONFIG", "1", "4"]
    assert store.deadline(B) is None
    assert not store.redis.exists(store.keys.inbox(B))
    assert store.attach(B, version="1", buckets=4) == ["NEW"]


def test_a_fenced_node_has_to_wait(store: Store) -> None:
    store.attach(A)
    store.expire_leases(A)
    store.fence()
    assert store.attach(A) == ["WAIT"]
    assert store.attach(A, new=True) == ["WAIT"]
    assert (store.deadline(A) or 0) < 0


def test_an_expired_lease_can_be_renewed_unless_the_node_was_fenced(store: Store) -> None:
    store.attach(A)
    store.expire_leases(A)
    assert store.attach(A) == ["OK"]
    assert store.fence() == []


def test_a_reaped_node_is_told_so_until_it_starts_again(store: Store) -> None:
    store.attach(A)
    store.heartbeat(A, 5)
    store.expire_leases(A)
    store.fence()
    assert store.reap_node(A) == 1
    assert store.attach(A) == ["GONE"]
    assert store.deadline(A) is None
    assert store.attach(A, new=True) == ["NEW"]
    assert len(store.inbox(A)) == 1
    assert store.attach(A) == ["OK"]


def test_a_node_that_starts_again_reads_its_inbox_from_there_on_and_leaves_the_rest_to_others(store: Store) -> None:
    store.attach(A)
    assert store.start == "0-0"
    store.heartbeat(A, 5)
    store.expire_leases(A)
    store.fence()
    assert store.reap_node(A, keep_inbox=True) == 1
    assert store.attach(A, new=True) == ["NEW"]
    assert len(store.inbox(A)) == 3
    (last, _), *_ = store.redis.xrevrange(store.keys.inbox(A), count=1)
    assert store.start == last.decode()
    assert store.attach(A) == ["OK"]
    assert store.start == ""


def test_a_node_that_lost_its_inbox_is_new(store: Store) -> None:
    store.attach(A)
    store.redis.delete(store.keys.inbox(A))
    assert store.attach(A) == ["NEW"]


def _announced(store: Store, *nodes: NodeId) -> None:
    """Nodes are done with announcing their members."""
    store.redis.hdel(store.keys.config, *(f"announcing:{node}" for node in nodes))


def _hold_is_over(store: Store) -> None:
    store.redis.hset(store.keys.config, "joins-from", "1")


def test_joins_wait_after_a_restart_until_all_nodes_have_announced_their_members(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node, run="2", restarted=True, hold=50_000)
    word, wait = store.join(peer("ana"), run="2")
    assert word == "LATER"
    assert 0 < int(wait) <= 50_000
    assert store.fields() == set()
    assert store.resync(A, [(peer("ana", order=1), True)], run="2") == ["OK"]
    _hold_is_over(store)
    for done in (A, B):
        assert store.join(peer("ben", B), others=[A], run="2") == ["LATER", "100"]
        _announced(store, done)
    store.attach(C, run="2")
    assert store.join(peer("ben", C), others=[A], run="2")[0] == "OK"
    store.attach(C, run="3", restarted=True, hold=50_000)
    assert store.join(peer("cia", C), others=[A], run="3")[0] == "LATER"


def test_a_node_that_attaches_twice_announces_its_members_once(store: Store) -> None:
    for _ in range(2):
        store.attach(A, run="2", restarted=True)
    _hold_is_over(store)
    assert store.join(peer("ana"), run="2") == ["LATER", "100"]
    _announced(store, A)
    assert store.join(peer("ana"), run="2")[0] == "OK"


def test_a_node_that_never_finishes_announcing_delays_joins_for_a_lease(store: Store) -> None:
    store.attach(A, run="2", restarted=True, lease=300)
    store.attach(B, run="2")
    _hold_is_over(store)
    assert store.join(peer("ben", B), run="2") == ["LATER", "100"]
    store.redis.hset(store.keys.config, "joins-until", "2")
    assert store.join(peer("ben", B), run="2")[0] == "OK"


def test_a_later_loss_forgets_who_was_announcing_after_an_earlier_one(store: Store) -> None:
    store.attach(A, run="2", restarted=True)
    store.attach(B, run="3", restarted=True)
    _hold_is_over(store)
    _announced(store, B)
    assert store.join(peer("ben", B), run="3")[0] == "OK"


@pytest.mark.parametrize("reaped", [False, True], ids=["fenced", "reaped"])
def test_a_fenced_node_is_no_loss_of_data(any_store: Store, reaped: bool) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    data = store.data
    store.expire_leases(A)
    store.fence()
    assert store.attach(A, data=data) == ["WAIT"]
    store.reap_node(A)
    if reaped:
        assert store.attach(A, data=data) == ["GONE"]
    assert store.attach(A, data=data, new=True, hold=50_000) == ["NEW"]
    assert store.data == data
    assert store.join(peer("ben", B))[0] == "OK"
    assert store.members()[Incarnation("b.ben")].order == 1
    assert set(store.redis.hkeys(store.keys.config)) == {b"version", b"buckets", b"data"}


def test_a_node_fenced_before_a_restart_announces_nothing(store: Store) -> None:
    store.attach(A)
    store.expire_leases(A)
    store.fence()
    store.reap_node(A)
    assert store.attach(A, run="2", restarted=True, data=store.data, new=True) == ["NEW"]
    _hold_is_over(store)
    assert store.join(peer("ana"), run="2")[0] == "OK"


def test_a_loss_without_a_restart_is_recognized_by_the_data(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    data = store.data
    store.redis.flushall()
    assert store.attach(A, data=data, hold=50_000) == ["NEW"]
    assert store.data != data
    assert store.join(peer("ana"))[0] == "LATER"
    assert store.attach(A, data=data) == ["OK"]  # the reply was lost
    assert store.attach(B, data=data) == ["NEW"]
    _hold_is_over(store)
    _announced(store, A)
    assert store.join(peer("ana")) == ["LATER", "100"]


@pytest.mark.parametrize("empty", [False, True], ids=["with its data", "empty"])
def test_newcomers_after_a_loss_get_orders_above_those_of_late_nodes(any_store: Store, empty: bool) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    store.join(peer("ana"))
    late = peer("ben", B, order=2)  # as the end of what the server wrote, which it lost
    if empty:
        store.redis.flushall()
    orders = []
    for run in ("2", "3"):
        store.attach(A, run=run, restarted=True, data=store.data)
        _hold_is_over(store)
        _announced(store, A)
        for number in range(3):
            name = f"new{run}{number}"
            assert store.join(peer(name), run=run)[0] == "OK"
            orders.append(store.members()[Incarnation(f"a.{name}")].order)
    assert orders == sorted(set(orders))
    assert orders[0] > 2
    store.attach(B, run="3", restarted=True)
    assert store.resync(B, [(late, True)], others=[A], run="3") == ["OK"]
    assert store.members()[late.incarnation].order == 2


def test_the_order_of_joins_counts_from_one_again_when_no_node_can_be_late(store: Store) -> None:
    store.attach(A, run="2", restarted=True)
    _hold_is_over(store)
    _announced(store, A)
    store.redis.hset(store.keys.config, "lost-until", "1")
    store.join(peer("ana"), run="2")
    assert store.members()[Incarnation("a.ana")].order == 1


def test_a_node_that_was_not_attached_before_does_not_delay_joins(store: Store) -> None:
    store.attach(A, run="2")
    assert store.join(peer("ana"))[0] == "OK"


def test_a_heartbeat_renews_the_lease_and_adds_a_probe(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    store.redis.persist(store.keys.inbox(A))
    before = store.deadline(A)
    assert store.heartbeat(A, 1, lease=2 * LEASE) == ["OK", 0, 2]
    after = store.deadline(A)
    assert before is not None
    assert after is not None
    assert after > before + LEASE / 2
    assert store.redis.pttl(store.keys.inbox(A)) > 0
    store.expire_leases(B)
    assert store.heartbeat(A, 2) == ["OK", 1, 3]


def test_a_heartbeat_trims_the_inbox(store: Store) -> None:
    store.attach(A)
    for number in range(500):
        store.redis.xadd(store.keys.inbox(A), {"type": "probe", "number": number})
    newest = store.redis.xinfo_stream(store.keys.inbox(A))["last-generated-id"].partition(b"-")[0].decode()
    before = store.redis.xlen(store.keys.inbox(A))
    _, _, left = store.heartbeat(A, 1, trim=str(int(newest) + 1))
    assert left < before


@pytest.mark.parametrize("loss", ["lease", "inbox", "condemned"])
def test_a_heartbeat_of_an_unregistered_node_is_refused(store: Store, loss: str) -> None:
    store.attach(A)
    if loss == "lease":
        store.redis.zrem(store.keys.nodes, A)
    elif loss == "inbox":
        store.redis.delete(store.keys.inbox(A))
    else:
        store.expire_leases(A)
        store.fence()
    before = store.deadline(A)
    assert store.heartbeat(A) == ["FENCED"]
    assert store.deadline(A) == before
    assert loss != "inbox" or not store.redis.exists(store.keys.inbox(A))


def test_only_nodes_with_an_expired_lease_are_fenced(store: Store) -> None:
    for node in (A, B, C):
        store.attach(node)
    store.expire_leases(A, C)
    assert sorted(store.fence()) == [A, C]
    assert (store.deadline(B) or 0) > 0
    assert store.heartbeat(B)[1] == 2
    assert sorted(store.fence()) == [A, C]


def test_the_number_of_nodes_fenced_at_once_is_limited(store: Store) -> None:
    for node in (A, B, C):
        store.attach(node)
    store.expire_leases(A, B, C)
    assert len(store.fence(2)) == 2
    assert sum((store.deadline(node) or 0) < 0 for node in (A, B, C)) == 2


def test_a_fenced_node_is_refused_by_every_script_of_rooms(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.expire_leases(A)
    store.fence()
    before = store.state()
    assert store.join(peer("ben")) == ["FENCED"]
    assert store.leave(peer("ana")) == ["FENCED"]
    assert store.resync(A, []) == ["FENCED"]
    assert store.expire(A, [peer("zoe", B)]) == ["FENCED"]
    assert store.state() == before


def test_a_node_that_never_attached_is_refused(store: Store) -> None:
    assert store.join(peer("ana", NOBODY)) == ["FENCED"]
    assert store.key_names() == set()


def test_a_fenced_node_is_deleted_once_it_has_no_members(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.expire_leases(A)
    assert store.reap_node(A) == 0
    store.fence()
    assert store.reap_node(A) == 0
    assert store.reap_room(A) == ["OK", "a.ana"]
    assert store.reap_node(A, life=50_000) == 1
    assert store.key_names() == {store.keys.config, store.keys.tombstone(A)}
    assert 0 < store.redis.pttl(store.keys.tombstone(A)) <= 50_000
    assert store.reap_node(A) == 0


def test_a_living_node_is_not_reaped(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    assert store.reap_room(A) == ["ALIVE"]
    assert store.reap_room(NOBODY) == ["ALIVE"]
    assert store.reap_node(A) == 0
    assert store.fields() == {"peer:ana"}


def test_the_last_node_deletes_the_configuration(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    assert store.unregister(A) == 1
    assert store.key_names() == {store.keys.config, store.keys.nodes, store.keys.inbox(B)}
    assert store.unregister(B) == 1
    assert store.key_names() == set()


def test_a_node_with_members_is_fenced_instead_of_unregistered(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    before = store.key_names()
    assert store.unregister(A) == 0
    assert store.key_names() == before
    assert (store.deadline(A) or 0) < 0


def test_a_new_node_gets_a_snapshot_and_the_others_the_change(any_store: Store) -> None:
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
        "a": "1", "b": "1", "#version": second, "#run": "run", "#joins:peer": "2", "#present:peer": "2",
    }  # fmt: skip


def test_a_repeated_join_script_changes_nothing(store: Store) -> None:
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
    assert store.join(peer("ana", B), others=[A]) == ["TAKEN", before["#version"]]
    assert store.state() == before
    assert store.join(user("ana", 1))[0] == "OK"
    assert store.join(user("ana", 2))[0] == "OK"
    assert store.fields() == {"peer:ana", "user:ana a.ana.1", "user:ana a.ana.2"}


def test_each_kind_has_a_capacity_of_its_own(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    assert store.join(peer("ana"), capacity=1)[0] == "OK"
    assert store.join(peer("ben"), capacity=1) == ["FULL", store.state()["#version"]]
    assert store.join(user("ben"), capacity=1)[0] == "OK"
    assert store.join(user("ana"), capacity=1) == ["FULL", store.state()["#version"]]
    assert store.join(peer("ben"), capacity=2)[0] == "OK"
    store.leave(peer("ana"))
    store.leave(user("ben"))
    assert store.join(user("ana"), capacity=1)[0] == "OK"
    assert store.join(peer("ana"), capacity=1) == ["FULL", store.state()["#version"]]


def test_a_taken_id_is_reported_in_a_full_room_too(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    _, version = store.join(peer("ana"), capacity=1)
    assert store.join(peer("ana", B), capacity=1, others=[A]) == ["TAKEN", version]


def test_join_orders_are_counted_per_kind_and_never_reused(store: Store) -> None:
    store.attach(A)
    for member in (peer("ana"), user("una"), peer("ben"), user("una", 2)):
        store.join(member)
    store.leave(peer("ben"))
    store.join(peer("cia"))
    store.join(peer("dan"), snapshot=True)
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    orders = {member.incarnation: member.order for member in whole.members}
    assert orders == {"a.ana": 1, "a.una.1": 1, "a.una.2": 2, "a.cia": 3, "a.dan": 4}


def test_join_orders_start_again_with_the_room_but_versions_rise(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    _, last = store.leave(peer("ana"))
    assert store.join(peer("ben"))[0] == "OK"
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    assert [member.order for member in whole.members] == [1]
    assert whole.version > int(last)


def test_versions_rise_over_a_data_loss_and_a_restart(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    versions = [store.join(peer("ana"))[1], store.join(peer("ben"), run="2")[1], store.join(peer("cia"), run="2")[1]]
    store.redis.flushall()
    store.attach(A)
    versions.append(store.join(peer("ana"), run="3")[1])
    assert [int(version) for version in versions] == sorted({int(version) for version in versions})
    assert int(versions[2]) == int(versions[1]) + 1


def test_versions_rise_when_the_clock_is_set_back(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.redis.hset(store.keys.state(ROOM), "#version", str(2**52))
    assert store.join(peer("ben"), run="another")[1] == str(2**52 + 1)
    assert store.join(peer("cia"), run="another")[1] == str(2**52 + 2)


def test_undeclared_keys_are_requested_before_anything_is_written(any_store: Store) -> None:
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


def test_a_requested_snapshot_follows_the_change(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.told(A)
    store.join(peer("ben"), snapshot=True)
    assert [type(news) for news in store.told(A)] == [Changes, Snapshot]
    assert store.state()["a"] == "2"


def test_a_deleted_inbox_is_not_created_again(store: Store) -> None:
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
    assert store.resync(A, [(peer("ana"), True)], room=room, others=[B]) == ["OK"]
    assert store.leave(peer("ana"), room=room, others=[B])[0] == "OK"
    assert store.leave(peer("ben", B), room=room)[0] == "OK"
    assert not store.redis.exists(store.keys.members(room), store.keys.state(room))


def test_a_peer_may_have_the_id_of_a_field(store: Store) -> None:
    store.attach(A)
    for name in ("#version", "#run", "p", "a"):
        assert store.join(peer(name))[0] == "OK"
    assert store.state()["a"] == "4"


def test_a_leave_is_published_to_all_nodes(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(A)
    store.told(B)
    _, version = store.leave(peer("ana"), others=[B], reason="timeout")
    left = [Changes(ROOM, int(version) - 1, int(version), [leaving(peer("ana"), LeaveReason.TIMEOUT)])]
    assert store.told(A) == left
    assert store.told(B) == left
    assert not store.redis.exists(store.keys.rooms_of(A))
    assert store.state() == {"b": "1", "#version": version, "#run": "run", "#joins:peer": "2", "#present:peer": "1"}


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


def test_the_last_leave_deletes_the_room(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    before = store.key_names()
    store.join(peer("ana"))
    store.join(user("ana"))
    store.leave(peer("ana"))
    assert store.redis.exists(store.keys.members(ROOM))
    store.leave(user("ana"))
    assert store.key_names() == before


def test_a_resync_without_differences_sends_a_snapshot_only(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    ana = structs.replace(peer("ana"), order=1)
    store.join(ana)
    _, version = store.join(peer("ben", B), others=[A])
    store.told(A)
    store.told(B)
    before = store.state()
    assert store.resync(A, [(ana, True)], token="9", others=[B]) == ["OK"]  # noqa: S106 - of a question
    (whole,) = store.told(A)
    assert isinstance(whole, Snapshot)
    assert (whole.version, whole.token, whole.run_id) == (int(version), "9", "run")
    assert store.told(B) == []
    assert store.state() == before


def test_a_resync_after_a_restart_issues_a_new_version(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    _, version = store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(B)
    store.resync(A, [(peer("ana", order=1), True)], others=[B], run="2")
    (nothing,) = store.told(B)
    assert isinstance(nothing, Changes)
    assert nothing.changes == []
    assert nothing.version > nothing.after == int(version) + 1
    assert store.state()["#run"] == "2"


def test_members_that_redis_lost_keep_their_join_orders(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    store.attach(B)
    members = [peer("ana", order=3), user("una", order=2)]
    assert store.resync(A, [(member, True) for member in members]) == ["OK"]
    (whole,) = store.told(A)
    assert isinstance(whole, Snapshot)
    assert {member.incarnation: member for member in whole.members} == {
        member.incarnation: member for member in members
    }
    assert store.state() | {"#version": ""} == {
        "a": "2", "#version": "", "#run": "run", "#joins:peer": "3", "#joins:user": "2",
        "#present:peer": "1", "#present:user": "1",
    }  # fmt: skip
    store.join(peer("ben", B), others=[A])
    (joined,) = store.told(A)
    assert isinstance(joined, Changes)
    assert joined.changes == [structs.replace(peer("ben", B), order=4)]


def test_an_unconfirmed_member_is_neither_added_nor_removed(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    assert store.resync(A, [(peer("ana"), False), (peer("ben"), False)]) == ["OK"]
    assert store.fields() == {"peer:ana"}
    assert store.state()["a"] == "1"


def test_members_unknown_to_their_node_leave_in_one_version(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    for member in (peer("ana"), peer("ben"), user("una")):
        store.join(member)
    _, version = store.join(peer("cia", B), others=[A])
    store.told(B)
    assert store.resync(A, [(peer("ana", order=1), True)], others=[B]) == ["OK"]
    (left,) = store.told(B)
    assert isinstance(left, Changes)
    assert left.version == int(version) + 1
    gone = {(peer("ben").incarnation, LeaveReason.DISCONNECTED), (user("una").incarnation, LeaveReason.DISCONNECTED)}
    assert {(gone.incarnation, gone.reason) for gone in left.changes if isinstance(gone, Left)} == gone
    state = store.state()
    assert (state["a"], state["b"], state["#present:peer"], state["#present:user"]) == ("1", "1", "2", "0")


@pytest.mark.parametrize("rival", ["id", "order"])
def test_a_displaced_member_is_reported(store: Store, rival: str) -> None:
    store.attach(A)
    store.attach(B)
    other = peer("ana" if rival == "id" else "ben", B)
    store.join(other)
    before = store.fields()
    ana = peer("ana", order=0 if rival == "id" else 1)
    assert store.resync(A, [(ana, True)], others=[B]) == ["OK", ana.incarnation, "", ""]
    assert store.fields() == before
    assert "a" not in store.state()
    assert not store.redis.exists(store.keys.rooms_of(A))


@pytest.mark.parametrize("owner_first", [True, False])
def test_no_user_id_is_owned_and_claimed_after_a_resync(store: Store, owner_first: bool) -> None:
    store.attach(A)
    store.attach(B)
    store.join(structs.replace(user("ana", 1, B), verified=owner_first))
    before = store.fields()
    late = structs.replace(user("ana", 2, order=0), verified=not owner_first)
    alike = structs.replace(user("ana", 3, order=3), verified=owner_first)
    assert store.resync(A, [(late, True), (alike, True)], others=[B]) == ["OK", late.incarnation, "", ""]
    assert len(store.fields()) == len(before) + 1


def test_of_two_members_that_cannot_be_there_together_the_later_stays_in_a_resync(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana", B))
    store.join(user("una", 1, B), others=[B])
    store.told(B)
    ana, una = peer("ana", order=2), structs.replace(user("una", 2, order=2), verified=True)
    assert store.resync(A, [(ana, True), (una, True)], others=[B]) == ["OK"]
    assert store.incarnations() == {ana.incarnation, una.incarnation}
    (told,) = store.told(B)
    assert isinstance(told, Changes)
    gone = {one.incarnation for one in told.changes if isinstance(one, Left)}
    assert gone == {peer("ana", B).incarnation, user("una", 1, B).incarnation}


def test_a_member_whose_move_redis_lost_is_moved_by_its_former_node(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    moved = structs.replace(peer("ana"), node=B, epoch=3)
    assert store.resync(A, [], others=[B], elsewhere=[moved]) == ["OK"]
    assert (store.members()[moved.incarnation].node, store.members()[moved.incarnation].epoch) == (B, 3)
    assert store.state()["b"] == "2"
    assert "a" not in store.state()


def test_a_member_takes_the_id_of_an_earlier_member_of_its_node_in_a_resync(store: Store) -> None:
    ana, again = peer("ana", order=1), structs.replace(peer("ana", order=1), incarnation=Incarnation("a.again"))
    store.attach(A)
    store.attach(B)
    store.join(ana)
    store.join(peer("ben", B), others=[A])
    store.told(B)
    assert store.resync(A, [(again, True)], others=[B]) == ["OK"]
    assert store.incarnations() == {"a.again", "b.ben"}
    (told,) = store.told(B)
    assert isinstance(told, Changes)
    assert [one.incarnation for one in told.changes if isinstance(one, Left | Member)] == [ana.incarnation, "a.again"]


def test_a_resync_of_nothing_leaves_no_key(store: Store) -> None:
    store.attach(A)
    before = store.key_names()
    store.join(peer("ana"))
    assert store.resync(A, []) == ["OK"]
    assert store.key_names() == before
    assert store.resync(A, []) == ["OK"]
    assert store.key_names() == before


@pytest.mark.parametrize("key", ["members", "state"])
def test_a_join_of_a_damaged_room_changes_nothing_until_a_resync_repaired_it(any_store: Store, key: str) -> None:
    store = any_store
    for node in (A, B, C):
        store.attach(node)
    ana, ben = peer("ana"), peer("ben", B)
    store.join(ana)
    store.join(ben, others=[A])
    for node in (A, B):
        store.told(node)
    store.redis.delete(getattr(store.keys, key)(ROOM))
    before = store.key_names()
    assert store.join(peer("cia", C), others=[A, B]) == ["DAMAGED"]
    assert store.key_names() == before
    assert store.resync(C, [], others=[A, B]) == ["OK"]
    for node, member in ((A, structs.replace(ana, order=1)), (B, structs.replace(ben, order=2))):
        assert Damaged(ROOM) in store.inbox(node)
        assert store.resync(node, [(member, True)], others=[one for one in (A, B) if one != node]) == ["OK"]
    assert Damaged(ROOM) not in store.inbox(C)
    assert store.join(peer("cia", C), others=[A, B])[0] == "OK"
    assert {one.incarnation: one.order for one in store.members().values()} == {"a.ana": 1, "b.ben": 2, "c.cia": 3}
    (stored,) = store.audit(A, (ROOM, [ana]))
    assert stored.sound


def test_a_resync_registers_a_node_that_has_members_and_no_lease(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    lease = store.deadline(A)
    store.redis.zrem(store.keys.nodes, B)
    assert not store.audit(A, (ROOM, [peer("ana")]))[0].sound
    store.resync(A, [(peer("ana", order=1), True)], others=[B])
    assert (store.deadline(B) or 0) > 0
    assert store.deadline(A) == lease
    assert store.audit(A, (ROOM, [peer("ana")]))[0].sound
    store.expire_leases(B)
    assert store.fence() == [B]
    assert store.reap_room(B, others=[A]) == ["OK", "b.ben"]


def test_a_resync_corrects_wrong_counts(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.redis.hset(store.keys.state(ROOM), "a", "5")
    store.redis.delete(store.keys.rooms_of(A))
    store.resync(A, [(peer("ana", order=1), True)])
    assert store.state()["a"] == "1"
    assert store.redis.smembers(store.keys.rooms_of(A)) == {ROOM.encode()}


def test_expired_suspects_leave_in_one_version(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    _, version = store.join(peer("ben", B), others=[A])
    store.told(A)
    store.told(B)
    lost = [peer("cia", C), user("una", 1, C)]
    assert store.expire(A, lost, others=[B]) == ["OK"]
    gone = [leaving(member, LeaveReason.NODE_LOST) for member in lost]
    assert store.told(A) == store.told(B) == [Changes(ROOM, int(version), int(version) + 1, [*gone])]


def test_a_suspect_that_is_present_stays(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    store.join(peer("ana"))
    store.join(peer("ben", B), others=[A])
    store.told(A)
    assert store.expire(A, [peer("ben", B)], others=[B]) == ["OK"]
    assert store.told(A) == []
    assert store.expire(A, [peer("ben", C)], others=[B]) == ["OK"]  # another incarnation of the same id
    assert store.fields() == {"peer:ana", "peer:ben"}


def test_an_expiry_in_a_deleted_room_leaves_no_key(store: Store) -> None:
    store.attach(A)
    before = store.key_names()
    assert store.expire(A, [peer("ben", B)]) == ["OK"]
    assert store.key_names() == before


def test_the_members_of_a_dead_node_leave_in_one_version(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    store.join(peer("ana"))
    store.join(user("una"))
    _, version = store.join(peer("ben", B), others=[A])
    store.told(B)
    store.expire_leases(A)
    store.fence()
    assert store.reap_room(A) == ["KEYS", "b"]
    assert store.fields() == {"peer:ana", "peer:ben", "user:una a.una.1"}
    assert sorted(store.reap_room(A, others=[B])) == ["OK", "a.ana", "a.una.1"]
    (left,) = store.told(B)
    assert isinstance(left, Changes)
    assert left.version == int(version) + 1
    assert {(gone.incarnation, gone.reason) for gone in left.changes if isinstance(gone, Left)} == {
        (peer("ana").incarnation, LeaveReason.NODE_LOST),
        (user("una").incarnation, LeaveReason.NODE_LOST),
    }
    state = store.state()
    assert (state["#present:peer"], state["#present:user"], "a" in state) == ("1", "0", False)
    assert store.reap_room(A, others=[B]) == ["OK"]
    assert store.told(B) == []


def test_reaping_the_last_members_deletes_the_room(store: Store) -> None:
    store.attach(A)
    store.join(peer("ana"))
    store.expire_leases(A)
    store.fence()
    store.reap_room(A)
    assert store.key_names() == {store.keys.config, store.keys.nodes, store.keys.inbox(A)}


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


def test_a_move_is_published_to_all_nodes(any_store: Store) -> None:
    store = any_store
    ana, ben = _two_nodes(store)
    before = store.members()[ana.incarnation]
    version = int(store.state()["#version"]) + 1
    assert store.claim(B, ana, 1, owner=A, others=[A]) == ["OK", str(version), "1"]
    told = [Changes(ROOM, version - 1, version, [Moved(ana.incarnation, B, 1)])]
    assert store.told(A) == store.told(B) == told
    assert store.members()[ana.incarnation] == structs.replace(before, node=B, epoch=1)
    state = store.state()
    assert (state["b"], "a" in state, state["#present:peer"], state["#joins:peer"]) == ("2", False, "2", "2")
    assert not store.redis.exists(store.keys.rooms_of(A))
    assert set(store.members()) == {ana.incarnation, ben.incarnation}


def test_the_old_node_stays_in_a_room_with_another_member(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.join(user("una"), others=[B])
    store.claim(B, ana, 1, owner=A, others=[A])
    assert (store.state()["a"], store.state()["b"]) == ("1", "2")
    assert store.redis.smembers(store.keys.rooms_of(A)) == {ROOM.encode()}


def test_a_claim_by_a_node_new_to_the_room_sends_a_snapshot(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.attach(C)
    assert store.claim(C, ana, 3, owner=A, others=[A, B])[0] == "OK"
    (whole,) = store.told(C)
    assert isinstance(whole, Snapshot)
    assert {(member.id, member.node, member.epoch) for member in whole.members} == {("ana", C, 3), ("ben", B, 0)}
    assert store.redis.smembers(store.keys.rooms_of(C)) == {ROOM.encode()}


def test_a_requested_snapshot_follows_the_move(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, owner=A, others=[A], snapshot=True)
    assert [type(news) for news in store.told(B)] == [Changes, Snapshot]


def test_a_claim_needs_the_owner_and_all_keys(store: Store) -> None:
    ana, _ = _two_nodes(store)
    before = store.state()
    assert store.claim(B, ana, 1, others=[A]) == ["OWNER", "a"]
    assert store.claim(B, ana, 1, owner=A) == ["KEYS", "a"]
    assert store.state() == before
    assert store.told(A) == store.told(B) == []


def test_a_move_names_silent_nodes(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.attach(C)
    store.join(peer("cia", C), others=[A, B])
    store.expire_leases(C)
    store.fence()
    store.told(B)
    assert store.claim(B, ana, 1, owner=A, others=[A, C])[0] == "OK"
    (news,) = store.told(B)
    assert isinstance(news, Changes)
    assert news.changes == [Moved(ana.incarnation, B, 1, (C,))]


def test_a_claimed_member_is_attached_at_once_and_no_newcomer_takes_its_place(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.set_presence(ana, detached=True, others=[B])
    store.told(B)
    _, version, _ = store.claim(B, ana, 1, owner=A, others=[A])
    assert not store.members()[ana.incarnation].detached
    (news,) = store.told(B)
    assert isinstance(news, Changes)
    assert (news.version, news.changes) == (int(version), [Moved(ana.incarnation, B, 1), presence(ana, detached=False)])
    newcomer = structs.replace(peer("ana", B), incarnation=Incarnation("newcomer"))
    assert store.join(newcomer, others=[A])[0] == "TAKEN"


def test_a_repeated_claim_changes_nothing(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, owner=A, others=[A])
    before = store.state()
    assert store.claim(B, ana, 1, owner=A, others=[A]) == ["DUP"]
    assert store.state() == before


def test_the_fence_of_an_owner_is_published_to_all_nodes_in_the_order_of_changes(any_store: Store) -> None:
    store = any_store
    ana, _ = _two_nodes(store)
    store.join(peer("amy"), others=[B])
    store.claim(B, ana, 2, owner=A, others=[A])
    for node in (A, B):
        store.told(node)
    assert store.fence_owner(B, ana, 2) == ["KEYS", "a"]
    word, version = store.fence_owner(B, ana, 2, others=[A])
    assert (word, version) == ("OK", store.state()["#version"])
    told = Changes(ROOM, int(version) - 1, int(version), [OwnerFenced(ana.incarnation, 2)])
    assert [store.told(node) for node in (A, B)] == [[told], [told]]


def test_the_end_of_a_recovery_is_published_to_all_nodes_although_the_member_has_moved_on(any_store: Store) -> None:
    store = any_store
    ana, _ = _two_nodes(store)
    store.join(peer("amy"), others=[B])
    for epoch, node in ((2, B), (3, A)):
        store.claim(node, ana, epoch, owner=A if node == B else B, others=[A, B])
    for node in (A, B):
        store.told(node)
    assert store.end_recovery(B, ana, 2) == ["KEYS", "a"]
    word, version = store.end_recovery(B, ana, 2, others=[A])
    assert (word, version) == ("OK", store.state()["#version"])
    told = Changes(ROOM, int(version) - 1, int(version), [RecoveryEnded(ana.incarnation, 2)])
    assert [store.told(node) for node in (A, B)] == [[told], [told]]


def test_the_end_of_a_recovery_makes_no_room(store: Store) -> None:
    store.attach(A)
    assert store.end_recovery(A, peer("ana"), 2) == ["NOOP"]
    assert store.state() == {}
    assert store.end_recovery(NOBODY, peer("ana"), 2) == ["FENCED"]


@pytest.mark.parametrize(("node", "epoch"), [(A, 2), (B, 1), (B, 3)])
def test_only_the_node_and_the_epoch_of_a_member_fence_its_earlier_owners(
    store: Store, node: NodeId, epoch: int
) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 2, owner=A, others=[A])
    before = store.state()
    assert store.fence_owner(node, ana, epoch, others=[A, B]) == ["NOOP"]
    assert store.state() == before


def test_the_claim_with_the_higher_epoch_wins_in_any_order(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.attach(C)
    assert store.claim(B, ana, 1, owner=A, others=[A])[0] == "OK"
    assert store.claim(C, ana, 2, owner=A, others=[A, B]) == ["OWNER", "b"]
    assert store.claim(C, ana, 2, owner=B, others=[A, B])[0] == "OK"
    for epoch in (1, 2):
        assert store.claim(B, ana, epoch, owner=C, others=[A, C]) == ["NOOP"]
    assert store.members()[ana.incarnation].node == C
    assert store.state()["b"] == "1"


def test_an_absent_or_replaced_member_cannot_be_claimed(store: Store) -> None:
    ana, _ = _two_nodes(store)
    assert store.claim(B, peer("zoe"), 1, owner=A, others=[A]) == ["NOOP"]
    store.set_presence(ana, detached=True, others=[B])
    store.join(structs.replace(peer("ana", B), verified=True), others=[A])
    assert store.claim(B, ana, 1, owner=A, others=[A]) == ["NOOP"]


def test_a_claim_reports_whether_the_lease_of_the_old_node_is_valid(store: Store) -> None:
    ana, _ = _two_nodes(store)
    cia = peer("cia")
    store.join(cia, others=[B])
    store.expire_leases(A)
    assert store.claim(B, ana, 1, owner=A, others=[A])[2] == "0"
    store.fenced(window=60_000)
    assert store.claim(B, cia, 1, owner=A, others=[A])[2] == "0"


def test_a_fenced_node_cannot_claim(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.expire_leases(B)
    store.fence()
    assert store.claim(B, ana, 1, owner=A, others=[A]) == ["FENCED"]


def test_the_old_node_cannot_change_a_member_that_moved(any_store: Store) -> None:
    store = any_store
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, owner=A, others=[A])
    before = store.state()
    assert store.leave(ana, others=[B]) == ["NOOP"]
    assert store.set_presence(ana, detached=True, others=[B]) == ["NOOP"]
    assert store.state() == before
    moved = structs.replace(ana, node=B)
    assert store.set_presence(moved, detached=True, others=[A])[0] == "OK"
    assert store.leave(moved, others=[A])[0] == "OK"


def test_a_room_leaves_no_key_after_a_move_and_a_leave(store: Store) -> None:
    store.attach(A)
    store.attach(B)
    before = store.key_names()
    store.join(peer("ana"))
    store.claim(B, peer("ana"), 1, owner=A, others=[A])
    store.leave(structs.replace(peer("ana"), node=B), others=[A])
    assert store.key_names() == before


def test_a_resync_of_the_old_node_does_not_undo_a_move(store: Store) -> None:
    ana, _ = _two_nodes(store)
    store.claim(B, ana, 1, owner=A, others=[A])
    before = store.state()
    assert store.resync(A, [(structs.replace(ana, order=1), True)], others=[B]) == ["OK"]
    assert store.state() == before
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    assert {member.id: member.node for member in whole.members} == {"ana": B, "ben": B}


@pytest.mark.parametrize("first", ["old", "new"])
def test_the_announcement_with_the_higher_epoch_wins(store: Store, first: str) -> None:
    ana, ben = _two_nodes(store)
    store.redis.delete(store.keys.members(ROOM), store.keys.state(ROOM))
    known = structs.replace(ana, order=1)

    def old() -> None:
        assert store.resync(A, [(known, True)], others=[B]) == ["OK"]

    def new() -> None:
        moved = structs.replace(known, node=B, epoch=1)
        assert store.resync(B, [(moved, True), (structs.replace(ben, order=2), True)], others=[A]) == ["OK"]

    for announce in (old, new) if first == "old" else (new, old):
        announce()
    assert {one.id: (one.node, one.epoch) for one in store.members().values()} == {"ana": (B, 1), "ben": (B, 0)}
    assert (store.state()["b"], "a" in store.state(), store.state()["#present:peer"]) == ("2", False, "2")
    if first == "old":
        (changes,) = [news for news in store.told(A) if isinstance(news, Changes)]
        assert Moved(ana.incarnation, B, 1) in changes.changes


def test_detaching_the_members_of_a_dead_node_is_published_to_its_inbox_too(any_store: Store) -> None:
    store = any_store
    ana, _ = _two_nodes(store)
    store.expire_leases(A)
    assert store.fenced(window=60_000) == ["a", "0", "1"]
    assert store.reap_room(A, others=[B], reason="") == ["OK"]
    detached = [presence(ana, detached=True)]
    for node in (A, B):
        (told,) = store.told(node)
        assert isinstance(told, Changes)
        assert told.changes == detached
    assert store.state()["a"] == "1"
    assert store.reap_node(A) == 0
    assert store.redis.smembers(store.keys.left_by(A)) == {ROOM.encode()}
    assert store.reap_room(A, others=[B], reason="") == ["OK"]
    assert store.told(B) == []


def test_members_that_moved_from_a_dead_node_stay(store: Store) -> None:
    ana, ben = _two_nodes(store)
    store.join(peer("cia"), others=[B])
    store.expire_leases(A)
    store.fenced(window=60_000)
    store.reap_room(A, others=[B], reason="")
    store.claim(B, ana, 1, owner=A, others=[A])
    assert store.reap_room(A, others=[B], reason="timeout") == ["OK", "a.cia"]
    assert store.incarnations() == {ana.incarnation, ben.incarnation}
    assert "a" not in store.state()
    assert store.reap_node(A) == 1
    assert not store.redis.exists(store.keys.left_by(A), store.keys.inbox(A))


def test_the_window_of_a_fenced_node_starts_once(store: Store) -> None:
    store.attach(A)
    store.expire_leases(A)
    assert store.fenced(window=60_000) == ["a", "0", "1"]
    deadline = store.deadline(A)
    assert store.fenced(window=60_000) == ["a", "0", "0"]
    assert store.deadline(A) == deadline


def test_the_window_of_a_fenced_node_ends(store: Store) -> None:
    store.attach(A)
    store.expire_leases(A)
    store.fenced(window=60_000)
    store.redis.zadd(store.keys.nodes, {A: -int((time.time() - 1) * 1000)})
    assert store.fenced(window=60_000) == ["a", "1", "0"]


def test_a_node_that_stops_with_members_is_not_reported_as_lost(any_store: Store) -> None:
    store = any_store
    _two_nodes(store)
    assert store.unregister(A) == 0
    assert store.heartbeat(A) == ["FENCED"]
    assert store.fenced(window=60_000) == ["a", "0", "0"]
    assert store.attach(A) == ["WAIT"]


def _noted(store: Store, *, proved: bool = False, left: bytes = b"") -> None:
    """Node A has a session of the second generation, and node B and C are there."""
    for node in (A, B, C):
        store.attach(node)
    assert store.save_session(A, "s", 2, proved=proved, left=left) == "OK"


NOTED = '[["room123","ana","s.1",false]]'


def test_a_session_is_acquired_with_its_rooms_and_state(any_store: Store) -> None:
    store = any_store
    _noted(store, left=b"state")
    assert store.acquire_session(B, "s", 2) == ["OK", "3", "1", NOTED, "state", "", "1"]


def test_the_previous_token_is_valid_until_the_next_one_is_proved(store: Store) -> None:
    _noted(store)
    assert store.acquire_session(B, "s", 0) == ["NONE"]
    assert store.acquire_session(B, "s", 1) == ["OK", "3", "1", NOTED, "", "", "1"]


def test_a_token_is_spent_once_a_later_one_is_proved(store: Store) -> None:
    _noted(store, proved=True)
    assert store.acquire_session(B, "s", 1) == ["NONE"]
    assert store.acquire_session(B, "s", 2)[0] == "OK"


def test_a_token_later_than_the_record_is_valid(store: Store) -> None:
    _noted(store, proved=True)
    assert store.acquire_session(B, "s", 3) == ["OK", "4", "2", NOTED, "", "", "1"]


def test_a_session_belongs_to_its_owner(store: Store) -> None:
    _noted(store)
    assert store.acquire_session(B, "s", 2, owner="user:uma") == ["NONE"]
    assert store.acquire_session(B, "nobody", 2) == ["NONE"]


def test_a_node_cannot_acquire_its_own_session(store: Store) -> None:
    _noted(store)
    assert store.acquire_session(A, "s", 2) == ["NONE"]


def test_one_node_at_a_time_acquires_a_session(any_store: Store) -> None:
    store = any_store
    _noted(store)
    first = store.acquire_session(B, "s", 2)
    assert store.acquire_session(C, "s", 2) == ["LATER"]
    assert store.acquire_session(B, "s", 2) == first


def test_a_node_whose_first_reply_was_lost_acquires_the_session_however_late(store: Store) -> None:
    _noted(store)
    first = store.acquire_session(B, "s", 2, hold=0)
    assert store.acquire_session(B, "s", 2) == first
    assert store.acquire_session(C, "s", 2) == ["LATER"]
    store.save_session(B, "s", 3, epoch=1)
    assert store.acquire_session(B, "s", 2) == ["NONE"]


def test_a_session_can_be_acquired_again_after_the_hold(store: Store) -> None:
    _noted(store)
    store.acquire_session(B, "s", 2, hold=0)
    assert store.acquire_session(C, "s", 2) == ["OK", "4", "1", NOTED, "", "", "2"]


def test_an_acquired_session_can_be_acquired_again_once_saved(store: Store) -> None:
    _noted(store)
    store.acquire_session(B, "s", 2)
    store.save_session(B, "s", 3, epoch=1)
    assert store.acquire_session(C, "s", 3)[:2] == ["OK", "4"]


def test_an_attempt_is_superseded_by_one_that_was_not_made_before_and_has_succeeded(any_store: Store) -> None:
    store, now = any_store, _milliseconds(any_store)
    _noted(store)
    assert store.acquire_session(B, "s", 2, asked_at=now - 1000)[0] == "OK"
    assert store.acquire_session(C, "s", 2, asked_at=now - 2000) == ["LATER"]
    store.save_session(B, "s", 3, epoch=1)
    for asked_at in (now - 2000, now - 1000, now - 950):
        assert store.acquire_session(C, "s", 2, asked_at=asked_at) == ["SUPERSEDED"]
    assert store.acquire_session(C, "s", 2, asked_at=now - 500)[0] == "OK"


def test_a_session_that_was_resumed_at_its_own_node_is_not_taken_by_an_earlier_attempt(store: Store) -> None:
    now = _milliseconds(store)
    _noted(store)
    store.save_session(A, "s", 3, asked_at=now - 1000)
    store.save_session(A, "s", 3)  # it has joined a room
    assert store.acquire_session(B, "s", 2, asked_at=now - 2000) == ["SUPERSEDED"]
    assert store.acquire_session(B, "s", 3, asked_at=now)[0] == "OK"


def test_an_attempt_is_not_superseded_by_one_that_did_not_end_or_by_a_clock_that_was_ahead(store: Store) -> None:
    now = _milliseconds(store)
    _noted(store)
    store.acquire_session(B, "s", 2, hold=0, asked_at=now - 1000)
    assert store.acquire_session(C, "s", 2, hold=0, asked_at=now - 2000)[0] == "OK"
    store.save_session(C, "s", 4, epoch=2, asked_at=now + 60_000)
    assert store.acquire_session(B, "s", 3, asked_at=now)[0] == "OK"


def test_a_client_with_the_latest_token_may_move_on_at_once(store: Store) -> None:
    now = _milliseconds(store)
    _noted(store)
    store.save_session(A, "s", 3, asked_at=now - 1000)
    assert store.acquire_session(B, "s", 3, asked_at=now - 1010)[0] == "OK"


def _milliseconds(store: Store) -> int:
    seconds, micros = store.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000


def test_records_of_the_former_node_are_ignored(store: Store) -> None:
    _noted(store)
    store.acquire_session(B, "s", 2)
    assert store.save_session(A, "s", 2, proved=True) == "NOOP"
    assert store.save_session(A, "s", 9) == "NOOP"  # its client returned to it several times before that was known
    assert store.delete_session(A, "s") == "NOOP"
    assert store.acquire_session(B, "s", 2)[0] == "OK"


def test_saving_a_session_again_clears_the_state_left_behind(store: Store) -> None:
    _noted(store, left=b"state")
    store.acquire_session(B, "s", 2)
    store.save_session(B, "s", 3, epoch=1)
    assert store.acquire_session(C, "s", 3)[4] == ""


def test_a_session_is_not_lost_while_nodes_save_their_records_again(store: Store) -> None:
    store.attach(A)
    store.attach(B, restarted=True, hold=60_000)
    assert store.acquire_session(A, "s", 1)[0] == "LATER"
    store.save_session(B, "s", 1)
    assert store.acquire_session(A, "s", 1)[0] == "OK"


def test_a_claim_waits_while_nodes_announce_their_members(store: Store) -> None:
    store.attach(A)
    store.attach(B, restarted=True, hold=60_000)
    assert store.claim(A, peer("ben", B), 1, owner=B)[0] == "LATER"
    store.resync(B, [(peer("ben", B, 1), True)])
    assert store.claim(A, peer("ben", B), 1, owner=B, others=[B])[0] == "OK"


def test_a_deleted_session_leaves_no_key(store: Store) -> None:
    _noted(store)
    before = store.key_names()
    assert store.delete_session(A, "s") == "OK"
    assert before - store.key_names() == {store.keys.session("s")}
    assert store.delete_session(A, "s") == "NOOP"
    assert store.acquire_session(B, "s", 2) == ["NONE"]


def test_a_record_expires(store: Store) -> None:
    _noted(store)
    store.save_session(A, "s", 2, life=7000)
    assert 0 < store.redis.pttl(store.keys.session("s")) <= 7000


def test_a_fenced_node_cannot_acquire_a_session(store: Store) -> None:
    _noted(store)
    store.expire_leases(B)
    store.fence()
    assert store.acquire_session(B, "s", 2) == ["FENCED"]
    assert store.acquire_session(NOBODY, "s", 2) == ["FENCED"]


def test_a_kick_is_published_to_all_nodes(any_store: Store) -> None:
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
        assert (news.version, news.changes) == (int(version), [leaving(ben, LeaveReason.KICKED)])
    assert store.incarnations() == {ana.incarnation}
    assert "b" not in store.state()
    assert not store.redis.exists(store.keys.rooms_of(B))
    assert store.kick(ana, ben) == ["NOOP", version]


def test_a_removed_member_can_be_neither_claimed_nor_announced(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana, ben, una = peer("ana"), peer("ben", B), user("una", node=B)
    store.join(ana)
    for member in (ben, una):
        store.join(member, others=[A])
    store.kick(ana, ben, others=[B])
    assert store.claim(A, ben, 1, owner=B, others=[B]) == ["REMOVED", "kicked", ""]
    assert store.resync(
        B, [(structs.replace(ben, order=1), True), (structs.replace(una, order=1), True)], others=[A]
    ) == [
        "OK",
        ben.incarnation,
        "kicked",
        "",
    ]
    assert store.close_room(ana, others=[B], notice="{over}")[0] == "OK"
    assert store.claim(A, una, 1, owner=B) == ["REMOVED", "room-closed", "{over}"]
    assert store.claim(A, ben, 1, owner=B) == ["REMOVED", "kicked", ""]
    assert store.key_names() & {store.keys.members(ROOM), store.keys.state(ROOM), store.keys.rooms_of(A)} == set()


def test_the_list_of_removed_members_is_limited_in_time_and_number(store: Store) -> None:
    store.attach(A)
    ana = peer("ana")
    store.join(ana)
    out = store.keys.removed(ROOM)
    for number in range(3):
        store.join(peer(f"p{number}"))
        store.kick(ana, peer(f"p{number}"), life=60_000)
    assert store.redis.zcard(out) == 3
    assert 0 < store.redis.pttl(out) <= 60_000
    store.redis.zadd(out, {f"kicked:old{number}": number for number in range(MAX_ENTRIES)})
    store.join(peer("last"))
    store.kick(ana, peer("last"), life=60_000)
    assert store.redis.zcard(out) == 4
    store.join(peer("last"))
    store.redis.delete(out)
    store.kick(ana, peer("last"), life=0)
    assert not store.redis.exists(out)


def test_a_locked_room_admits_moderators_and_its_snapshot_has_the_lock(store: Store) -> None:
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
    store.resync(A, [(ana, True)], lock=known)
    assert (int(store.state().get("#lock", 0)) > 0) is locked
    assert (store.join(peer("ben"))[0] == "LOCKED") is locked
    store.resync(A, [(ana, True)], lock=-10)  # an older word than what is known
    assert (int(store.state().get("#lock", 0)) > 0) is locked
    store.resync(A, [])
    assert store.state() == {}


def test_a_moderator_that_moved_moderates_at_its_new_node_only(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana, ben = peer("ana"), peer("ben", B)
    store.join(ana)
    store.join(ben, others=[A])
    _, version, *_ = store.claim(B, ana, 1, owner=A, others=[A])
    for reply in (store.kick(ana, ben, others=[B]), store.lock(ana, others=[B]), store.close_room(ana, others=[B])):
        assert reply == ["NOOP", version]
    moved = structs.replace(ana, node=B)
    assert store.lock(moved)[0] == store.kick(moved, ben)[0] == store.close_room(moved)[0] == "OK"


def test_a_moderator_that_left_moderates_nothing(store: Store) -> None:
    store.attach(A)
    version = store.join(peer("ana"))[1]
    eve = peer("eve")
    for reply in (store.kick(eve, peer("ana")), store.lock(eve), store.close_room(eve)):
        assert reply == ["NOOP", version]


def test_each_notice_is_that_of_its_own_removal_and_ends_with_it(store: Store) -> None:
    store.attach(A)
    ana, names = peer("ana"), [f"p{number}" for number in range(30)]
    store.join(ana)
    for name in names:
        store.join(peer(name))
    for number, name in enumerate(names):
        store.kick(ana, peer(name), notice=f"{{{number}}}" if number % 3 else "")
    told = [store.claim(A, peer(name), 1, owner=A)[2] for name in names]
    assert told == [f"{{{number}}}" if number % 3 else "" for number in range(30)]
    notices, out = store.keys.notices(ROOM), store.keys.removed(ROOM)
    assert store.redis.hlen(notices) == 20
    assert 0 < store.redis.pttl(notices) <= 60_000
    when = int(store.redis.zscore(out, f"kicked:{peer(names[1]).incarnation}"))
    store.redis.zadd(out, {f"kicked:{peer(names[1]).incarnation}": when - 100_000})
    store.redis.hset(notices, str(when - 100_000), "old")
    store.join(peer("last"))
    store.kick(ana, peer("last"))
    assert store.redis.hget(notices, str(when - 100_000)) is None
    assert store.claim(A, peer(names[1]), 1, owner=A) == ["NOOP"]


def test_an_update_is_published_to_all_nodes(any_store: Store) -> None:
    store = any_store
    for node in (A, B):
        store.attach(node)
    ana, una, una2 = peer("ana"), user("una"), user("una", 2, B)
    store.join(ana)
    store.join(una)
    assert store.join(una2, others=[A])[0] == "OK"
    for node in (A, B):
        store.told(node)
    assert store.update(una, name="Una") == ["KEYS", "b"]
    word, version = store.update(una, others=[B], name="Una")
    assert (word, store.update(una, others=[B], name="Una")) == ("OK", ["NOOP", version])
    for node in (A, B):
        (news,) = store.told(node)
        assert isinstance(news, Changes)
        assert news.changes == [Updated(Kind.USER, UserId("una"), '{"name":"Una"}', int(version), una.incarnation)]
    third = user("una", 3)
    store.join(third, others=[B])
    members = store.members()
    assert {members[one.incarnation].updated for one in (una, una2, third)} == {int(version)}
    assert [members[one.incarnation].metadata for one in (ana, una, una2, third)] == [{}, *[{"name": "Una"}] * 3]


def test_a_member_that_moved_is_updated_at_its_new_node_only(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana = peer("ana")
    store.join(ana)
    _, version, *_ = store.claim(B, ana, 1, owner=A, others=[A])
    assert store.update(ana, others=[B], a=1) == ["NOOP", version]
    assert store.update(structs.replace(ana, node=B), a=1)[0] == "OK"


def test_the_metadata_that_was_set_last_outlives_a_loss_of_data(store: Store) -> None:
    for node in (A, B):
        store.attach(node)
    ana, una, una2 = peer("ana", order=1), user("una", order=1), user("una", 2, B, order=2)
    old = structs.replace(una, metadata={"a": 1}, updated=5)
    store.resync(A, [(structs.replace(ana, metadata={"n": 1}, updated=7), True), (old, True)])
    store.told(A)
    store.resync(B, [(structs.replace(una2, metadata={"a": 2}, updated=6), True)], others=[A])
    (news,) = store.told(A)
    assert isinstance(news, Changes)
    assert Updated(Kind.USER, UserId("una"), '{"a":2}', 6) in news.changes
    store.resync(A, [(structs.replace(ana, metadata={"n": 0}, updated=4), True), (old, True)], others=[B])
    members = store.members()
    assert [members[one.incarnation].metadata for one in (ana, una, una2)] == [{"n": 1}, {"a": 2}, {"a": 2}]
    assert [members[one.incarnation].updated for one in (ana, una, una2)] == [7, 6, 6]


def test_a_resync_replaces_metadata_that_redis_has_from_before(store: Store) -> None:
    store.attach(A)
    ana = peer("ana")
    store.join(ana)
    store.told(A)
    later = structs.replace(ana, order=1, metadata={"a": 1}, updated=99)
    assert store.resync(A, [(later, True)]) == ["OK"]
    whole = store.told(A)[-1]
    assert isinstance(whole, Snapshot)
    assert [(one.metadata, one.updated) for one in whole.members] == [({"a": 1}, 99)]


def test_bans_are_a_key_that_expires_with_the_last_of_them(any_store: Store) -> None:
    store = any_store
    store.attach(A)
    mo = peer("mo")
    store.join(mo)
    bans = store.keys.bans(ROOM)
    version = store.state()["#version"]
    assert store.kick(mo, peer("ana"), ban=60_000, notice="{spam}") == ["ABSENT", version]
    assert 50_000 < store.redis.pttl(bans) <= 60_000
    assert store.kick(mo, user("ana"), ban=30_000) == ["ABSENT", version]
    assert 50_000 < store.redis.pttl(bans) <= 60_000
    word, told, left, notice = store.join(peer("ana"))
    assert (word, told, notice) == ("BANNED", version, "{spam}")
    assert 50_000 < int(left) <= 60_000
    listed = store.list_bans(mo)
    assert (listed[:4], listed[5:10], listed[11:]) == (
        ["OK", version, "user", "ana"], ["", "mo", "0", "peer", "ana"], ["{spam}", "mo", "0"]
    )  # fmt: skip
    assert store.kick(mo, peer("eve"), ban=1000, max_bans=2) == ["LIMIT", version]
    assert store.unban(mo, peer("ana")) == ["OK", version]
    assert store.unban(mo, peer("ana")) == ["NOOP", version]
    assert store.join(peer("ana"))[0] == "OK"
    store.leave(mo)
    store.leave(peer("ana"))
    assert store.key_names() & {store.keys.members(ROOM), store.keys.state(ROOM), bans} == {bans}
    assert store.join(user("ana"))[:2] == ["BANNED", "0"]


def test_bans_that_have_ended_make_room_for_others(store: Store) -> None:
    store.attach(A)
    mo = peer("mo")
    store.join(mo)
    store.kick(mo, peer("ana"), ban=60_000)
    store.kick(mo, peer("ben"), ban=1)
    while store.join(peer("ben"))[0] == "BANNED":
        time.sleep(0.001)
    assert store.kick(mo, peer("eve"), ban=60_000, max_bans=2)[0] == "ABSENT"
    assert store.redis.hkeys(store.keys.bans(ROOM)) == [b"peer:ana", b"peer:eve"]


def test_the_address_of_a_member_is_that_of_its_last_connection_and_no_news(store: Store) -> None:
    store.attach(A)
    ana = peer("ana")
    store.join(structs.replace(ana, address="192.0.2.1"))
    store.told(A)
    assert store.set_presence(ana, detached=False, address="192.0.2.2") == ["OK"]
    assert store.set_presence(ana, detached=False, address="192.0.2.2") == ["NOOP"]
    assert (store.told(A), store.members()[ana.incarnation].address) == ([], "192.0.2.2")
    assert store.set_presence(ana, detached=True) == ["OK"]
    assert (len(store.told(A)), store.members()[ana.incarnation].address) == (1, "192.0.2.2")


def test_a_kick_that_was_lost_is_announced_again_and_keeps_the_member_out(any_store: Store) -> None:
    store = any_store
    ana, ben = _two_nodes(store)
    for node in (A, B):
        store.told(node)
    assert store.resync(A, [(ana, True)], others=[B], kicked=[ben], notice='{"reason":"spam"}') == ["OK"]
    (told,) = store.told(B)
    assert isinstance(told, Changes)
    assert [(one.incarnation, one.reason, one.notice) for one in told.changes if isinstance(one, Left)] == [
        (ben.incarnation, LeaveReason.KICKED, '{"reason":"spam"}')
    ]
    assert [member.id for member in store.members().values()] == ["ana"]
    before = store.state()
    assert store.resync(B, [(ben, True)], others=[A]) == ["OK", ben.incarnation, "kicked", '{"reason":"spam"}']
    assert store.state() == before
