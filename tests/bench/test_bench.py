from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync import client

from bench.__main__ import main
from bench.contender import Contender, ContenderError
from bench.dialects import DIALECTS
from bench.operated import operated
from bench.peers import OURS, PEERS
from bench.runner import LoadError, run_load
from bench.scenarios import SCENARIOS
from bench.scenarios.scenario import Options
from tests.support.server import END_DEADLINE

if TYPE_CHECKING:
    from pathlib import Path


def test_relay_is_compared_with_the_tornado_relay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["relay", "--against", "tornado", "--seconds", "0.5", "--rounds", "1", "--out", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "relay" / "results.json").read_bytes())
    assert results["failures"] == []
    assert {"cpu", "cores", "commit", "versions"} <= results["machine"].keys()
    measured = {(one["variant"], one["contender"]): one for one in results["measured"]}
    contenders = ("mcp_actors", "tornado")
    assert measured.keys() == {(variant, name) for variant in ("candidate", "offer") for name in contenders}
    for one in measured.values():
        (found,) = one["rounds"]
        assert found["operations"] > 0
        assert found["latency_count"] >= found["operations"]
        assert 1 < found["cpu_us"] < 5000
        assert found["cpu_us"] * found["throughput"] < 1.1e6, "a server of one thread cannot use more than one core"
        assert 0 < found["latency_p50_us"] <= found["latency_p99_us"] <= found["latency_max_us"]
        assert 5 < found["rss_mib"] < 500
    assert measured["candidate", "tornado"]["ours_to_this"]["cpu_us"] > 0


def test_the_error_of_a_server_that_does_not_start_holds_its_output() -> None:
    broken = Contender("broken", "", lambda _port: ["sh", "-c", "echo startup failed; exit 3"])
    with pytest.raises(ContenderError, match="startup failed"), broken.serve():
        pass


def test_a_load_without_a_server_fails() -> None:
    class Nowhere:
        pid, url = 1, "ws://127.0.0.1:1"
        contender = Contender("nowhere", "", lambda _port: [])

    plan = SCENARIOS["relay"].plan(Nowhere(), "candidate", Options(quick=True))  # type: ignore[arg-type]
    with pytest.raises(LoadError, match="could not connect"):
        run_load(plan)


@pytest.mark.parametrize("name", ["broadcast", "mesh", "storm"])
def test_scenarios_run_small(name: str) -> None:
    outcome = SCENARIOS[name].measure(OURS, "", Options(seconds=0.2, connections=8))
    assert outcome.operations >= 8
    assert outcome.latency.count


@pytest.mark.parametrize("variant", ["candidate", "offer"])
def test_the_server_in_uvicorn_takes_part_in_relay(variant: str) -> None:
    outcome = SCENARIOS["relay"].measure(PEERS["asgi"], variant, Options(seconds=0.3, connections=8))
    assert outcome.operations > 0
    assert outcome.latency.count >= outcome.operations


def test_the_server_as_operators_run_it_takes_part_in_relay() -> None:
    with operated(OURS).serve() as server:
        deadline = time.monotonic() + END_DEADLINE
        while not server.scrapes and time.monotonic() < deadline:
            time.sleep(0.05)
    assert server.scrapes
    outcome = SCENARIOS["relay"].measure(PEERS["operated"], "candidate", Options(seconds=0.3, connections=8))
    assert outcome.operations > 0


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("variant", "heard"),
    [("loud", []), ("limited", ["told_to_wait", "floods_closed"]), ("slow reader", ["slow_refused"])],
)
def test_isolation_reports_what_the_server_told_the_loud_peers(variant: str, heard: list[str]) -> None:
    outcome = SCENARIOS["isolation"].measure(OURS, variant, Options(seconds=4 if heard else 0.5, connections=8))
    assert outcome.latency.count > 0
    assert all(outcome.extra[name] > 0 for name in heard)
    assert set(outcome.extra) == {"told_to_wait", "floods_closed", "slow_refused"}
    assert heard or not outcome.extra["floods_closed"]


def test_broadcasts_are_measured_with_sessions_on() -> None:
    users = DIALECTS["users"]
    with (
        OURS.serve() as server,
        client.connect(server.url + users.path("ada")) as ada,
        client.connect(server.url + users.path("grace")) as grace,
    ):
        for member, name in ((ada, "ada"), (grace, "grace")):
            for frame in users.opening("room-large", name):
                member.send(frame.decode())
            until(member, "room-joined")
        grace.send(users.broadcast("room-large", 0).at(0).decode())
        assert until(ada, "message")["delivery"] > 1


def until(member: client.ClientConnection, kind: str) -> dict[str, Any]:
    """Read until a message of a type arrives."""
    while True:
        message: dict[str, Any] = json.loads(member.recv(timeout=END_DEADLINE))
        if message["type"] == kind:
            return message


def test_every_scenario_has_a_question() -> None:
    assert all(scenario.question.endswith(".") for scenario in SCENARIOS.values())


def test_an_unknown_contender_is_named_in_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["relay", "--against", "tornado,nobody"])
    assert "nobody: no such contender" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["y-gateway", "y-webrtc"])
def test_peers_of_y_webrtc_connect_through_either_server(name: str) -> None:
    reason = PEERS[name].missing()
    assert reason is None, reason
    outcome = SCENARIOS["mesh"].measure(PEERS[name], "", Options(seconds=0.2, connections=6))
    assert outcome.operations % (15 * 22) == 0
    assert 1 < outcome.cpu_us < 10_000
