"""Readings: what an application has counted, under the names and labels of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.exceptions import InvalidStatus

from mcp_actors.auth.authorization import Handshake, Refused
from mcp_actors.auth.grants import Grant
from mcp_actors.compiled import variant
from mcp_actors.counters.histogram import Histogram
from mcp_actors.environment import load
from mcp_actors.metrics.catalogue import METRICS
from mcp_actors.metrics.readings import Buckets, read
from mcp_actors.protocol.errors import Forbidden
from mcp_actors.protocol.messages import TokenExpiring
from mcp_actors.signaling_server import SignalingServer
from tests.support.agents import agent
from tests.support.client import Client
from tests.support.loop import until
from tests.support.receiver import Receiver
from tests.support.server import Server
from tests.test_resume import lose, pair, resume

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engine import Engine
    from tests.conftest import ExpectedLogs

MAX_SERIES = 1000


def values(server: Server) -> dict[tuple[str, ...], Any]:
    return {(one.name, *one.labels): one.value for one in read(server.app.metrics.sources)}


def observed(found: Any) -> int:
    assert isinstance(found, Buckets)
    return sum(found.counts)


async def test_a_call_is_counted_everywhere(server: Server) -> None:
    a, b = await server.pair()
    user = await server.user()
    await user.enter("r", "ulf")
    for number in range(32):
        await a.say("signal", "r", {"target_peer_id": "b", "data": number}, id=str(number))
        await b.expect("signal")
        await a.expect("ack") if number else await a.hear()
    found = values(server)
    assert found["connections", "signaling"] == 2
    assert found["connections", "messaging"] == 1
    assert (found["rooms",], found["members", "peer"], found["members", "user"]) == (1, 2, 1)
    assert found["messages_received_total", "signal"] == 32
    assert found["messages_sent_total", "signal"] == 32
    assert found["messages_received_total", "join"] == found["messages_sent_total", "joined"] == 2
    assert observed(found["relay_latency_seconds", "signal"]) == 2
    assert observed(found["room_inbox_messages",]) == 2
    assert found["sessions", "attached"] == 3
    assert found["build_info", "0.1.0", variant()] == found["ready",] == 1


async def test_a_message_to_many_is_measured_until_the_last_of_them_has_it(server: Server) -> None:
    users = [await server.user() for _ in range(30)]  # more than are served in one turn
    for number, user in enumerate(users):
        await user.enter("r", f"u{number}")
    for number in range(16):
        await users[0].say("message", "r", {"content": number})
    heard = 0
    while heard < 16:
        heard += (await users[-1].hear())["type"] == "message"
    found = values(server)
    assert observed(found["relay_latency_seconds", "broadcast"]) == 1
    assert found["messages_sent_total", "message"] == 16 * 29


async def test_reports_of_pairs_are_counted_by_outcome_and_reason(server: Server) -> None:
    peer = await server.peer()
    await peer.join("r", "ana")
    for report in ({"pair": "connected"}, {"pair": "failed", "reason": "no-turn"}, {"pair": "failed", "reason": "x"}):
        await peer.say("report", "r", {**report, "milliseconds": 700})
    await peer.expect_error("bad-message")
    found = values(server)
    assert found["pair_reports_total", "connected", "none"] == found["pair_reports_total", "failed", "no-turn"] == 1
    assert sum(value for (name, *_), value in found.items() if name == "pair_reports_total") == 2
    assert observed(found["pair_report_seconds", "failed"]) == 1


async def test_errors_count_by_code_and_unknown_messages_as_other(server: Server) -> None:
    peer = await server.peer()
    await peer.say("nonsense", "r")
    await peer.expect_error("bad-message")
    await peer.say("leave", "r")
    await peer.expect_error("not-in-room")
    found = values(server)
    assert found["messages_received_total", "other"] == 1
    assert found["messages_received_total", "leave"] == 1
    assert (found["errors_total", "bad-message"], found["errors_total", "not-in-room"]) == (1, 1)
    assert found["messages_sent_total", "error"] == 2


@pytest.mark.settings(connection_join_rate=0.001, connection_join_burst=1, max_refused_messages=1)
async def test_rate_limits_count_what_they_do(server: Server) -> None:
    peer = await server.peer()
    await peer.join("r", "ana")
    await peer.say("join", "s", {"peer_id": "ana"})
    await peer.expect_error("rate-limited")
    await peer.expect_close(4004)
    found = values(server)
    assert (found["rate_limit_actions_total", "refused"], found["rate_limit_actions_total", "closed"]) == (1, 1)


@pytest.mark.settings(connection_message_rate=10, connection_message_burst=10)
async def test_a_client_that_is_slowed_is_counted(server: Server) -> None:
    peer = await server.peer()
    for _ in range(20):
        await peer.say("ping")
    for _ in range(20):
        await peer.expect("pong")
    found = values(server)
    assert found["rate_limit_actions_total", "slowed"] > 0
    assert found["slowed_seconds_total",] > 0
    assert found["messages_sent_total", "pong"] == found["messages_received_total", "ping"] == 20


async def test_sessions_and_resumptions_are_counted(server: Server) -> None:
    a, _, joined = await pair(server)
    await lose(server, a)
    found = values(server)
    assert (found["sessions", "attached"], found["sessions", "detached"]) == (1, 1)
    assert found["connections_closed_total", "1006"] == 1
    again = await resume(server, joined, a.received)
    await again.expect("joined", resumed=True)
    other = await resume(server, joined, a.received)
    await other.hear()
    found = values(server)
    assert (found["sessions", "attached"], found["sessions", "detached"]) == (3, 0)
    assert (found["resumes_total", "here"], found["resumes_total", "unknown"]) == (1, 1)
    assert found["resumes_incomplete_total",] == 0
    assert observed(found["resume_duration_seconds", "here"]) == 1


@pytest.mark.settings(max_session_messages=4)
async def test_a_resumed_session_that_lost_messages_is_counted_as_incomplete(server: Server) -> None:
    user, other = await server.user(), await server.user()
    await user.say("connect", payload={"user_id": "u"})
    connected = await user.expect("connected")
    await user.say("join-room", "r")
    await user.expect("room-joined")
    await other.enter("r", "o")
    await user.expect("user-joined")
    await lose(server, user)
    for number in range(10):
        await other.say("message", "r", {"content": number}, id=str(number))
        await other.expect("ack")
    again = await server.user()
    await again.say("connect", payload={"user_id": "u", "resume": connected["payload"]["resume"], "received": 3})
    while (await again.hear())["type"] != "connected":
        pass
    assert values(server)["resumes_incomplete_total",] == 1


async def test_bytes_of_open_connections_count_at_their_heartbeat_and_of_others_at_their_end(server: Server) -> None:
    peer = await server.peer()
    await peer.join("r", "ana")
    for connection in server.app.connections:
        connection.is_stuck()
    before = values(server)
    await peer.close()
    await until(lambda: not len(server.app.connections), "the end of the connection")
    after = values(server)
    assert 0 < before["received_bytes_total",] < after["received_bytes_total",]
    assert 0 < before["sent_bytes_total",] <= after["sent_bytes_total",]
    assert observed(after["connection_duration_seconds",]) == 1


async def test_a_slow_client_takes_memory_as_a_connection(server: Server) -> None:
    a, b = await server.pair()
    b.stop_reading()
    for _ in range(64):
        await a.say("signal", "r", {"target_peer_id": "b", "data": "x" * 16_000})
    await a.drain("r")
    found = values(server)
    assert found["kept_bytes", "session"] > 100_000
    assert found["kept_bytes", "connection"] + found["kept_bytes", "session"] == server.app.memory.size


async def test_refused_handshakes_are_counted_by_their_reason(server: Server) -> None:
    with pytest.raises(InvalidStatus):
        await Client.open(server.url("/ws/signaling/"), Origin="https://evil.example")
    response = await AsyncHTTPClient().fetch(server.url("/ws/mcp/", "http"), raise_error=False)
    assert response.code == 400
    found = values(server)
    assert (found["handshakes_refused_total", "origin"], found["handshakes_refused_total", "no-handshake"]) == (1, 1)


async def test_the_application_is_measured_when_it_decides_who_may_enter(tmp_path: Path) -> None:
    async def authorize(request: Any) -> Grant:
        if isinstance(request, Handshake) and request.query.get("who") == "eve":
            raise Refused("no")
        if request.query.get("who") == "bug":
            raise ZeroDivisionError
        return Grant("ana")

    signaling = SignalingServer(load(environ={}, directory=tmp_path), authorize=authorize)
    async with signaling:
        authorizer = signaling.app.authorizer
        assert authorizer is not None
        await authorizer.admit(Handshake("peer", {}, {}, "192.0.2.1"))
        with pytest.raises(Forbidden):
            await authorizer.admit(Handshake("peer", {}, {"who": "eve"}, "192.0.2.1"))
        found = {(one.name, *one.labels): one.value for one in read(signaling.app.metrics.sources)}
    assert (found["authorizations_total", "granted"], found["authorizations_total", "refused"]) == (1, 1)
    assert observed(found["authorize_duration_seconds",]) == 2


async def test_webhooks_are_counted_by_their_outcome_and_those_that_wait_by_their_age(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("mcp_actors.webhooks")  # that the receiver is down, and that events are lost with the process
    receiver = Receiver()
    server = Server(tmp_path, **receiver.settings)
    await server.start()
    try:
        await (await server.peer()).join("r", "a")
        await receiver.has(2)
        await until(lambda: values(server)["webhook_deliveries_total", "delivered"] == 2, "that both are delivered")
        receiver.answer = lambda _arrived: 503
        await (await server.peer()).join("s", "b")
        await until(lambda: values(server)["webhook_deliveries_total", "failed"] > 0, "a failure")
        await until(lambda: values(server)["webhook_waiting_events",] > 0, "that events wait")
        assert 0 < values(server)["webhook_oldest_event_seconds",] < 60
    finally:
        await server.stop()
        await receiver.stop()


async def test_two_processes_measure_the_way_through_redis(engine: Engine, prefix: str, tmp_path: Path) -> None:
    shared = {"redis_url": engine.url, "redis_prefix": prefix, "node_lease": 1}
    nodes = [Server(tmp_path, **shared) for _ in range(2)]
    for node in nodes:
        await node.start()
    a, b = await nodes[0].peer(), await nodes[1].peer()
    await a.join("r", "a")
    await b.join("r", "b")
    await a.expect("peer-joined")
    await until(lambda: observed(values(nodes[1])["redis_probe_duration_seconds",]) > 0, "a probe")
    for number in range(3):
        await a.say("signal", "r", {"target_peer_id": "b", "data": number})
        await b.expect("signal")
    found = values(nodes[1])
    assert observed(found["redis_delivery_seconds",]) > 0
    assert found["messages_sent_total", "remote"] == 3
    assert (found["redis_links", "up"], found["redis_links", "down"]) == (1, 0)
    assert found["redis_commands_total",] > 0
    assert observed(found["redis_round_trip_seconds",]) > 0
    assert found["redis_probe_age_seconds",] < 60
    for node in nodes:
        await node.stop()


async def test_what_has_no_label_of_its_own_counts_as_other(server: Server) -> None:
    traffic, counters = server.app.node.traffic, server.app.counters
    traffic.received[TokenExpiring] = 3  # type: ignore[index]
    traffic.invalid = 2
    traffic.sent[Handshake] = 4
    traffic.sent[type(None)] = 5
    counters.count_opened("gateway")
    found = values(server)
    assert (found["messages_received_total", "other"], found["messages_sent_total", "other"]) == (5, 4)
    assert found["messages_sent_total", "remote"] == 5
    assert (found["connections", "gateway"], found["connections", "signaling"]) == (1, 0)


async def test_it_takes_no_longer_with_many_connections(server: Server) -> None:
    """The number of readings is the same, and reading walks over nothing: it is the same work."""
    before = len(read(server.app.metrics.sources))
    peers = [await server.peer() for _ in range(50)]
    for number, peer in enumerate(peers):
        await peer.join(f"r{number}", "ana")
    assert len(read(server.app.metrics.sources)) == before < MAX_SERIES


async def test_every_reading_is_in_the_catalogue_with_its_labels_and_of_its_type(server: Server) -> None:
    for one in read(server.app.metrics.sources):
        metric = METRICS[one.name]
        assert len(one.labels) == len(metric.labels), one
        assert isinstance(one.value, Buckets) is (metric.kind == "histogram"), one


def test_histograms_of_several_links_are_added() -> None:
    first, second = Histogram((1, 2)), Histogram((1, 2))
    first.observe(0.5)
    second.observe(1.5)
    second.observe(9)
    assert Buckets.of(first, second) == Buckets((1, 2), (1, 1, 1), 11.0)


@pytest.mark.settings(mcp=True)
async def test_agents_are_counted(server: Server) -> None:
    async with agent(server.app.mcp) as bot:
        joined = await bot.call("join_room", room="r")
        await bot.call("send_message", membership=joined["membership"], content="!")
        await bot.refusal("leave_room", membership="unknown")
    found = values(server)
    assert found["agent_calls_total", "join_room", "done"] == 1
    assert found["agent_calls_total", "leave_room", "failed"] == 1
    assert found["agent_calls_total", "kick", "done"] == 0
    assert (found["agent_memberships",], found["agent_membership_events_total", "joined"]) == (1, 1)
    assert found["connections", "agents"] == 1


async def test_a_server_without_agents_does_not_count_them(server: Server) -> None:
    assert not [name for name, *_ in values(server) if name.startswith("agent_")]
