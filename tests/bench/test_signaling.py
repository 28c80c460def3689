from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.client import Client, connect
from bench.dialects import DIALECTS
from bench.plan import Outcome, percentiles
from bench.results import Measured, Results
from bench.runner import LoadError
from bench.scenarios.scenario import Options
from bench.signaling import table
from bench.signaling.account import Account
from bench.signaling.clients import CLIENTS
from bench.signaling.contenders import CONTENDERS
from bench.signaling.scenarios import SCENARIOS
from bench.spanning import Spanning

if TYPE_CHECKING:
    from pathlib import Path


WITH_BENCH = {"socketio-redis", "channels-groups"}
"""Servers whose packages come with the extra `bench` only."""


def outcome(**extra: float) -> Outcome:
    latency = percentiles([1_000_000, 2_000_000, 3_000_000])
    return Outcome(operations=1, seconds=1, cpu_ns=1, rss_bytes=1, latency=latency, extra=extra)


def test_the_table_has_a_row_for_each_contender_and_says_what_does_not_apply() -> None:
    counts = {"lost": 1.0, "told": 2.0, "duplicated": 3.0, "reordered": 4.0}
    results = Results(
        {},
        {},
        [
            Measured("signaling-mesh", "2", "one", [outcome()]),
            Measured("signaling-mesh", "2", "two", failed="it did not start"),
            Measured("signaling-faults", "redis", "one", skipped="does not apply: one process, without Redis"),
            Measured("signaling-faults", "redis", "two", [outcome(**counts), outcome(**counts | {"lost": 5.0})]),
        ],
    )
    rows = [line.split("  ") for line in table.lines(results)]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows[:3]] == [
        ["mesh of 2 ms", "Redis restart"],
        ["one", "2.0", "n/a"],
        ["two", "FAILED", "5 / 2 / 3 / 4"],
    ]


def test_an_unknown_contender_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["signaling", "--only", "mcp_actors,nobody", "--out", str(tmp_path)]) == 1
    assert "nobody: no such contender" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_server_is_installed_or_says_what_to_install(name: str) -> None:
    reason = CONTENDERS[name].missing()
    assert reason is None or (name in WITH_BENCH and "pip install -e '.[bench]'" in reason)


def test_an_undelivered_message_is_lost_unless_its_sender_was_told() -> None:
    account = Account(2)
    arrived, told, both, _lost = (account.send(0, number) for number in range(1, 5))
    account.arrive(0, arrived)
    for sent_at in (told, both):
        account.tell(0, sent_at)
    account.arrive(0, both)
    assert account.balance() == {
        "sent": 4,
        "delivered": 2,
        "lost": 1,
        "told": 1,
        "duplicated": 0,
        "reordered": 0,
        "amiss": 1,
    }


def test_second_copies_and_a_changed_order_are_counted() -> None:
    account = Account(1)
    first, second = account.send(0, 1), account.send(0, 2)
    for sent_at in (second, first, first):
        account.arrive(0, sent_at)
    assert (account.duplicated, account.reordered, account.lost) == (1, 1, 0)


def test_a_restart_of_redis_applies_to_those_that_use_it() -> None:
    faults = SCENARIOS["signaling-faults"]
    fit = {name for name, one in CONTENDERS.items() if faults.unfit(one, "redis") is None}
    assert fit == {name for name, one in CONTENDERS.items() if isinstance(one, Spanning)}
    assert len(fit) == 4


def test_every_contender_has_clients() -> None:
    assert CLIENTS.keys() == CONTENDERS.keys()


async def test_a_client_does_not_wait_for_a_connection_that_is_closed_during_the_handshake() -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    dialect = DIALECTS["peerjs"]
    with pytest.raises(LoadError, match="could not connect"):
        await connect(url, dialect, Client(dialect, "room", "peer"))
    server.close()
    await server.wait_closed()


@pytest.mark.heavy
def test_a_trial_counts_what_a_killed_process_loses_and_what_its_senders_know() -> None:
    found = SCENARIOS["signaling-faults"].measure(CONTENDERS["y-webrtc"], "kill", Options(seconds=1, quick=True)).extra
    assert found["sent"] == found["delivered"] + found["lost"] + found["told"]
    assert found["delivered"] < found["sent"], "the only process was away"


@pytest.mark.heavy
def test_this_server_loses_nothing_when_connections_are_cut() -> None:
    found = SCENARIOS["signaling-faults"].measure(CONTENDERS["mcp_actors"], "cut", Options(seconds=1, quick=True)).extra
    assert found["sent"] == found["delivered"] > 0
    assert (found["lost"], found["told"], found["duplicated"], found["reordered"]) == (0, 0, 0, 0)


@pytest.mark.heavy
def test_a_short_run_measures_meshes_of_this_server_and_another(tmp_path: Path) -> None:
    chosen = ["--quick", "--only", "mcp_actors,peerjs", "--seconds", "0.1", "--out", str(tmp_path)]
    assert main(["signaling", "--scenario", "signaling-mesh", *chosen]) == 0
    written = json.loads((tmp_path / "signaling" / "results.json").read_bytes())
    for one in written["measured"]:
        (found,) = one["rounds"]
        assert found["latency_count"] > 0
        assert found["mesh_kib"] > 100
        assert found["mesh_cpu_ms"] > 0
    assert {one["contender"] for one in written["measured"]} == {"mcp_actors", "peerjs"}
    report = (tmp_path / "signaling" / "report.txt").read_text()
    assert "mesh of 8 ms" in report
    assert re.search(r"\bpeer \d", report), "versions are named"
