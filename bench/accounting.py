"""CPU time in nanoseconds and resident memory in bytes of a process and its children, as counted by the kernel."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.plan import Latency, Outcome, percentiles

if TYPE_CHECKING:
    from collections.abc import Iterator

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
UTIME, STIME = 11, 12
"""Indices into the fields of /proc/PID/stat that follow the command's name."""


def cpu_ns(pid: int) -> int:
    """Return the CPU time of all threads of a process and its children. Raises ProcessLookupError if it has ended."""
    return sum(_cpu_ns_of(process) for process in family(pid))


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children. Raises ProcessLookupError if it has ended."""
    return sum(_rss_bytes_of(process) for process in family(pid))


def family(pid: int) -> list[int]:
    """Return the pids of a process and all its descendants. Raises ProcessLookupError if it has ended."""
    if not (PROC / str(pid)).is_dir():
        raise ProcessLookupError(f"process {pid} is gone")
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for process in found:
        found.extend(children.get(process, ()))
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the command's name, or [] if the process has ended."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu_ns_of(pid: int) -> int:
    tasks = PROC / str(pid) / "task"
    try:
        return sum(_on_cpu(task) for task in tasks.iterdir())
    except FileNotFoundError:  # without schedstat in the kernel, count in ticks
        fields = _stat(pid)
        return (int(fields[UTIME]) + int(fields[STIME])) * TICK_NS if fields else 0


def _on_cpu(task: Path) -> int:
    try:
        return int((task / "schedstat").read_text().split()[0])
    except ProcessLookupError:  # the thread has just ended
        return 0


def _rss_bytes_of(pid: int) -> int:
    for name, key in (("smaps_rollup", "Rss:"), ("status", "VmRSS:")):
        try:
            lines = (PROC / str(pid) / name).read_text().splitlines()
        except (OSError, ProcessLookupError):
            continue
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


class Window:
    """A measured interval: the CPU time and memory of the server, and how busy this process was.

    If the server has several processes, `extra` also has the CPU of each per operation, as `cpu_us_1` and so on.
    """

    def __init__(self, *servers: int) -> None:
        self._servers = servers
        self._began = self._own = 0
        self._cpus: list[int] = []

    def begin(self) -> None:
        """Start the interval."""
        self._cpus, self._own, self._began = self._used(), time.process_time_ns(), time.monotonic_ns()

    def end(self, operations: int, latencies: list[int] | None = None, **extra: float) -> Outcome:
        """End the interval and return the outcome. `latencies` are in nanoseconds."""
        elapsed = time.monotonic_ns() - self._began
        own = time.process_time_ns() - self._own
        spent = [now - before for now, before in zip(self._used(), self._cpus, strict=True)]
        return Outcome(
            operations=operations,
            seconds=elapsed / 1e9,
            cpu_ns=sum(spent),
            rss_bytes=sum(map(rss_bytes, self._servers)),
            latency=percentiles(latencies) if latencies else Latency(),
            load_busy=own / elapsed,
            extra=extra | _each(spent, operations),
        )

    def _used(self) -> list[int]:
        return [cpu_ns(server) for server in self._servers]


def _each(spent: list[int], operations: int) -> dict[str, float]:
    if len(spent) == 1 or not operations:
        return {}
    return {f"cpu_us_{number}": one / 1000 / operations for number, one in enumerate(spent, 1)}
