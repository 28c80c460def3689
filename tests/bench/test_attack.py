from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.attack.attacks import ATTACKS
from bench.attack.raw_client import Target
from bench.attack.verdict import KERNEL, LOG_AT_ONCE, LOG_RATE, MEMORY, Verdict
from bench.plan import Latency

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.heavy
@pytest.mark.xdist_group("attack")
@pytest.mark.parametrize("addresses", ["one", "many"])
def test_calls_continue_beside_every_attack(tmp_path: Path, capsys: pytest.CaptureFixture[str], addresses: str) -> None:
    arguments = ["attack", "--quick", "--addresses", addresses, "--out", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "attack" / "results.json").read_bytes())
    verdicts = {verdict["attack"]: verdict for verdict in results["verdicts"]}
    assert verdicts.keys() == ATTACKS.keys()
    for verdict in verdicts.values():
        assert verdict["strikes"] > 0
        assert verdict["during"]["count"] > 0
        assert verdict["elsewhere"]["count"] > 0
        assert verdict["newcomers"]["count"] > 0
        assert verdict["newcomers_elsewhere"]["count"] > 0
        assert verdict["lost"] == 0
    assert (tmp_path / "attack" / "report.txt").read_text().count(" held\n") == len(ATTACKS)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_can_be_made(name: str) -> None:
    random = Random(1)  # noqa: S311 - to be repeated, not to be secret
    attack = ATTACKS[name](Target((1,), random, many=True), random)
    assert attack.name == name
    assert 0 < attack.quick_clients <= attack.clients


@pytest.mark.heavy
@pytest.mark.xdist_group("attack")
def test_an_attack_may_be_over_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["attack", "--attack", "refused-handshakes", "--tls", "--quick", "--out", str(tmp_path)]
    assert main(arguments) == 0, capsys.readouterr().out
    (verdict,) = json.loads((tmp_path / "attack" / "results.json").read_bytes())["verdicts"]
    assert verdict["strikes"] > 0
    assert verdict["during"]["count"] > 0
    assert verdict["newcomers"]["count"] > 0
    assert "over TLS" in (tmp_path / "attack" / "report.txt").read_text()


def held() -> Verdict:
    """An attack without effect on others."""
    usual = Latency(1000, 300.0, 400.0, 600.0, 900.0)
    return Verdict("slowloris", 100, 90, usual, usual, usual, 0, 0, [], [], usual, usual, 0, 0, 8.0)


BROKEN: dict[str, Callable[[Verdict], None]] = {
    "no attack was made": lambda one: setattr(one, "attempts", 0),
    "no message of the bystanders arrived": lambda one: setattr(one, "during", Latency()),
    "3 messages of bystanders were lost": lambda one: setattr(one, "lost", 3),
    "memory grew": lambda one: setattr(one, "grown", MEMORY + 1),
    "the kernel's memory for sockets grew": lambda one: setattr(one, "kernel", KERNEL + 1),
    "bytes of log were written in 8 s": lambda one: setattr(one, "logged", LOG_AT_ONCE + 8 * LOG_RATE + 1),
    "no newcomer came": lambda one: setattr(one, "newcomers", Latency()),
    "the 95th percentile of newcomers took 101 ms": lambda one: setattr(
        one, "newcomers", Latency(100, 50_000.0, 101_000.0, 200_000.0, 300_000.0)
    ),
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
def test_every_effect_on_others_is_a_breach(words: str) -> None:
    verdict = held()
    assert not list(verdict.breaches())
    BROKEN[words](verdict)
    (breach,) = verdict.breaches()
    assert words in breach


def test_latency_is_judged_only_in_runs_that_are_long_enough() -> None:
    verdict = held()
    verdict.during = Latency(10, 30_000.0, 30_000.0, 30_000.0, 30_000.0)
    verdict.newcomers = Latency(10, 300_000.0, 300_000.0, 300_000.0, 300_000.0)
    assert len(list(verdict.breaches())) == 3
    assert not list(verdict.breaches(timed=False))
