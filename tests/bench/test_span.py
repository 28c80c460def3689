from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis

from bench.__main__ import main
from bench.dialects import DIALECTS
from bench.engine import Engine
from bench.goals import judge
from bench.payloads import STAMP, read_stamp
from bench.peers import OURS_SPANNING, SPANNING
from bench.plan import Outcome, Process
from bench.plots import draw
from bench.redis_meter import RedisMeter, calls
from bench.report import lines
from bench.results import OURS, Measured, Results
from bench.scenarios import SCENARIOS
from bench.scenarios.scenario import Options
from bench.scenarios.span import Counted, Span
from bench.spanning import Nodes

if TYPE_CHECKING:
    from pathlib import Path

    from bench.client import Client
    from bench.contender import Contender

SMALL = Options(seconds=0.5, connections=8)
MACHINE: dict[str, Any] = {
    "cpu": "a processor",
    "cores": 2,
    "load_average_before": 0.0,
    "system": "a system",
    "commit": "",
    "changed_since_commit": False,
    "versions": {"python": "3"},
}


class Line:
    """A client that keeps the frames it sends."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.template = DIALECTS["peers"].signal("candidate", "room-1", index, f"peer-{index ^ 1}")
        self.unstamped: Any = None
        self.frames: list[bytes] = []

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)


def counted() -> tuple[Counted, list[Any]]:
    """Return the traffic of two pairs, and the clients."""
    clients: list[Any] = [Line(index) for index in range(4)]
    return Counted(cast("list[Client]", clients)), clients


def arrive(traffic: Counted, frame: bytes, receiver: Any) -> None:
    traffic.note(receiver, read_stamp(frame, frame.index(STAMP.encode())))


def test_a_message_that_reaches_its_target_is_delivered() -> None:
    traffic, clients = counted()
    traffic.send(clients[0])
    arrive(traffic, clients[0].frames[0], clients[1])
    assert traffic.arrived == traffic.balance()["delivered"] == 1


def test_a_message_that_reaches_another_client_is_lost() -> None:
    traffic, clients = counted()
    traffic.send(clients[0])
    for receiver in (clients[0], clients[2], clients[3]):
        arrive(traffic, clients[0].frames[0], receiver)
    assert (traffic.arrived, traffic.balance()["lost"]) == (0, 1)


def test_a_second_copy_is_no_traffic() -> None:
    traffic, clients = counted()
    traffic.send(clients[0])
    for _ in range(2):
        arrive(traffic, clients[0].frames[0], clients[1])
    assert (traffic.arrived, traffic.balance()["duplicated"], traffic.balance()["lost"]) == (1, 1, 0)


def test_a_refused_message_counts_as_refused_and_lost() -> None:
    traffic, clients = counted()
    traffic.send(clients[0])
    clients[0].unstamped(clients[0], b'{"type":"error","payload":{"code":"peer-not-found"}}')
    clients[0].unstamped(clients[0], b'{"type":"peer-joined"}')
    assert (traffic.balance()["refused"], traffic.balance()["lost"]) == (1, 1)


def test_calls_are_read_from_info() -> None:
    found = calls({"total_commands_processed": 12, "other": 1}, {"cmdstat_xadd": {"calls": 7, "usec": 90}})
    assert found == {"commands": 12, "calls_xadd": 7}


def test_redis_commands_are_counted_per_message() -> None:
    with Engine() as engine, redis.Redis.from_url(engine.url) as client:
        client.set("before", "1")
        meter = RedisMeter(Process(engine.url, engine.pid))
        meter.begin()
        for _ in range(50):
            client.get("before")
        found = meter.end(100)
    assert found["redis_calls_get"] == 0.5
    assert 0.5 < found["redis_commands"] <= 0.55
    assert "redis_calls_set" not in found
    assert 0 < found["redis_cpu_us"] < 1000


def test_without_messages_there_are_no_commands_per_message() -> None:
    with Engine() as engine:
        meter = RedisMeter(Process(engine.url, engine.pid))
        meter.begin()
        assert meter.end(0) == {}


def test_both_processes_share_one_redis_server_which_ends_with_them() -> None:
    with SPANNING["pubsub"].serve() as server:
        assert isinstance(server, Nodes)
        assert len({node.pid for node in server.nodes}) == 2
        engine = server.engine
        assert engine is not None
        assert {node.contender.environment["REDIS_URL"] for node in server.nodes} == {engine.url}
        plan = Span().plan(server, "light", SMALL)
        assert plan.rate == 200
        assert [plan.url, *(other.url for other in plan.others)] == [node.url for node in server.nodes]
    assert not engine.running


@pytest.mark.heavy
@pytest.mark.parametrize("contender", [*OURS_SPANNING, SPANNING["pubsub"]], ids=lambda one: one.name)
def test_relay_between_processes_is_measured(contender: Contender) -> None:
    outcome = Span().measure(contender, "candidate", SMALL)
    assert outcome.operations > 0
    assert outcome.latency.count >= outcome.operations
    assert outcome.extra["amiss"] == outcome.extra["refused"] == 0
    assert outcome.extra["delivered"] == outcome.extra["sent"] > outcome.operations
    if contender.name == "in-process":
        assert "cpu_us_2" not in outcome.extra
        assert "redis_commands" not in outcome.extra
        return
    assert outcome.extra["cpu_us_1"] + outcome.extra["cpu_us_2"] == pytest.approx(outcome.cpu_us)
    assert min(outcome.extra["cpu_us_1"], outcome.extra["cpu_us_2"], outcome.extra["redis_cpu_us"]) > 0
    assert 0 < outcome.extra["redis_commands"] < 2


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "least", "most"), [("affinity", 1, 1), ("no-affinity", 0, 0.99)])
def test_the_share_of_messages_that_stay_in_one_process_is_measured(name: str, least: float, most: float) -> None:
    options = Options(seconds=0.3, connections=32, quick=True)
    outcome = Span().measure(SPANNING[name], "candidate", options)
    assert outcome.operations > 0
    assert outcome.extra["amiss"] == outcome.extra["refused"] == 0
    assert least <= outcome.extra["together"] <= most


def cut_subscribers(url: str, over: Event) -> None:
    """Cut the pub/sub connections repeatedly once messages are relayed."""
    with redis.Redis.from_url(url) as client:
        while not over.wait(0.02):
            if client.info("commandstats").get("cmdstat_publish", {}).get("calls", 0) > 100:
                client.client_kill_filter(_type="pubsub")


@pytest.mark.heavy
def test_losses_of_a_relay_are_counted() -> None:
    span, over = Span(), Event()
    with SPANNING["pubsub"].serve() as server:
        assert server.engine is not None
        cutting = Thread(target=cut_subscribers, args=(server.engine.url, over))
        cutting.start()
        try:
            found = span.carry_out(server, span.plan(server, "candidate", SMALL, rate=2000)).extra
        finally:
            over.set()
            cutting.join()
    assert found["lost"] == found["amiss"] == found["sent"] - found["delivered"] > 0
    assert found["delivered"] > 0


def outcome(cpu_us: float, **extra: float) -> Outcome:
    return Outcome(operations=100, seconds=2, cpu_ns=round(cpu_us * 100_000), rss_bytes=2**20, extra=extra)


@pytest.fixture
def results() -> Results:
    ours = [outcome(30, redis_cpu_us=4, redis_commands=0.2, amiss=wrong, lost=wrong) for wrong in (0, 2, 0)]
    return Results(
        MACHINE,
        {},
        [
            Measured("relay-processes", "candidate", OURS, ours),
            Measured("relay-processes", "candidate", "in-process", [outcome(15)]),
        ],
    )


def test_counts_of_faulty_deliveries_are_judged_by_the_worst_round(results: Results) -> None:
    judged = {str(goal): value for goal, value in judge(results)}
    assert judged == {
        "relay-processes candidate cpu_us to in-process": pytest.approx(2),
        "relay-processes candidate redis_commands": pytest.approx(0.2),
        "relay-processes candidate amiss": 2,
    }


def test_the_report_shows_redis_separately(results: Results) -> None:
    text = "\n".join(lines(results, SCENARIOS))
    (row,) = [line.split() for line in text.splitlines() if line.startswith("  mcp_actors")]
    assert row == ["mcp_actors", "30.0", "(30.0-30.0)", "4.0", "0.20", "50", "2"]
    assert "MISSED" in text


def test_the_bars_are_drawn(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert [path.name for path in draw(results, tmp_path)] == ["cpu-candidate.png"]


@pytest.mark.parametrize(("processes", "stranger"), [("1", "pubsub"), ("2", "tornado")])
def test_contenders_of_the_other_number_of_processes_are_unknown(
    processes: str, stranger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["relay", "--processes", processes, "--against", stranger])
    assert f"{stranger}: no such contender" in capsys.readouterr().err
