"""Fixtures for tests in a real browser: servers in their own processes, Chromium, and pages that record errors."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from bench.engine import Engine
from bench.heal.browser import BROWSERS, find
from bench.ports import free_ports
from mcp_actors.auth.secret import make
from tests.support.server import Process
from tests.web.pages import DEADLINE, DEVICES, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

    from tests.web.pages import OpenPage

# No media leaves this machine, and no name is looked up.
FLAGS = [
    "--no-sandbox",
    "--allow-loopback-in-peer-connection",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
]
# Ten frames a second show that video flows; the usual number keeps a small machine busy with encoding and decoding.
FAKE_CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=10"]

AWAY = ("WebSocket connection to", "Failed to load resource: net::")
REFUSED = "Failed to load resource: the server responded with a status of"
"""What Chromium reports of a server that cannot be reached, and of one that refuses a request."""

expect.set_options(timeout=DEADLINE * 1000)


@dataclass
class Watch:
    """Records errors on the pages of one test, and requests to other hosts."""

    hosts: set[str]
    complaints: list[str] = field(default_factory=list)
    server_may_be_away: bool = False
    """Set by tests that stop their server: the browser then reports each failed attempt to connect."""
    sockets_are_routed: bool = False
    """Set for pages whose WebSockets the test intercepts: such a socket looks open for a while after it was closed."""
    statuses: set[int] = field(default_factory=set)
    """Statuses of refusals that the test provokes, which the browser reports."""

    def over(self, context: BrowserContext) -> None:
        """Watch every page of this context."""
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(f"page error: {error.error}"))
        context.on("request", lambda request: self._request(request.url))
        context.on("page", lambda page: page.on("websocket", lambda websocket: self._request(websocket.url)))

    def _console(self, message: ConsoleMessage) -> None:
        away = self.server_may_be_away and message.text.startswith(AWAY)
        refused = any(message.text.startswith(f"{REFUSED} {status}") for status in self.statuses)
        late = self.sockets_are_routed and message.text.startswith("WebSocket is already in CLOSING")
        no_icon = message.location["url"].endswith("/favicon.ico")  # the browser looks for it if a page names no icon
        if message.type == "error" and not (away or refused or late or no_icon):
            self.complaints.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self.hosts:
            self.complaints.append(f"request to another host: {url}")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests in a browser, and run them after all others.

    The driver of the browser keeps an event loop running in the process, so that no other can run there any more.
    """
    for item in items:
        if _uses_a_browser(item):
            item.add_marker("browser")
    items.sort(key=_uses_a_browser)


def _uses_a_browser(item: pytest.Item) -> bool:
    return "playwright" in getattr(item, "fixturenames", ())


def find_chromium() -> str:
    if path := find():
        return path
    reason = f"none of {', '.join(BROWSERS)} is installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def serving(directory: Path, environ: Mapping[str, str] = MappingProxyType({}), port: int = 0) -> Iterator[int]:
    """Run a server with these environment variables, and yield its port; the server must stop cleanly."""
    with Process(directory, "serve", "--host", "127.0.0.1", "--port", str(port), **environ) as server:
        yield server.wait_until_serving().port
        assert server.stop() == 0


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server, without a trailing slash."""
    with serving(tmp_path_factory.mktemp("server")) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def restartable_site(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a server for one test, and a function that restarts the server."""
    port = free_ports()
    with ExitStack() as running:
        running.enter_context(serving(tmp_path, port=port))

        def restart() -> None:
            running.pop_all().close()
            running.enter_context(serving(tmp_path, port=port))

        yield f"http://127.0.0.1:{port}", restart


@pytest.fixture
def sessionless_site(tmp_path: Path) -> Iterator[str]:
    """The address of a server for one test, with sessions turned off."""
    with serving(tmp_path, {"MCP_ACTORS_RESUME_WINDOW": "0"}) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis that several server processes share."""
    with Engine() as engine:
        yield engine.url


@pytest.fixture
def shared(gateway: dict[str, str], redis_url: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of processes that share rooms. The module's `gateway` has those of each process."""
    prefix = f"{request.module.__name__}-{abs(hash(request.node.name))}"
    return {**gateway, "REDIS_URL": redis_url, "MCP_ACTORS_REDIS_PREFIX": prefix, "MCP_ACTORS_SECRET_KEY": make()}


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def ports(request: pytest.FixtureRequest, gateway: dict[str, str], tmp_path: Path) -> Iterator[list[int]]:
    """The ports of two clients' servers, which are the same if there is one process."""
    with ExitStack() as running:
        if request.param == 1:
            yield [running.enter_context(serving(tmp_path, gateway))] * 2
        else:
            settings = request.getfixturevalue("shared")
            yield [running.enter_context(serving(tmp_path, settings)) for _ in range(2)]


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver of the browsers."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A browser with a fake camera and microphone that need no permission."""
    browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*FLAGS, *FAKE_CAMERA])
    yield browser
    browser.close()


@pytest.fixture
def hiding_chromium(playwright: Playwright) -> Iterator[Browser]:
    """A browser without a camera: it hides its addresses behind mDNS names, which cannot be resolved here."""
    browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def watch(site: str) -> Watch:
    """What went wrong on the pages."""
    return Watch({urlsplit(site).netloc})


@pytest.fixture
def open_page(chromium: Browser, site: str, watch: Watch) -> Iterator[OpenPage]:
    """Open a page of the site in a browser context of its own; no page may have reported an error at the end.

    The demo page joins the room in its address, with camera and microphone, unless `joins` is false.
    """
    contexts: list[BrowserContext] = []

    def open_it(
        path: str = "/",
        init_script: str | None = None,
        websockets: Callable[[Page], None] | None = None,
        browser: Browser = chromium,
        *,
        joins: bool = True,
    ) -> Page:
        context = browser.new_context()
        if browser is chromium:
            context.grant_permissions(DEVICES)
        contexts.append(context)
        context.set_default_timeout(DEADLINE * 1000)
        watch.over(context)
        if init_script is not None:
            context.add_init_script(init_script)
        page = context.new_page()
        if websockets is not None:
            watch.sockets_are_routed = True
            websockets(page)
        page.goto(urljoin(site, path))
        if joins and page.locator("#join-button").count():
            join(page)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert watch.complaints == []
