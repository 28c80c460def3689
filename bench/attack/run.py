"""One server under one attack after the other, beside bystanders who never stop.

The attackers, the server and the bystanders share the machine's cores. So each attack is first done to another server
beside ours, which the bystanders do not use: what their messages take then is the machine's, and what they take beyond
it while ours is attacked is ours. All limits of rate are at their defaults, but patience with a flood is short.
"""

from __future__ import annotations

import resource
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import uvloop

from bench.accounting import PROC
from bench.attack.attacks import ATTACKS
from bench.attack.bystanders import Bystanders
from bench.attack.striker import Striker
from bench.attack.verdict import Verdict
from bench.contender import ours
from bench.plan import percentiles
from bench.scenarios.isolation import default_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contender import Server

SETTINGS = {
    "MCP_ACTORS_COMPRESSION": "True",  # else there is nothing to bomb
    "MCP_ACTORS_REQUEST_TIMEOUT": "2",
    "MCP_ACTORS_RESUME_WINDOW": "5",
    "MCP_ACTORS_MAX_HANDSHAKES": "2000",
    "MCP_ACTORS_LOG_LEVEL": "info",
    "MCP_ACTORS_LOG_FORMAT": "json",
}
SAMPLE_EVERY = 0.02
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; `seconds` are of each attack."""

    seconds: float
    seed: int
    quick: bool
    frame_loop: str = "fast"
    addresses: str = "many"
    """Whether attackers come from one address or from many."""


class Peak:
    """The most memory a process took while the context lasted, sampled."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            while not self._ended.wait(SAMPLE_EVERY):
                self.most = max(self.most, _rss_bytes(self._pid))

    def __enter__(self) -> Self:
        self.most = _rss_bytes(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def _rss_bytes(pid: int) -> int:
    """Resident memory of the server, a single process, asked for so that neither it nor the bystanders notice."""
    return int((PROC / str(pid) / "statm").read_text().split()[1]) * resource.getpagesize()


def run(names: Sequence[str], options: Options, say: Callable[[str], None]) -> list[Verdict]:
    """Attack. Raises `LoadError` and `ContenderError`."""
    environment = {**default_limits(), **SETTINGS, "MCP_ACTORS_FRAME_LOOP": options.frame_loop}
    contender = replace(ours(), environment=environment)
    with contender.serve() as server, contender.serve() as other:
        return uvloop.run(_run(server, other, names, options, say))


async def _run(
    server: Server, other: Server, names: Sequence[str], options: Options, say: Callable[[str], None]
) -> list[Verdict]:
    bystanders, verdicts = Bystanders(), []
    await bystanders.gather(server.url)
    await bystanders.talk(options.seconds / 4)  # to warm up
    before = _rss_bytes(server.pid)
    for name in names:
        say(f"{name}: {ATTACKS[name].about}")
        verdicts.append(await _attack(server, other, bystanders, name, options, before))
        await bystanders.talk(options.seconds / 10)
    bystanders.disperse()
    return verdicts


async def _attack(
    server: Server, other: Server, bystanders: Bystanders, name: str, options: Options, before: int
) -> Verdict:
    logged = len(server.output())
    calm = percentiles(await bystanders.talk(options.seconds / 2))
    async with _striker(name, other, options):
        elsewhere = percentiles(await bystanders.talk(options.seconds))
    striker = _striker(name, server, options)
    with Peak(server.pid) as peak:
        async with striker:
            during = percentiles(await bystanders.talk(options.seconds))
    return Verdict(
        attack=name,
        strikes=striker.strikes,
        cut=striker.cut,
        calm=calm,
        elsewhere=elsewhere,
        during=during,
        lost=bystanders.forget_lost(),
        grown=peak.most - before,
        tracebacks=[line for line in server.output()[logged:].splitlines() if _is_a_bug(line)],
        complaints=bystanders.broken(),
    )


def _striker(name: str, server: Server, options: Options) -> Striker:
    attack = ATTACKS[name]
    at_once = attack.few if options.quick else attack.at_once
    return Striker(attack, server.port, at_once, options.seed, options.addresses)


def _is_a_bug(line: str) -> bool:
    return "Traceback" in line or '"level": "error"' in line
