from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.chaos.memory import LEAST_SECONDS, growths
from bench.chaos.record import Record, Sample
from tests.support.records import breaches, calm

if TYPE_CHECKING:
    from pathlib import Path

MEBIBYTE = 2**20


@pytest.fixture
def record() -> Record:
    """As `calm`, over five minutes; node 0 is replaced in the first third, node 1 in the last, and memory is flat."""
    record = calm()
    for at in range(301):
        nodes = {0: (10 if at < 20 else 11, 50 * MEBIBYTE), 1: (20 if at < 250 else 21, 50 * MEBIBYTE)}
        record.samples.append(Sample(float(at), at, at, nodes, 4 * MEBIBYTE))
    return record


def test_flat_memory_is_no_breach(record: Record) -> None:
    assert breaches(record) == {}
    assert [(one.what, one.middle, one.last) for one in growths(record)] == [
        ("RSS of node 0", 50 * MEBIBYTE, 50 * MEBIBYTE),
        ("used memory of Redis", 4 * MEBIBYTE, 4 * MEBIBYTE),
    ]


def test_a_node_that_grows_is_found(record: Record) -> None:
    for sample in record.samples:
        sample.nodes[0] = (11, int((50 + sample.at / 10) * MEBIBYTE))
    assert breaches(record) == {"grown": 1}


def test_a_redis_that_grows_is_found(record: Record) -> None:
    for sample in record.samples:
        sample.redis = int((4 + sample.at / 25) * MEBIBYTE)
    assert breaches(record) == {"grown": 1}


def test_a_peak_is_not_growth(record: Record) -> None:
    record.samples[290].nodes[0] = (11, 500 * MEBIBYTE)
    record.samples[291].redis = 0
    assert breaches(record) == {}


def test_a_run_without_a_surviving_node_is_inconclusive(record: Record) -> None:
    for sample in record.samples[200:]:
        sample.nodes[0] = (12, 50 * MEBIBYTE)
    assert breaches(record) == {"grown": 1}


def test_a_run_that_is_too_short_is_not_judged(record: Record) -> None:
    for sample in record.samples:
        sample.nodes[0] = (11, int((50 + sample.at) * MEBIBYTE))
        sample.at *= (LEAST_SECONDS - 1) / 300
    assert breaches(record) == {}
    assert not growths(record)[0].flat


@pytest.mark.heavy
def test_a_short_soak_keeps_all_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["soak", "--quick", "--seed", "5", "--out", str(tmp_path)])
    assert status == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "soak" / "results.json").read_bytes())
    assert results["verdict"]["judged"] > 0
    assert results["verdict"]["returns"]["elsewhere"] > 0
    assert len(results["samples"]) > 1
    assert {path.name for path in (tmp_path / "soak").glob("*.png")} == {"memory.png", "rates.png"}


@pytest.mark.heavy
def test_sessions_move_between_two_nodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["chaos", "--quick", "--fault", "moves", "--out", str(tmp_path)])
    assert status == 0, capsys.readouterr().out
