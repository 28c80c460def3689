from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis as client

from bench.engine import Engine
from mcp_actors.broker import BrokerError
from mcp_actors.broker.redis import entries
from mcp_actors.broker.redis.bucket import Bucket
from mcp_actors.broker.redis.connection import LinkLost, RedisConnection
from mcp_actors.broker.redis.entries import Probe
from mcp_actors.broker.redis.inbox import InboxReader
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.link import FIRST_ATTEMPTS, LONGEST_PAUSE
from mcp_actors.protocol.events import Kind, MemberJoined, MemberLeft, Moderated
from mcp_actors.protocol.identifiers import NodeId, PeerId
from tests.broker.contract import OTHER_ROOM, ROOM, summary
from tests.support.brokers import BrokerNode
from tests.support.loop import scheduler, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ExpectedLogs

KEYS = Keys("test", 0, 1)


@pytest.fixture(scope="module")
def shared() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


@pytest.fixture(autouse=True)
def look(shared: Engine) -> Iterator[client.Redis]:
    """A client of its own, of a Redis that is empty at first."""
    with client.Redis(port=shared.port) as look:
        look.flushall()
        yield look


async def test_a_node_that_does_not_read_its_inbox_attaches_again(
    shared: Engine, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "not being read")
    node = BrokerNode(shared.url, "a")
    await node.start()
    with monkeypatch.context() as patch:
        patch.setattr(entries, "read", lambda _flat: Probe(-1))
        await until(lambda: node.counters["attached"] > 1, "that it attaches anew")
    await node.enter("ana")
    await node.stop()


async def test_an_unreadable_entry_is_logged_and_skipped(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "inbox entry unreadable")
    node = BrokerNode(shared.url, "a")
    await node.start()
    ana = await node.enter("ana")
    look.xadd(KEYS.inbox(NodeId("a")), {"t": "nonsense"})
    ben = await node.enter("ben")
    await node.knows(ana, ben)
    assert node.counters["attached"] == 1
    await node.stop()


async def test_a_room_with_a_key_that_cannot_be_used_fails_alone(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis refused a request")
    node = BrokerNode(shared.url, "a", resume_window=5.0)
    await node.start()
    ana = await node.enter("ana", room=OTHER_ROOM)
    await node.enter("amy", room=OTHER_ROOM)
    look.set(KEYS.removed(OTHER_ROOM), "spoilt")
    node.broker.kick(OTHER_ROOM, ana, Kind.PEER, PeerId("amy"))
    await until(lambda: node.of_kind(Moderated, room=OTHER_ROOM), "the failure")
    assert node.of_kind(Moderated, room=OTHER_ROOM) == [Moderated(ana, done=False, failed=True)]
    await node.enter("ben")
    assert node.counters["attached"] == 1
    look.delete(KEYS.removed(OTHER_ROOM))
    await node.stop()


async def test_data_lost_without_a_restart_are_restored(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    nodes = [BrokerNode(shared.url, name) for name in "ab"]
    for node in nodes:
        await node.start()
    present = [await node.enter(f"of {node.node}") for node in nodes]
    for node in nodes:
        await node.knows(*present)
    look.flushall()
    newcomer = await nodes[0].enter("late")
    for node in nodes:
        await node.knows(*present, newcomer)
        assert not node.of_kind(MemberLeft)
    for node in nodes:
        await node.stop()


async def test_a_node_that_returns_late_to_an_empty_redis_keeps_its_members(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        early, late = (BrokerNode(engine.url, name, lease=6.0, outage_patience=30.0) for name in ("early", "late"))
        for node in (early, late):
            await node.start()
        await early.enter("elsewhere", room=OTHER_ROOM)
        ana = await late.enter("ana")
        engine.kill()
        await until(lambda: not (early.broker.ready or late.broker.ready), "that Redis is missed")
        await late.die()
        await asyncio.to_thread(engine.start)
        newcomer = await early.enter("ben")
        late.revive()
        for node in (early, late):
            await node.knows(ana, newcomer)
            assert not node.of_kind(MemberLeft)
        orders = {str(member.id): member.order for member in late.members.values()}
        assert orders["ana"] == 1
        assert orders["ben"] > orders["ana"]
        for node in (early, late):
            await node.stop()


def orders(node: BrokerNode) -> list[int]:
    return sorted(member.order for member in node.members.values())


@pytest.mark.parametrize("restarted", [True, False], ids=["restart", "flush"])
async def test_a_slow_node_keeps_its_members_when_redis_loses_its_data(
    restarted: bool, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.redis", "redis link lost")
    with Engine() as engine, client.Redis(port=engine.port) as look:
        a, b, slow = nodes = [
            BrokerNode(engine.url, name, lease=6.0, outage_patience=30.0) for name in ("a", "b", "slow")
        ]
        for node in nodes:
            await node.start()
        present = [await node.enter(f"{node.node}{number}") for number in range(2) for node in nodes]
        await a.knows(*present)
        await b.knows(*present)
        for node in (a, b):
            await node.die()
        unknown = await slow.enter("unknown to the others")
        await slow.die()
        if restarted:
            engine.kill()
            await asyncio.to_thread(engine.start)
        else:
            look.flushall()
        for node in (a, b):
            node.revive()
        newcomers = [await a.enter("first newcomer"), await b.enter("second newcomer")]
        slow.revive()
        for node in nodes:
            await node.knows(*present, unknown, *newcomers)
        for node in nodes:
            assert not node.of_kind(MemberLeft)
            assert len(set(orders(node))) == len(present) + 3
        assert orders(a) == orders(b) == orders(slow)
        for node in nodes:
            await node.stop()


async def test_a_node_that_was_fenced_delays_no_joins_of_the_others(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "was fenced")
    expected_logs.allow("mcp_actors.redis")
    a, b = BrokerNode(shared.url, "a"), BrokerNode(shared.url, "b")
    for node in (a, b):
        await node.start()
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    await b.die()
    await a.knows(ana)
    b.revive()
    await until(lambda: b.of_kind(MemberLeft), "its own member's leave")
    assert set(look.hkeys(KEYS.config)) == {b"version", b"buckets", b"data"}
    await a.enter("amy", room=OTHER_ROOM)
    assert [event.member.order for event in a.of_kind(MemberJoined, room=OTHER_ROOM)] == [1]
    for node in (a, b):
        await node.stop()


async def test_nothing_waits_once_all_members_are_announced_again(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine, client.Redis(port=engine.port) as look:
        nodes = [BrokerNode(engine.url, name) for name in "abc"]
        for node in nodes:
            await node.start()
        await nodes[0].enter("ana")
        engine.kill()
        await until(lambda: not any(node.broker.ready for node in nodes), "that Redis is missed")
        await asyncio.to_thread(engine.start)
        await until(lambda: all(node.broker.ready for node in nodes), "that Redis is back")
        await until(
            lambda: not any(field.startswith(b"announcing:") for field in look.hkeys(KEYS.config)),
            "that all have announced their members",
        )
        for node in nodes:
            await node.stop()


async def test_a_start_that_fails_leaves_nothing_behind(shared: Engine, look: client.Redis) -> None:
    running = BrokerNode(shared.url, "a", buckets=1)
    await running.start()
    other = BrokerNode(shared.url, "b", buckets=4)
    with pytest.raises(BrokerError, match="MCP_ACTORS_REDIS_BUCKETS"):
        await other.start()
    await running.stop()
    assert look.keys() == []


class HangingUp:
    """A proxy of Redis that hangs up on its first connections when Redis has replied to them for the first time."""

    def __init__(self, engine: Engine, connections: int) -> None:
        self.connections = connections
        self._engine = engine
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._engine.port)
        self._writers += (writer, to_redis)
        hangs_up, self.connections = self.connections > 0, self.connections - 1
        forwarding = asyncio.ensure_future(_forward(reader, to_redis))
        await _forward(from_redis, writer, once=hangs_up)
        forwarding.cancel()
        self._hang_up(writer, to_redis)

    def _hang_up(self, *writers: asyncio.StreamWriter) -> None:
        for each in writers:
            each.transport.abort()

    async def close(self) -> None:
        self._hang_up(*self._writers)
        await scheduler(5)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, once: bool = False) -> None:
    with suppress(OSError, RuntimeError):  # uvloop raises the latter when the other side was closed meanwhile
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
            if once:
                return


@pytest.mark.parametrize("broken", [FIRST_ATTEMPTS - 2, 1000])
async def test_a_connection_that_breaks_during_the_start_is_made_again_a_few_times(
    shared: Engine, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    monkeypatch.setattr("mcp_actors.broker.redis.link.LONGEST_PAUSE", 0.01)
    proxy = HangingUp(shared, broken)
    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        node = BrokerNode(f"redis://127.0.0.1:{port}", "a")
        if broken < FIRST_ATTEMPTS:
            await node.start()
            assert node.broker.ready
            await node.stop()
        else:
            with pytest.raises(BrokerError, match=r"is gone: Connection closed by server\. Start it"):
                await node.start()
        assert proxy.connections < broken
        await proxy.close()


async def test_a_failure_in_housekeeping_is_logged_and_ends_nothing(
    shared: Engine, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "housekeeping failed")
    node = BrokerNode(shared.url, "a")
    await node.start()
    failed = asyncio.Event()

    def fail(_bucket: Bucket) -> None:
        failed.set()
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "housekeeping", fail)
        await asyncio.wait_for(failed.wait(), 5)
    await node.enter("ana")
    await node.stop()


async def test_leases_that_look_expired_after_a_loss_of_data_are_not_judged_for_a_lease(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "node lease expired")
    expected_logs.allow("mcp_actors.redis", "redis link lost")
    lease = 1.5
    node = BrokerNode(shared.url, "a", lease=lease)
    await node.start()
    look.zadd(KEYS.nodes, {"dead": 1})

    def is_judged(node: str) -> bool:
        return (look.zscore(KEYS.nodes, node) or -1) < 0  # fenced, or reaped already

    await until(lambda: is_judged("dead"), "that leases are judged")
    began = time.monotonic()
    look.flushall()
    look.zadd(KEYS.nodes, {"slow": 1})
    await until(lambda: is_judged("slow"), "that the other node is fenced")
    assert time.monotonic() - began > lease
    await node.stop()


async def test_a_fenced_node_that_nobody_reaps_reaps_itself_and_goes_on(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "was fenced")
    node = BrokerNode(shared.url, "a")
    await node.start()
    ana = await node.enter("ana")
    look.zadd(KEYS.nodes, {"a": -1})
    await until(lambda: node.of_kind(MemberLeft), "that its own member left")
    assert summary(node.of_kind(MemberLeft)) == [("MemberLeft", ana)]
    again = await node.enter("ana")
    await node.knows(again)
    await node.stop()


async def test_a_node_that_does_not_hear_that_it_is_registered_again_knows_that_it_was_fenced(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "was fenced")
    expected_logs.allow("mcp_actors.redis", "redis link lost")
    node = BrokerNode(shared.url, "a")
    await node.start()
    ana = await node.enter("ana")
    lost: list[Any] = []
    send = RedisConnection.one

    async def one(connection: RedisConnection, *command: Any) -> Any:
        reply = await send(connection, *command)
        if isinstance(reply, list) and reply[0] == b"NEW" and not lost:
            lost.append(reply)
            raise LinkLost("the connection broke before the reply")
        return reply

    monkeypatch.setattr(RedisConnection, "one", one)
    look.zadd(KEYS.nodes, {"a": -1})
    await until(lambda: node.of_kind(MemberLeft), "that its own member left")
    assert lost
    assert summary(node.of_kind(MemberLeft)) == [("MemberLeft", ana)]
    await node.knows(await node.enter("ana"))
    await node.stop()


async def test_a_node_that_stops_leaves_nothing_in_redis(shared: Engine, look: client.Redis) -> None:
    node = BrokerNode(shared.url, "a")
    await node.start()
    for number in range(50):
        node.join(Kind.USER, f"u{number}")
    await node.enter("ana")
    await node.stop()
    assert look.keys() == []


async def test_a_join_right_after_a_data_loss_sees_all_members(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    with Engine() as engine:
        a, b, c = (BrokerNode(engine.url, name, outage_patience=30.0) for name in "abc")
        for node in (a, b, c):
            await node.start()
        present = [await node.enter(f"{node.node}{number}") for node in (a, b) for number in range(5)]
        await a.knows(*present)
        engine.kill()
        await until(lambda: not (a.broker.ready or b.broker.ready or c.broker.ready), "that Redis is missed")
        newcomer = c.join(Kind.PEER, "cyd")
        await asyncio.to_thread(engine.start)
        await until(lambda: newcomer in c.members, "the join")
        joined = c.of_kind(MemberJoined)
        assert {event.member.incarnation for event in joined} == {*present, newcomer}
        assert joined[-1].member.order == max(event.member.order for event in joined)
        assert len({event.member.order for event in joined}) == len(joined)
        for node in (a, b, c):
            await node.stop()


async def test_a_permission_that_is_taken_away_is_one_outage_until_it_is_given_back(
    shared: Engine, look: Any, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    expected_logs("mcp_actors.redis", "redis cannot be used")
    look.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
    node = BrokerNode(f"redis://app:secret@127.0.0.1:{shared.port}", "a")
    await node.start()
    ana = await node.enter("ana")
    look.execute_command("ACL", "SETUSER", "app", "-xread")
    await until(lambda: len(expected_logs.records) == 2, "both logs")
    connections = look.info("stats")["total_connections_received"]
    await asyncio.sleep(1.0)  # in which the pauses grow
    assert look.info("stats")["total_connections_received"] - connections < 20
    assert not node.broker.ready
    lost, denied = (record.getMessage() for record in expected_logs.records)
    assert "no permissions to run the 'xread' command" in lost
    assert "does not let the user 'app' run XREAD. Allow what this server needs: ACL SETUSER app ~test:*" in denied
    look.execute_command("ACL", "SETUSER", "app", "+xread")
    await until(lambda: node.broker.ready, "that the link is restored")
    ben = await node.enter("ben")
    await node.knows(ana, ben)
    await node.stop()


async def test_a_failure_of_the_link_is_logged_and_retried_after_a_pause(
    shared: Engine, expected_logs: ExpectedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_logs("mcp_actors.redis", "redis link failed")
    node = BrokerNode(shared.url, "a")
    await node.start()
    failures: list[float] = []

    def fail(_reader: InboxReader, _name: bytes, _flat: list[bytes]) -> None:
        failures.append(time.monotonic())
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(InboxReader, "_process", fail)
        await until(lambda: len(failures) == 3, "three attempts")
    assert failures[2] - failures[0] > LONGEST_PAUSE
    assert len(expected_logs.records) == 1
    await until(lambda: node.counters["attached"] == len(failures) + 1, "the next attempt")
    await node.enter("ana")
    await node.stop()


async def test_a_restart_without_the_permissions_is_logged_with_what_to_allow(
    expected_logs: ExpectedLogs,
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    expected_logs("mcp_actors.redis", "redis cannot be used")
    with Engine() as engine:
        node = BrokerNode(f"redis://app:secret@127.0.0.1:{engine.port}", "a")
        with client.Redis(port=engine.port) as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all")
        await node.start()
        engine.kill()
        await until(lambda: not node.broker.ready, "that Redis is missed")
        await asyncio.to_thread(engine.start)
        with client.Redis(port=engine.port) as admin:
            admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-hincrby")
            await until(
                lambda: any("run HINCRBY" in record.getMessage() for record in expected_logs.records), "the log"
            )
            assert not node.broker.ready
            admin.execute_command("ACL", "SETUSER", "app", "+hincrby")
        await until(lambda: node.broker.ready, "that it attaches")
        await node.enter("ana")
        await node.stop()


async def test_a_limit_of_redis_for_one_reply_is_found_and_kept(
    shared: Engine, look: client.Redis, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors.redis", "redis link lost")
    a, b = BrokerNode(shared.url, "a", lease=6.0), BrokerNode(shared.url, "b", lease=6.0)
    for node in (a, b):
        await node.start()
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    look.config_set("client-output-buffer-limit", "normal 262144 0 0")
    try:
        await b.die()
        bodies = [str(number).encode().ljust(30_000) for number in range(60)]
        for body in bodies:
            a.signal(ana, ben, body)
            await until(lambda: a.broker.idle, "that it is an entry of its own")
        before = b.counters["attached"]
        b.revive()
        await until(lambda: b.frames == bodies, "all of it")
        assert 0 < b.counters["attached"] - before < 12
    finally:
        look.config_set("client-output-buffer-limit", "normal 0 0 0")
    for node in (a, b):
        await node.stop()


async def test_the_health_describes_each_bucket(shared: Engine) -> None:
    node = BrokerNode(shared.url, "a", buckets=2)
    await node.start()
    await node.enter("ana")
    health = node.broker.health()
    assert health["broker"] == "redis"
    assert [bucket["up"] for bucket in health["buckets"]] == [True, True]
    assert sum(bucket["rooms"] for bucket in health["buckets"]) == 1
    assert all(bucket["proved_seconds_ago"] < 5 for bucket in health["buckets"])
    await node.stop()


async def test_a_node_that_stops_reading_keeps_its_offset(shared: Engine) -> None:
    a, b = BrokerNode(shared.url, "a", resume_window=30.0), BrokerNode(shared.url, "b", resume_window=30.0)
    for node in (a, b):
        await node.start()
    ana, ben = await a.enter("ana"), await b.enter("ben")
    await a.knows(ana, ben)
    b.signal(ben, ana, b"heard")
    await until(lambda: a.frames, "the first")
    await a.broker.stop_reading()
    offset = a.broker.offset(ROOM)
    assert offset.endswith(".999999@a")
    b.signal(ben, ana, b"left")
    await until(lambda: b.broker.idle, "that it is written")
    await b.enter("late")
    assert a.frames == [b"heard"]
    assert a.broker.offset(ROOM) == offset
    for node in (b, a):
        await node.stop()
