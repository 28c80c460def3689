"""The attackers, as a process: `python -m bench.attack.striker NAME PORT AT_ONCE SEED ADDRESSES`.

They are at it until standard input ends.
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
from bench.attack.wire import Target
from bench.runner import LoadError, more_files

if TYPE_CHECKING:
    from types import TracebackType

    from bench.attack.attacks import Attack

ROOT = Path(__file__).parent.parent.parent
END_PATIENCE = 10.0
BREATHER = 0.01
"""Seconds an attacker waits before it comes again: a machine of two cores has to serve the bystanders, too."""


class Striker:
    """Attackers who are at it while the context lasts; `strikes` and `cut` count what they did, afterwards.

    `addresses`: whether they come from `one` address or from `many`.
    """

    def __init__(self, attack: type[Attack], port: int, at_once: int, seed: int, addresses: str) -> None:
        self._arguments = [attack.name, str(port), str(at_once), str(seed), addresses]
        self._process: asyncio.subprocess.Process
        self.strikes = self.cut = 0

    async def __aenter__(self) -> Self:
        command = (sys.executable, "-m", "bench.attack.striker", *self._arguments)
        self._process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        if self._process.stdout is None or not await self._process.stdout.readline():
            raise LoadError("the attackers did not begin")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            told, _ = await asyncio.wait_for(self._process.communicate(b""), END_PATIENCE)
        except TimeoutError:
            self._process.kill()
            told, _ = await self._process.communicate()
        if told:
            self.strikes, self.cut = json.loads(told)
        elif kind is None:
            raise LoadError("the attackers ended before their time")


async def _again_and_again(attack: Attack, counts: list[int]) -> None:
    while True:
        try:
            counts[0] += 1
            await attack.strike()
        except OSError:
            counts[1] += 1
        await asyncio.sleep(BREATHER)


async def _main(name: str, port: int, at_once: int, seed: int, *, many: bool) -> None:
    counts = [0, 0]
    random = Random(f"{seed} {name}")  # noqa: S311 - to be repeated, not to be secret
    attack = ATTACKS[name](Target(port, random, many=many), random)
    striking = [asyncio.create_task(_again_and_again(attack, counts)) for _ in range(at_once)]
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    failed = [task.exception() for task in striking if task.done()]
    for task in striking:
        task.cancel()
    await asyncio.gather(*striking, return_exceptions=True)
    for error in failed:
        if error is not None:
            raise error
    sys.stdout.write(json.dumps(counts) + "\n")


if __name__ == "__main__":
    os.nice(19)  # with what CPU the others leave
    more_files()
    uvloop.run(_main(sys.argv[1], *map(int, sys.argv[2:5]), many=sys.argv[5] == "many"))
