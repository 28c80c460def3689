"""All deliveries of this process."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from mcp_actors.background import BackgroundTasks
from mcp_actors.broker.memory_event_log import MemoryEventLog
from mcp_actors.webhooks.deliverer import Counters, Deliverer, Terms
from mcp_actors.webhooks.recorder import Recorder
from mcp_actors.webhooks.signature import Signer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.broker.event_log import EventLog
    from mcp_actors.node import Node
    from mcp_actors.webhooks.deliverer import Post

log = structlog.get_logger("mcp_actors.webhooks")

STOP_SECONDS = 2.0
"""How long the last events may take to be delivered when a process stops."""


class WebhookSettings(Protocol):
    """The settings of the receiver, and of the deliveries to it; see `Terms`."""

    @property
    def url(self) -> str:
        """The URL, empty for none."""

    @property
    def timeout(self) -> float:
        """Seconds to answer."""

    @property
    def secret(self) -> tuple[str, ...]:
        """The secrets that sign."""

    @property
    def connections(self) -> int:
        """Deliveries at once."""

    @property
    def attempts(self) -> int:
        """Failures after which an event is given up."""

    @property
    def lifetime(self) -> float:
        """Seconds after which an event is given up."""

    @property
    def max_webhook_events(self) -> int:
        """Events that wait in memory, at most."""


class Waiting(NamedTuple):
    """The events in the logs that this process reads: how many, and for how many seconds the oldest has waited."""

    events: int
    oldest_seconds: float


class Reports:
    """Delivers the events of some logs to one receiver, each log in a task. `is_kept`: a log outlives this process."""

    def __init__(
        self, logs: Sequence[EventLog], post: Post, signer: Signer, terms: Terms, *, is_kept: bool = False
    ) -> None:
        self.counters = Counters()
        self._post = post
        self._is_kept = is_kept
        slots = asyncio.Semaphore(terms.connections)
        self._deliverers = [Deliverer(one, post, signer, terms, self.counters, slots) for one in logs]
        self._background = BackgroundTasks()
        self._running = 0
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Begin to deliver."""
        for deliverer in self._deliverers:
            self._running += 1
            self._background.start(lambda one=deliverer: self._run(one), "webhooks")  # type: ignore[misc]

    async def stop(self) -> None:
        """Deliver what has just happened, if that is possible, and end."""
        for deliverer in self._deliverers:
            deliverer.stop(STOP_SECONDS)
        try:
            async with asyncio.timeout(STOP_SECONDS + 1 if self._running else 0):
                await self._ended.wait()
        except TimeoutError:
            log.debug("webhooks did not end in time")
        await self._background.stop()
        self._post.close()
        waiting = self.waiting().events
        if waiting and not self._is_kept:
            log.warning("webhook events were lost, as this process stopped", count=waiting)

    def waiting(self) -> Waiting:
        """Return what waits to be delivered by this process."""
        oldest = min((at for one in self._deliverers if (at := one.oldest) is not None), default=None)
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        return Waiting(sum(one.waiting for one in self._deliverers), age)

    async def _run(self, deliverer: Deliverer) -> None:
        await deliverer.run()
        self._running -= 1
        if not self._running:
            self._ended.set()


def report(node: Node, settings: WebhookSettings, lease: float, post: Post) -> Reports:
    """Report the events of all nodes of the cluster, or those of this one if it is alone."""
    terms = Terms(settings.connections, settings.attempts, settings.lifetime, lease)
    signer = Signer(settings.secret)
    if node.broker.shared:
        return Reports(node.broker.event_logs, post, signer, terms, is_kept=True)
    own = MemoryEventLog(settings.max_webhook_events, time.time)
    node.observe(Recorder(own.append))
    return Reports([own], post, signer, terms)
