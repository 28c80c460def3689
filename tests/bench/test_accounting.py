from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bench.accounting import Window, cpu_ns, family, rss_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 30.0

BUSY = "print(flush=True)\nwhile True: pass"
IDLE = "import time\nprint(flush=True)\ntime.sleep(60)"
PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY!r}])"


@contextmanager
def running(code: str) -> Iterator[int]:
    """Run code in a process and yield its pid once it has printed a line."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        for pid in reversed(family(process.pid)):
            subprocess.run(["kill", "-KILL", str(pid)], check=False, capture_output=True)
        process.wait()
        process.stdout.close()


def used(pid: int, wanted: int) -> int:
    """Wait until a process has used so much CPU, up to a deadline; return how much it used."""
    before, deadline = cpu_ns(pid), time.monotonic() + DEADLINE
    while (spent := cpu_ns(pid) - before) < wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return spent


def test_the_cpu_time_and_memory_of_a_busy_process_are_counted() -> None:
    with running(BUSY) as pid:
        assert used(pid, 100_000_000) >= 100_000_000
        assert rss_bytes(pid) > 1_000_000


def test_an_idle_process_uses_almost_no_cpu() -> None:
    with running(IDLE) as pid:
        before = cpu_ns(pid)
        time.sleep(0.2)
        assert cpu_ns(pid) - before < 20_000_000


def test_child_processes_are_included() -> None:
    with running(PARENT) as pid:
        assert len(family(pid)) == 2
        assert used(pid, 100_000_000) >= 100_000_000


def test_a_process_that_has_ended_is_an_error() -> None:
    with running(IDLE) as pid:
        pass
    with pytest.raises(ProcessLookupError):
        cpu_ns(pid)


def test_a_window_measures_from_begin_to_end() -> None:
    with running(BUSY) as pid:
        window = Window(pid)
        window.begin()
        spent = used(pid, 50_000_000)
        outcome = window.end(10, [1000, 3000], rooms=2)
    assert outcome.cpu_ns >= spent
    assert outcome.operations == 10
    assert outcome.latency.count == 2
    assert outcome.extra == {"rooms": 2}


def test_a_window_over_two_processes_reports_the_sum_and_each() -> None:
    with running(BUSY) as busy, running(IDLE) as idle:
        window = Window(busy, idle)
        window.begin()
        spent = used(busy, 50_000_000)
        outcome = window.end(10)
    assert outcome.cpu_ns >= spent
    assert outcome.extra["cpu_us_1"] + outcome.extra["cpu_us_2"] == pytest.approx(outcome.cpu_us)
    assert outcome.extra["cpu_us_1"] >= spent / 1000 / 10 > 10 * outcome.extra["cpu_us_2"]
