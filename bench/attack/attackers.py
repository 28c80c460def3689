"""Runs an attack in a process of its own: `python -m bench.attack.attackers NAME PORTS CLIENTS SEED ADDRESSES SCHEME`.

`PORTS`: those of the processes of the server, separated by commas. The attack goes on until standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

import uvloop

from bench.attack.attacks import ATTACKS
from bench.attack.raw_client import Target, trusting
from bench.runner import LoadError, more_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from bench.attack.attack import Attack

ROOT = Path(__file__).parent.parent.parent
STOP_TIMEOUT = 10.0
PAUSE = 0.01
"""Seconds an attacker waits between attempts, so that on a machine of two cores the bystanders get CPU time, too."""


class Attackers:
    """The attacking process; it runs while the context lasts. Afterwards, `attempts` and `cut` are its counts.

    `cut`: attempts that the server ended by closing the connection. `addresses`: `one` or `many` source addresses.
    `scheme`: `ws`, or `wss` for a server with TLS.
    """

    def __init__(
        self, attack: type[Attack], ports: Iterable[int], clients: int, seed: int, addresses: str, scheme: str
    ) -> None:
        self._arguments = [attack.name, ",".join(map(str, ports)), str(clients), str(seed), addresses, scheme]
        self._process: asyncio.subprocess.Process
        self.attempts = self.cut = 0

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "bench.attack.attackers", *self._arguments)
        self._process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        if self._process.stdout is None or not await self._process.stdout.readline():
            raise LoadError("the attackers did not start")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            told, _ = await asyncio.wait_for(self._process.communicate(b""), STOP_TIMEOUT)
        except TimeoutError:
            self._process.kill()
            told, _ = await self._process.communicate()
        if told:
            self.attempts, self.cut = json.loads(told)
        elif kind is None:
            raise LoadError("the attackers ended early")


async def _repeat(attack: Attack, counts: list[int]) -> None:
    while True:
        try:
            counts[0] += 1
            await attack.attack_once()
        except OSError:
            counts[1] += 1
        await asyncio.sleep(PAUSE)


async def _main(name: str, ports: Sequence[int], clients: int, seed: int, *, many: bool, tls: bool) -> None:
    counts = [0, 0]
    random = Random(f"{seed} {name}")  # noqa: S311 - to be repeated, not to be secret
    attack = ATTACKS[name](Target(ports, random, many=many, tls=trusting() if tls else None), random)
    tasks = [asyncio.create_task(_repeat(attack, counts)) for _ in range(clients)]
    sys.stdout.write("started\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    failed = [task.exception() for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for error in failed:
        if error is not None:
            raise error
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    os.nice(19)  # yields the CPU to the server and the bystanders
    more_files()
    ports = [int(port) for port in sys.argv[2].split(",")]
    uvloop.run(
        _main(sys.argv[1], ports, *map(int, sys.argv[3:5]), many=sys.argv[5] == "many", tls=sys.argv[6] == "wss")
    )
