"""Everything that a run needs: networks, the switch between them, servers and pages."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from random import Random
from typing import TYPE_CHECKING, Self

from playwright.sync_api import sync_playwright

from bench.heal.browser import Page
from bench.heal.namespace import NETWORK, Namespace
from bench.heal.process import Coturn, SignalingServer
from bench.heal.record import ways
from bench.heal.switch import Switch
from bench.heal.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from bench.heal.faults import Site
    from bench.heal.record import Mesh, Pair

DELAY = 0.005
"""Seconds that a frame takes from one network to another."""

CREDENTIALS_LAST = 20
"""Seconds that credentials for coturn last; clients renew them after half of it."""

HUB, FIRST_PAGE, MOVED = 1, 11, 100
"""Last numbers of addresses: of the servers, of the first page, and what is added when a page moves."""

POLL = 0.2


class World:
    """Networks with a page in each, and one for the servers, made on entering the context.

    `relayed`: the pages that connect over coturn only. `credentials_last`: seconds.
    """

    switch: Switch
    server: SignalingServer
    coturn: Coturn

    def __init__(self, pages: int, seed: int, directory: Path) -> None:
        self.pages = range(pages)
        self.relayed: range = self.pages[:0]
        self.credentials_last = CREDENTIALS_LAST
        self._seed = seed
        self._directory = directory
        self._stack = ExitStack()
        self._networks: list[Namespace] = []
        self._open: list[Page] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._build(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def plain(self) -> list[Pair]:
        """The pairs that have a plain connection, too: a ring of all pages."""
        ring = [(page, (page + 1) % len(self.pages)) for page in self.pages]
        return sorted({(min(pair), max(pair)) for pair in ring})

    @contextmanager
    def serving(self, site: Site) -> Iterator[None]:
        """Run the servers of a site, and have all pages join a room of it."""
        self.relayed = self.pages[::2] if site == "relayed" else self.pages[:0]
        hub = self._networks[0]
        with ExitStack() as stack:
            settings = {}
            if site == "relayed":
                self.coturn = stack.enter_context(Coturn(hub, self._directory))
                self.coturn.start()
                settings = self._turn_settings()
            self.server = SignalingServer(hub, self._directory / f"{site}.log", settings)
            stack.enter_context(self.server).start()
            self.join()
            yield

    def join(self) -> None:
        """Have all pages open the site anew, and join its room."""
        for page in self._open:
            page.join(self.server.url, "heal", relayed=page.number in self.relayed)

    def port(self, page: int) -> int:
        """Return the port of a page at the switch."""
        return page + 1

    def move(self, page: int, seconds: float) -> None:
        """Take its address from a page, and after so many seconds give it another one, or its first one again."""
        network = self._networks[self.port(page)]
        first = _host(FIRST_PAGE + page)
        host = _host(FIRST_PAGE + MOVED + page) if network.host == first else first
        network.detach()
        time.sleep(seconds)
        network.attach(host)

    def dial_plain(self) -> None:
        """Begin those plain pairs anew that do not flow."""
        for one, other in self.plain:
            if self._open[one].quiet("plain", [other]) or self._open[other].quiet("plain", [one]):
                self._open[one].dial(other)

    def wait(self, mesh: Mesh, pairs: list[Pair], patience: float) -> list[Pair]:
        """Wait until pairs flow both ways; return those that do not in so many seconds."""
        if self._wire.failure is not None:
            raise self._wire.failure
        deadline = time.monotonic() + patience
        while (quiet := self._quiet(mesh, pairs)) and time.monotonic() < deadline:
            time.sleep(POLL)
        return quiet

    def describe(self, pairs: list[Pair]) -> str:
        """Return what the pages know of pairs, for people."""
        return "; ".join(self._open[one].describe(other) for pair in pairs for one, other in ways(pair))

    def drain(self) -> list[dict[str, list[list[object]]]]:
        """Return what each page has noted since the last call."""
        return [page.drain() for page in self._open]

    def _quiet(self, mesh: Mesh, pairs: list[Pair]) -> list[Pair]:
        found = []
        for page in self._open:
            others = [sum(pair) - page.number for pair in pairs if page.number in pair]
            found += [(page.number, other) for other in page.quiet(mesh, others)]
        return sorted({(min(pair), max(pair)) for pair in found})

    def _build(self, stack: ExitStack) -> None:
        hosts = [HUB, *(FIRST_PAGE + page for page in self.pages)]
        for port, host in enumerate(hosts):
            self._networks.append(Namespace(port, _host(host)))
            stack.callback(self._networks[-1].close)
        self.switch = Switch(len(hosts), Random(self._seed))  # noqa: S311 - no secret
        self._wire = stack.enter_context(Wire(self.switch, [one.device for one in self._networks], DELAY))
        playwright = stack.enter_context(sync_playwright())
        for page in self.pages:
            self._open.append(Page(playwright, self._networks[self.port(page)], page, self._directory))
            stack.callback(self._open[-1].close)

    def _turn_settings(self) -> dict[str, str]:
        turn = {"URLS": self.coturn.url, "SECRET": self.coturn.secret, "TTL": str(self.credentials_last)}
        return {f"MCP_ACTORS_TURN_{name}": value for name, value in turn.items()}


def _host(last: int) -> str:
    return f"{NETWORK}.{last}"
