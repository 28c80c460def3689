"""Contenders of `relay --processes 2`: servers that run as several processes and share a Redis server."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bench.contender import START_TIMEOUT, Contender, ContenderError, Server
from bench.engine import Engine, engines, missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROCESSES = 2
GREETING = "a room spans them all"
"""What several processes of one port say when all of them listen."""


def no_engine() -> str | None:
    """Return why no Redis server can be started here, or None."""
    return None if engines() else missing("valkey")


@dataclass(frozen=True, slots=True)
class Spanning(Contender):
    """A server of several processes. Each is started by `command`, with REDIS_URL in its environment.

    `listening`: how many are started so, each on a port of its own; those may have processes of their own.
    """

    listening: int = PROCESSES

    def serve(self) -> Nodes:
        """See `Contender`."""
        return Nodes(self)


def spanning(contender: Contender) -> Spanning:
    """Return a server of ours as one that runs in two processes."""
    environment, tree = contender.environment, contender.tree
    about = f"{contender.about}, in two processes"
    return Spanning(contender.name, about, contender.command, no_engine, environment=environment, tree=tree)


def supervised(contender: Contender) -> tuple[Spanning, Spanning]:
    """Return a server of ours as two processes on one port, with the members of a room at one of them, and at any."""
    both = {**contender.environment, "MCP_ACTORS_PROCESSES": str(PROCESSES)}
    about = "this server, in two processes on one port"
    return (
        Spanning(
            "affinity",
            f"{about}, which keep rooms together",
            contender.command,
            no_engine,
            "hinting",
            environment=both | {"MCP_ACTORS_ROOM_AFFINITY": "true"},
            listening=1,
        ),
        Spanning(
            "no-affinity",
            about,
            contender.command,
            no_engine,
            "hinting",
            environment=both | {"MCP_ACTORS_ROOM_AFFINITY": "false"},
            listening=1,
        ),
    )


class Nodes(Server):
    """The first of several processes, with the others and an empty Redis server without persistence."""

    def __init__(self, contender: Spanning) -> None:
        self._engine = Engine(next(iter(engines()), "valkey"))
        variables = {"REDIS_URL": self._engine.url, "MCP_ACTORS_SECRET_KEY": secrets.token_hex(32)}
        node = contender.with_environment(variables)
        super().__init__(node)
        self._others = [Server(node) for _ in range(contender.listening - 1)]
        self._running = ExitStack()
        self._shares_port = contender.listening < PROCESSES

    @property
    def nodes(self) -> Sequence[Server]:
        """See `Server`."""
        return (self, *self._others)

    @property
    def engine(self) -> Engine | None:
        """See `Server`."""
        return self._engine

    def _wait_until_listening(self) -> None:
        """Wait for all processes of a port, too: the greeting comes when the last of them listens. See `Server`."""
        super()._wait_until_listening()
        deadline = time.monotonic() + START_TIMEOUT
        while self._shares_port and GREETING not in self.output():
            if time.monotonic() > deadline:
                raise ContenderError(f"not all processes listened within {START_TIMEOUT:.0f} s: {self.said()}")
            time.sleep(0.02)

    def said(self) -> str:
        """Return the end of the output of each process."""
        return "\n".join(filter(None, (super().said(), *(other.said() for other in self._others))))

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self._engine)
            for other in self._others:
                starting.enter_context(other)
            super().__enter__()
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._running:
            super().__exit__(kind, error, trace)
