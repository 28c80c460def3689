"""A server that is several processes on one Redis-protocol server: a contender of `relay --processes 2`."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from bench.contender import Contender, Server
from bench.engine import Engine, engines, missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROCESSES = 2


def no_engine() -> str | None:
    """Why no Redis-protocol server can be started here, or None."""
    return None if engines() else missing("valkey")


class Spanning(Contender):
    """Several processes, each started by `command`, with REDIS_URL in its environment."""

    def serve(self) -> Nodes:
        """See `Contender`."""
        return Nodes(self)


class Nodes(Server):
    """The first of several processes, with the others and a Redis-protocol server, new and with nothing on disk."""

    def __init__(self, contender: Spanning) -> None:
        self._engine = Engine(next(iter(engines()), "valkey"))
        environment = {"REDIS_URL": self._engine.url, "MCP_ACTORS_SECRET_KEY": secrets.token_hex(32)}
        node = replace(contender, environment=environment)
        super().__init__(node)
        self._others = [Server(node) for _ in range(PROCESSES - 1)]
        self._running = ExitStack()

    @property
    def nodes(self) -> Sequence[Server]:
        """See `Server`."""
        return (self, *self._others)

    @property
    def engine(self) -> Engine | None:
        """See `Server`."""
        return self._engine

    def said(self) -> str:
        """The end of what each of them printed."""
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
