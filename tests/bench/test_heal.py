"""The command heal: its judge on records made up here, its switch, and a short run with three browsers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from bench.heal import browser, namespace, process
from bench.heal.faults import FAULTS, QUICK
from bench.heal.judge import healings, silent, tellings, unexpected
from bench.heal.record import Broken, Record, State, pairs_of, ways
from bench.heal.report import lines
from bench.heal.switch import MAC, Switch, address
from bench.heal.verdict import Healed, Verdict, breaches, summarize
from bench.heal.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.heal.record import Mesh, Pair

ROOT = Path(__file__).parent.parent.parent
DEADLINE = 30.0
PAIR, AT, USABLE, END = (0, 1), 2.0, 10.0, 20.0
IPV4, ARP, IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"


def flow(*spans: tuple[float, float]) -> list[float]:
    """An arrival each tenth of a second, within these spans."""
    return [tenth / 10 for begin, end in spans for tenth in range(round(begin * 10), round(end * 10) + 1)]


def made(there: list[float], back: list[float], mesh: Mesh = "call", reason: str = "") -> Record:
    """A fault on a pair, with what arrived on both ways."""
    broken = Broken(PAIR, AT, USABLE, reason)
    return Record("cut", 0.0, END, [broken], {(mesh, PAIR): there, (mesh, (1, 0)): back})


def said(record: Record, way: Pair, *states: tuple[float, str, str]) -> Record:
    record.states[way] = [State(*state) for state in states]
    return record


def test_a_pair_is_healed_when_both_ways_flow_again() -> None:
    record = made(flow((0, 2), (11.5, END)), flow((0, 2), (12.2, END)))
    [healing] = healings(record, "call")
    assert healing.pair == PAIR
    assert healing.seconds == pytest.approx(2.2)


def test_a_pair_that_breaks_again_is_healed_when_it_stays() -> None:
    record = made(flow((0, 2), (10.5, 11), (14, END)), flow((0, END)))
    assert [one.seconds for one in healings(record, "call")] == [pytest.approx(4.0)]


def test_a_pair_that_found_another_path_was_back_at_once() -> None:
    record = made(flow((0, 2), (5, END)), flow((0, END)))
    assert [one.seconds for one in healings(record, "call")] == [0.0]


def test_a_pair_that_does_not_flow_at_the_end_is_not_healed() -> None:
    record = made(flow((0, END)), flow((0, 2), (11, 18.5)))
    assert [one.seconds for one in healings(record, "call")] == [None]


def test_a_pair_that_was_never_interrupted_is_not_counted() -> None:
    assert list(healings(made(flow((0, END)), flow((0, END))), "call")) == []


def test_a_pair_of_the_call_on_which_nothing_arrives_at_all_is_not_healed_and_a_plain_one_does_not_exist() -> None:
    record = Record("cut", 0.0, END, [Broken(PAIR, AT, USABLE)])
    assert [one.seconds for one in healings(record, "call")] == [None]
    assert list(healings(record, "plain")) == []


def test_a_pair_that_says_connected_while_one_way_is_silent_is_dead() -> None:
    record = said(made(flow((0, END)), flow((0, 2), (9, END))), (0, 1), (0.0, "connected", ""))
    assert dict(silent(record)) == {(0, 1): pytest.approx(7.0)}


@pytest.mark.parametrize("noticed", ["healing", "failed", "connecting"])
def test_a_pair_that_says_so_within_five_seconds_is_not_dead(noticed: str) -> None:
    told = ((0.0, "connected", ""), (6.5, noticed, ""), (12.0, "connected", ""))
    assert list(silent(said(made(flow((0, 2), (12, END)), flow((0, END))), (1, 0), *told))) == []


def test_a_pair_that_says_connected_again_too_early_is_dead() -> None:
    told = ((0.0, "connected", ""), (4.0, "healing", ""), (5.0, "connected", ""))
    record = said(made(flow((0, 2), (12, END)), flow((0, END))), (1, 0), *told)
    assert dict(silent(record)) == {(1, 0): pytest.approx(7.0)}


def test_a_pair_is_told_to_have_failed_with_a_reason() -> None:
    record = made([], [], reason="checks-failed")
    said(record, (0, 1), (0.0, "connected", ""), (4.0, "healing", ""), (6.0, "failed", "checks-failed"))
    said(
        record, (1, 0), (0.0, "failed", "checks-failed"), (3.0, "failed", "peer-gone"), (9.0, "failed", "checks-failed")
    )
    assert [(one.way, one.seconds, one.right) for one in tellings(record)] == [((0, 1), 4.0, True), ((1, 0), 7.0, True)]


def test_a_wrong_reason_and_none_at_all_are_not_right() -> None:
    record = said(made([], [], reason="turn-refused"), (0, 1), (6.0, "failed", "no-turn"))
    assert [(one.seconds, one.reason, one.right) for one in tellings(record)] == [
        (4.0, "no-turn", False),
        (None, "", False),
    ]


def test_a_pair_that_breaks_without_a_fault_is_found() -> None:
    record = made(flow((0, END)), flow((0, END)))
    record.arrivals |= {("call", (1, 2)): flow((0, END)), ("call", (2, 1)): flow((0, 4), (7, END))}
    record.arrivals |= {("call", way): flow((0, END)) for way in ways((0, 2))}
    assert list(unexpected(record)) == [(1, 2)]


def test_a_record_takes_what_pages_have_noted() -> None:
    record = Record("cut", 0.0, END, [])
    record.take(
        1,
        {"arrivals": [["call", "page-0", 1.5], ["plain", "page-0", 2]], "states": [["page-0", "failed", "no-turn", 3]]},
    )
    record.take(1, {"arrivals": [["call", "page-0", 4]], "states": []})
    assert record.arrivals == {("call", (0, 1)): [1.5, 4], ("plain", (0, 1)): [2]}
    assert record.states == {(1, 0): [State(3, "failed", "no-turn")]}


def test_a_verdict_counts_all_times_of_a_fault() -> None:
    healed = made(flow((0, 2), (11, END)), flow((0, END)))
    dead = said(made(flow((0, 2)), flow((0, END)), reason="no-turn"), (0, 1), (0.0, "connected", ""))
    plain = made(flow((0, 2)), flow((0, END)), mesh="plain")
    [verdict] = summarize([healed, dead, plain])
    assert (verdict.times, verdict.pairs) == (3, 3)
    assert verdict.call.seconds == pytest.approx([1.0])
    assert verdict.call.never == 2
    assert (verdict.plain.seconds, verdict.plain.never) == ([], 1)
    assert (verdict.told, verdict.reasons, verdict.told_in_time) == ([None, None], {"nothing": 2}, 0)
    assert verdict.silent == ["0 with 1: 18.0 s"]


def test_goals_that_are_missed_are_named_and_those_about_time_only_if_it_counts() -> None:
    slow = Verdict("cut", call=Healed([1.0, 3.5]), told=[4.0, 6.0], silent=["0 with 1: 7.0 s"])
    assert breaches([slow], timed=False) == []
    assert breaches([slow], timed=True) == [
        "pairs were back in 3.50 s at p95; the goal is 3 s",
        "1 times a pair said connected while nothing flowed",
        "1 times a failed pair was told so after more than 5 s",
    ]
    wrong = Verdict("cut", call=Healed([1.0], never=2), told=[None, 4.0])
    assert breaches([wrong], timed=False) == [
        "2 pairs did not heal",
        "1 times the reason of a failed pair was wrong, or it was not told",
    ]


def test_the_report_has_a_row_for_each_fault_and_one_for_all() -> None:
    verdicts = [
        Verdict("cut", 1, 7, Healed([1.0, 2.0]), Healed([], 2)),
        Verdict("lasting", 1, 2, Healed([0.5]), told=[4.0, None], reasons={"checks-failed": 1, "nothing": 1}),
    ]
    text = list(lines(verdicts, timed=True))
    rows = {line.split()[0]: line.split()[1:] for line in text if line.startswith("  ")}
    assert rows["cut"][:7] == ["1", "7", "2", "100%", "1.00", "2.00", "2.00"]
    assert rows["all"][:7] == ["2", "9", "3", "100%", "1.00", "2.00", "2.00"]
    assert any(line.startswith("lasting: 1 of 2 times a page said rightly within 5 s") for line in text)
    assert text[-1] == "1 times the reason of a failed pair was wrong, or it was not told"


def frame(target: int | None, source: int, kind: bytes = IPV4, text: bytes = b"") -> bytes:
    to = b"\xff" * 6 if target is None else MAC + bytes([target])
    return to + MAC + bytes([source]) + kind + text


def quiet_switch(ports: int, seed: int = 1) -> Switch:
    return Switch(ports, Random(seed))  # noqa: S311 - no secret


@pytest.fixture
def switch() -> Switch:
    return quiet_switch(4)


def test_a_switch_forwards_to_the_addressee_and_broadcasts_to_all_others(switch: Switch) -> None:
    assert address(2) == "02:00:00:00:00:02"
    assert switch.targets(frame(2, 1), 1) == [2]
    assert switch.targets(frame(None, 1, ARP), 1) == [0, 2, 3]
    assert switch.targets(frame(9, 1), 1) == [0, 2, 3]


@pytest.mark.parametrize("other", [frame(2, 1, IPV6), b"", frame(2, 1)[:13]])
def test_a_switch_forwards_nothing_but_ipv4_and_arp(switch: Switch, other: bytes) -> None:
    assert switch.targets(other, 1) == []


def test_nothing_reaches_or_leaves_a_port_that_is_cut(switch: Switch) -> None:
    switch.cut = {2}
    assert (switch.targets(frame(2, 1), 1), switch.targets(frame(1, 2), 2)) == ([], [])
    assert switch.targets(frame(None, 1, ARP), 1) == [0, 3]
    switch.mend()
    assert switch.targets(frame(2, 1), 1) == [2]


def test_a_pair_is_severed_both_ways_or_one(switch: Switch) -> None:
    switch.sever([(1, 2)])
    assert (switch.targets(frame(2, 1), 1), switch.targets(frame(1, 2), 2)) == ([], [])
    assert switch.targets(frame(3, 1), 1) == [3]
    switch.mend()
    switch.sever([(1, 2)], both_ways=False)
    assert (switch.targets(frame(2, 1), 1), switch.targets(frame(1, 2), 2)) == ([], [1])


def test_a_share_of_frames_is_lost_the_same_ones_for_a_seed() -> None:
    outcomes = []
    for _ in range(2):
        switch = quiet_switch(2, seed=7)
        switch.loss = 0.2
        outcomes.append([bool(switch.targets(frame(0, 1), 1)) for _ in range(1000)])
    assert outcomes[0] == outcomes[1]
    assert 150 < outcomes[0].count(False) < 250


@pytest.fixture
def ends() -> Iterator[tuple[list[socket.socket], list[socket.socket]]]:
    """Sockets that keep frames apart, as network devices do: those of the switch, and their other ends."""
    with ExitStack() as stack:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(3)]
        for pair in pairs:
            pair[0].setblocking(False)
            pair[1].settimeout(DEADLINE)
            for one in pair:
                stack.enter_context(one)
        yield [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def test_a_wire_carries_frames_between_devices_and_loses_what_the_switch_loses(
    ends: tuple[list[socket.socket], list[socket.socket]],
) -> None:
    devices, others = ends
    switch = quiet_switch(3)
    with Wire(switch, [device.fileno() for device in devices], delay=0.001):
        others[0].send(frame(2, 0, text=b"one"))
        assert others[2].recv(99) == frame(2, 0, text=b"one")
        switch.severed = {(0, 2)}
        others[0].send(frame(2, 0, text=b"lost"))
        others[0].send(frame(1, 0, text=b"two"))
        assert others[1].recv(99) == frame(1, 0, text=b"two")
        switch.mend()
        for number in range(200):
            others[0].send(frame(2, 0, text=b"%d" % number))
            assert others[2].recv(99) == frame(2, 0, text=b"%d" % number)


def test_a_wire_goes_on_when_a_device_takes_nothing(ends: tuple[list[socket.socket], list[socket.socket]]) -> None:
    devices, others = ends
    with Wire(quiet_switch(3), [device.fileno() for device in devices], delay=0):
        others[2].close()
        others[0].send(frame(2, 0))
        others[0].send(frame(1, 0, text=b"on"))
        assert others[1].recv(99) == frame(1, 0, text=b"on")


def test_pairs_have_the_lower_page_first_and_come_once() -> None:
    assert pairs_of([2, 0], range(3)) == [(0, 1), (0, 2), (1, 2)]


def test_a_quick_run_has_faults_of_both_sites() -> None:
    assert {FAULTS[name].site for name in QUICK} == {"direct", "relayed"}


@pytest.mark.heavy
def test_three_pages_heal_or_the_command_says_what_it_lacks(tmp_path: Path) -> None:
    """A container may have no right to make networks; then there is nothing to run, and the reason must be told."""
    command = [sys.executable, "-m", "bench", "heal", "--quick", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    lacks = namespace.missing()
    if lacks is not None:
        assert namespace.RIGHTS in lacks or "apt-get install" in lacks
    lacks = lacks or browser.missing() or process.missing()
    if lacks is not None:
        assert (run.returncode, run.stdout) == (1, f"bench heal cannot run here. {lacks}\n"), run.stderr
        return
    assert run.returncode == 0, run.stdout + run.stderr
    verdicts = msgspec.json.decode((tmp_path / "heal" / "results.json").read_bytes())["verdicts"]
    assert {one["fault"] for one in verdicts} == set(QUICK)
    assert all(one["call"]["seconds"] and not one["call"]["never"] for one in verdicts)
    assert "all pairs healed" in (tmp_path / "heal" / "report.txt").read_text()
