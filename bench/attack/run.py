"""Runs one attack after the other against one server, beside bystanders.

Attackers, server and bystanders share the CPUs. So each attack is first run against a second server, which the
bystanders do not use: their latency then is the effect of the shared machine, and any further increase while their own
server is attacked is the effect on the server. Meanwhile newcomers, who have an address of their own, connect and join.
Rate limits have their default values, but floods are cut off early.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.attack.attackers import Attackers
from bench.attack.attacks import ATTACKS
from bench.attack.bystanders import Bystanders
from bench.attack.memory import Peak, kernel_bytes, rss_bytes
from bench.attack.newcomers import Newcomers
from bench.attack.raw_client import HOST, trusting
from bench.attack.verdict import PLAIN, TLS, Verdict
from bench.certificate import make_certificate
from bench.contender import ours
from bench.plan import percentiles
from bench.scenarios.isolation import with_default_limits
from bench.spanning import PROCESSES, spanning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contender import Server
    from bench.plan import Latency

SETTINGS = {
    "MCP_ACTORS_REQUEST_TIMEOUT": "2",
    "MCP_ACTORS_RESUME_WINDOW": "5",
    "MCP_ACTORS_MAX_HANDSHAKES": "500",
    "MCP_ACTORS_MAX_MEMORY_BYTES": str(48 * 2**20),
    "MCP_ACTORS_MAX_ADDRESS_MEMORY_BYTES": str(32 * 2**20),
    "MCP_ACTORS_LOG_LEVEL": "info",
    "MCP_ACTORS_LOG_FORMAT": "json",
}


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line; `seconds` is the length of each attack."""

    seconds: float
    seed: int
    quick: bool
    addresses: str = "many"
    """Whether attackers use `one` source address or `many`."""

    tls: bool = False

    @property
    def scheme(self) -> str:
        """The scheme of the servers' URLs."""
        return "wss" if self.tls else "ws"


def run(names: Sequence[str], options: Options, say: Callable[[str], None]) -> list[Verdict]:
    """Run the attacks. Raises `LoadError` and `ContenderError`."""
    alone = with_default_limits(ours()).with_environment(SETTINGS)
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        if options.tls:
            certificate = make_certificate(Path(directory, "server.pem"))
            alone = alone.with_environment({"MCP_ACTORS_TLS_CERT_FILE": str(certificate)})
        for contender, processes in ((alone, 1), (spanning(alone), PROCESSES)):
            chosen = [name for name in names if ATTACKS[name].processes == processes]
            if chosen:
                with contender.serve() as server, contender.serve() as other:
                    verdicts += uvloop.run(_Run(server, other, options).run(chosen, say))
    return verdicts


class _Run:
    """One server that is attacked, another one that is, too, and those that use the first.

    In a server of two processes, one peer of each pair of bystanders is at each.
    """

    def __init__(self, server: Server, other: Server, options: Options) -> None:
        self._server = server
        self._other = other
        self._options = options
        self._tls = trusting() if options.tls else None
        self._bystanders = Bystanders()
        self._newcomers = Newcomers(server.port, self._tls)
        self._measured_elsewhere: tuple[Latency, Latency] | None = None

    async def run(self, names: Sequence[str], say: Callable[[str], None]) -> list[Verdict]:
        """Run the attacks, one after the other."""
        seconds, verdicts = self._options.seconds, []
        try:
            urls = [f"{self._options.scheme}://{HOST}:{node.port}" for node in self._server.nodes]
            await self._bystanders.join(urls, self._tls)
            await self._measure(seconds / 4)  # warm-up
            before = rss_bytes(self._server.pid)
            for name in names:
                say(f"{name}: {ATTACKS[name].about}")
                verdicts.append(await self._attack(name, before))
                await self._bystanders.exchange(seconds / 10)
        finally:
            await self._bystanders.close()
        return verdicts

    async def _attack(self, name: str, before: int) -> Verdict:
        server, bystanders, seconds = self._server, self._bystanders, self._options.seconds
        read, printed = len(server.output()), server.printed
        calm = percentiles(await bystanders.exchange(seconds / 2))
        elsewhere, elsewhere_newcomers = await self._measure_elsewhere(name)
        attackers, kernel = self._attackers(name, server), kernel_bytes()
        with Peak(server.pid) as peak:
            async with attackers:
                during, newcomers = await self._measure(seconds)
        return Verdict(
            attack=name,
            attempts=attackers.attempts,
            cut=attackers.cut,
            calm=calm,
            elsewhere=elsewhere,
            during=during,
            lost=bystanders.take_lost(),
            grown=peak.process - before,
            tracebacks=[line for line in server.output()[read:].splitlines() if _is_a_bug(line)],
            complaints=bystanders.broken(),
            newcomers_elsewhere=elsewhere_newcomers,
            newcomers=newcomers,
            kernel=peak.kernel - kernel,
            logged=server.printed - printed,
            seconds=seconds,
            limits=TLS if self._options.tls else PLAIN,
        )

    async def _measure_elsewhere(self, name: str) -> tuple[Latency, Latency]:
        """Measure while the other server is attacked. A quick run, which judges no times, does so only once."""
        if self._options.quick and self._measured_elsewhere is not None:
            return self._measured_elsewhere
        async with self._attackers(name, self._other):
            self._measured_elsewhere = await self._measure(self._options.seconds)
        return self._measured_elsewhere

    async def _measure(self, seconds: float) -> tuple[Latency, Latency]:
        """Return the latency of bystanders, and how long newcomers took to join."""
        latencies, times = await asyncio.gather(self._bystanders.exchange(seconds), self._newcomers.come(seconds))
        return percentiles(latencies), percentiles(times)

    def _attackers(self, name: str, server: Server) -> Attackers:
        attack, options = ATTACKS[name], self._options
        clients = attack.quick_clients if options.quick else attack.clients
        ports = [node.port for node in server.nodes]
        return Attackers(attack, ports, clients, options.seed, options.addresses, options.scheme)


def _is_a_bug(line: str) -> bool:
    return "Traceback" in line or '"level": "error"' in line
