"""A simulated node: the real application below its adapters, in a process of the simulated world."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest import mock

from mcp_actors import site_setup, web_pages
from mcp_actors.app import App, StartError
from mcp_actors.environment import load
from tests.simulation.loop import Process
from tests.simulation.websocket import NodeTransport

if TYPE_CHECKING:
    from pathlib import Path

    from mcp_actors.connection.connection import Endpoint
    from mcp_actors.connection.environment import Environment
    from mcp_actors.settings import Settings
    from tests.simulation.loop import SimulationLoop
    from tests.simulation.network import End, Network
    from tests.simulation.webhooks import SimulatedReceiver

RETRY = 0.5
"""Seconds after which a supervisor starts a node again that could not start."""


def settings_of(directory: Path, **changed: Any) -> Settings:
    """The settings of the nodes."""
    return load(overrides=changed, environ={}, directory=directory)


class SimulatedNode:
    """One host, on which one process after another runs. `host`: its name on the network."""

    def __init__(
        self,
        loop: SimulationLoop,
        network: Network,
        host: str,
        settings: Settings,
        rate: float,
        receiver: SimulatedReceiver | None = None,
    ) -> None:
        self.host = host
        self.app: App | None = None
        self.process: Process | None = None
        self.serving = False
        self._loop = loop
        self._network = network
        self._settings = settings
        self._rate = rate
        self._reporting = None if receiver is None else receiver.reporting(settings)
        self._starts = 0
        self._environment: Environment
        self._endpoints: dict[str, Endpoint] = {}

    @property
    def running(self) -> Process:
        """The process that runs."""
        assert self.process is not None
        return self.process

    def start(self) -> asyncio.Task[None]:
        """Start a new process; the task ends when it serves."""
        self._starts += 1
        self.process = Process(self._loop, f"{self.host}.{self._starts}", self._rate)
        return self.process.spawn(self._start())

    async def _start(self) -> None:
        while True:
            app = self._make()
            try:
                await app.start()
                break
            except StartError:
                await asyncio.sleep(RETRY)
        self.app = app
        self._network.listen(self.host, self.running, self._accept)
        self.serving = True

    def _make(self) -> App:
        """Make the application, and keep what an adapter would be given."""
        found: list[Any] = []

        def keep(kind: Any) -> Any:
            def make(*given: Any, **named: Any) -> Any:
                found.append(kind(*given, **named))
                return found[-1]

            return make

        with ExitStack() as stack:
            for name in ("SignalingEndpoint", "MessagingEndpoint"):
                stack.enter_context(mock.patch.object(site_setup, name, keep(getattr(site_setup, name))))
            stack.enter_context(mock.patch.object(web_pages, "read_files", return_value={}))
            app = App(self._settings, report=self._reporting)
        self._environment = app.environment
        by_kind = {type(one).__name__: one for one in found}
        signaling, messaging = by_kind["SignalingEndpoint"], by_kind["MessagingEndpoint"]
        self._endpoints = {"/ws/signaling/": signaling, "/ws/mcp/": messaging}
        return app

    def _accept(self, end: End) -> None:
        NodeTransport(self._loop, end, self._environment, self._endpoints)

    def kill(self, *, silent: bool) -> None:
        """Kill the process. `silent`: its machine is gone with it, so that nobody is told."""
        self.serving = False
        self._network.close(self.host)
        self._network.kill(self.running, silent=silent)

    def stop(self) -> asyncio.Task[None]:
        """Ask it to stop, as SIGTERM does; the task ends when it has."""
        assert self.app is not None
        return self.running.spawn(self._stop(self.app))

    async def _stop(self, app: App) -> None:
        await app.stop()
        self.serving = False
        self._network.close(self.host)
        self._network.kill(self.running, silent=False)
