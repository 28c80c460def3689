"""The command `scale`."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import machine
from bench.contender import ContenderError
from bench.peers import OURS
from bench.runner import GRACE, LoadError, run_module
from bench.scale.growth import Row, grows, lines
from bench.scenarios.idle import HEARTBEAT

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bench.plan import Outcome

RESULTS = Path(__file__).parent.parent / "results"
CONNECTIONS, ROOMS, MEMBERS = 100_000, 250_000, 500
QUICK = {"connections": 40, "rooms": 2000, "room": 16}
STEPS = 4, 2, 1
"""The sizes are these parts of the largest."""

SPARE_FILES = 250
"""Files that the server or the load process has open beside the connections, and those of newcomers."""

TIMEOUT = 1800.0
MILLI, KIBI = 1000.0, 1024.0

ROWS = {
    "connections": (
        Row("accept_us", "us to accept each"),
        Row("accept_cpu_us", "us of CPU to accept each", each=True),
        Row("bytes_each", "KiB each in the server", KIBI, each=True),
        Row("kernel_bytes_each", "KiB each in the kernel, both ends", KIBI, each=True),
        Row("heartbeat_us", "us of CPU per connection and second", each=True),
        Row("accept_p50_us", "ms of a signal while accepting, p50", MILLI),
        Row("accept_p99_us", "ms of a signal while accepting, p99", MILLI),
        Row("idle_p50_us", "ms of a signal then, p50", MILLI),
        Row("idle_p99_us", "ms of a signal then, p99", MILLI),
    ),
    "rooms": (
        Row("create_us_max", "us to create each", each=True),
        Row("retire_us_max", "us to retire each", each=True),
        Row("bytes_per_room", "KiB each", KIBI, each=True),
    ),
    "room": (
        Row("joined_ms", "ms until all have joined"),
        Row("told_ms", "ms until all know all"),
        Row("told_us_per_pair", "us per pair of members"),
        Row("cpu_us_per_pair", "us of CPU per pair of members", each=True),
        Row("sent_mib", "MiB sent"),
        Row("peak_mib", "MiB more at the peak"),
        Row("room_p50_us", "ms of a signal elsewhere, p50", MILLI),
        Row("room_max_us", "ms of a signal elsewhere, at most", MILLI),
    ),
}
TITLES = {
    "connections": "joined connections that send nothing, four to a room",
    "rooms": "rooms in one process, without sockets",
    "room": "members that join one room at once, with 1 KB of metadata each",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("--only", choices=tuple(ROWS), action="append", help="may be repeated (default: all)")
    add("--connections", type=int, metavar="N", help=f"the most connections (default: {CONNECTIONS:,})")
    add("--rooms", type=int, metavar="N", help=f"the most rooms (default: {ROOMS:,})")
    add("--members", type=int, metavar="N", help=f"the most members of one room (default: {MEMBERS})")
    add("--quick", action="store_true", help="very small, to see that it works; not for figures")
    add("--out", type=Path, default=RESULTS, metavar="DIR", help="default: bench/results")


def scale(chosen: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure everything at three sizes. Return 0, or 1 if something failed or grows faster than linearly."""
    where = machine.describe()
    say(machine.summary(where))
    most, files = _most(chosen), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if complaint := too_few_files(most["connections"], files):
        say(complaint)
        most["connections"] = files - SPARE_FILES
    steps = (1,) if chosen.quick else STEPS
    sizes = {kind: [max(2, count // part) for part in steps] for kind, count in most.items()}
    found: dict[str, dict[int, Outcome]] = {}
    text, faults = [machine.summary(where)], []
    for kind in chosen.only or ROWS:
        try:
            found[kind] = {size: _measure(kind, size, quick=chosen.quick) for size in sizes[kind]}
        except (LoadError, ContenderError) as error:
            faults.append(f"{kind}: {error}")
            say(f"{kind} FAILED: {error}")
            continue
        outcomes = list(found[kind].values())
        text += ["", *lines(TITLES[kind], sizes[kind], ROWS[kind], outcomes)]
        say("\n".join(["", *lines(TITLES[kind], sizes[kind], ROWS[kind], outcomes)]))
        if not chosen.quick:
            faults += [f"{kind}: {label}: grows faster than linearly" for label in grows(ROWS[kind], outcomes)]
    text += ["", *faults]
    for fault in faults:
        say(fault)
    _write(chosen.out / "scale", {"machine": where, "measured": found, "faults": faults}, text, say)
    return 1 if faults else 0


def _most(chosen: argparse.Namespace) -> dict[str, int]:
    usual = QUICK if chosen.quick else {"connections": CONNECTIONS, "rooms": ROOMS, "room": MEMBERS}
    asked = {"connections": chosen.connections, "rooms": chosen.rooms, "room": chosen.members}
    return {kind: asked[kind] or count for kind, count in usual.items()}


def too_few_files(connections: int, files: int) -> str:
    """Return what to change so that a process may have so many connections; empty if `files` are enough."""
    needed = connections + SPARE_FILES
    if needed <= files:
        return ""
    return (
        f"A process may open too few files here for {connections:,} connections: measuring {files - SPARE_FILES:,}. "
        f"Allow {needed:,} with `ulimit -Hn` as root, `LimitNOFILE=` of systemd, or `--ulimit nofile=` of Docker."
    )


def _measure(kind: str, size: int, *, quick: bool) -> Outcome:
    if kind == "rooms":
        return run_module("bench.rooms", str(size), max_wait=TIMEOUT)
    settings = {
        "MCP_ACTORS_MAX_CONNECTIONS": str(size + SPARE_FILES),
        "MCP_ACTORS_MAX_ROOM_MEMBERS": str(max(500, size)),
    }
    seconds = 0.2 if quick else HEARTBEAT
    with OURS.with_environment(settings).serve() as server:
        arguments = (kind, server.url, str(server.pid), str(size), str(seconds))
        return run_module("bench.scale.load", *arguments, max_wait=TIMEOUT + GRACE)


def _write(directory: Path, results: dict[str, object], text: list[str], say: Callable[[str], None]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    (directory / "report.txt").write_text("\n".join(text) + "\n")
    say(f"\nwritten to {directory}: results.json, report.txt")
