from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.attack.attacks import ATTACKS
from bench.attack.verdict import MEMORY, Verdict
from bench.plan import Latency

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.alone
@pytest.mark.parametrize("addresses", ["one", "many"])
def test_a_call_goes_on_beside_every_attack(tmp_path: Path, capsys: pytest.CaptureFixture[str], addresses: str) -> None:
    arguments = ["attack", "--quick", "--addresses", addresses, "--out", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "attack" / "results.json").read_bytes())
    verdicts = {verdict["attack"]: verdict for verdict in results["verdicts"]}
    assert verdicts.keys() == ATTACKS.keys()
    for verdict in verdicts.values():
        assert verdict["strikes"] > 0
        assert verdict["during"]["count"] > 20
        assert verdict["elsewhere"]["count"] > 20
        assert verdict["lost"] == 0
    assert (tmp_path / "attack" / "report.txt").read_text().count(" held\n") == len(ATTACKS)


def held() -> Verdict:
    """An attack that nobody noticed."""
    usual = Latency(1000, 300.0, 400.0, 600.0, 900.0)
    return Verdict("slowloris", 100, 90, usual, usual, usual, 0, 0, [], [])


BROKEN: dict[str, Callable[[Verdict], None]] = {
    "nobody attacked": lambda one: setattr(one, "strikes", 0),
    "fell silent": lambda one: setattr(one, "during", Latency()),
    "3 messages of bystanders were lost": lambda one: setattr(one, "lost", 3),
    "memory grew": lambda one: setattr(one, "grown", MEMORY + 1),
    "2 tracebacks": lambda one: setattr(one, "tracebacks", ["Traceback one", "Traceback two"]),
    "cut by the server": lambda one: setattr(one, "complaints", ["bystander-1 was cut by the server"]),
    "the median of bystanders was 4.0 times": lambda one: setattr(
        one, "during", Latency(1000, 1200.0, 1300.0, 1400.0, 1500.0)
    ),
    "the 99th percentile of bystanders was 50.0 times": lambda one: setattr(
        one, "during", Latency(1000, 300.0, 400.0, 30_000.0, 30_000.0)
    ),
}


@pytest.mark.parametrize("words", BROKEN)
def test_whatever_others_notice_is_a_breach(words: str) -> None:
    verdict = held()
    assert not list(verdict.breaches())
    BROKEN[words](verdict)
    (breach,) = verdict.breaches()
    assert words in breach


def test_latency_is_judged_only_where_there_was_time_to_measure_it() -> None:
    verdict = held()
    verdict.during = Latency(10, 30_000.0, 30_000.0, 30_000.0, 30_000.0)
    assert len(list(verdict.breaches())) == 2
    assert not list(verdict.breaches(timed=False))
