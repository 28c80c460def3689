"""What the demo page's tests run on: a server of its own process, a Chromium, and pages that are watched."""

from __future__ import annotations

import http
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, sync_playwright

from bench.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OUR_VARIABLES = ("MCP_ACTORS_", "DJANGO_", "REDIS_")

# No picture leaves this machine, and no name is looked up.
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
FAKE_CAMERA = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]


@dataclass
class Watch:
    """What the pages of one test did that they should not."""

    hosts: set[str]
    complaints: list[str] = field(default_factory=list)
    server_may_be_away: bool = False
    """Whether a test stops its server: the browser then complains of each attempt to reach it."""

    def over(self, context: BrowserContext) -> None:
        """Watch every page of this context."""
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.complaints.append(f"page error: {error.error}"))
        context.on("request", lambda request: self._asked(request.url))
        context.on("page", lambda page: page.on("websocket", lambda websocket: self._asked(websocket.url)))

    def _heard(self, message: ConsoleMessage) -> None:
        away = self.server_may_be_away and message.text.startswith("WebSocket connection to")
        if message.type == "error" and not away:
            self.complaints.append(f"console: {message.text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc not in self.hosts:
            self.complaints.append(f"asked another host: {url}")


OpenPage = Callable[..., Page]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let no other test run beside a browser: it decodes video in time, and its driver's loop stays in a process."""
    for item in items:
        if "playwright" in getattr(item, "fixturenames", ()):
            item.add_marker("alone")


def _find_chromium() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    why = f"none of {', '.join(BROWSERS)} is installed"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _wait_until_it_answers(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        assert server.poll() is None, f"the server ended with {server.returncode}"
        if _answers(port):
            return
        time.sleep(0.05)
    pytest.fail(f"the server did not answer on port {port} within {DEADLINE} s")


@contextmanager
def serving(port: int, directory: Path, **settings: str) -> Iterator[None]:
    """Run a server on this port, with settings by the names of their variables; it must end well."""
    environment = {
        name: value for name, value in os.environ.items() if name != "PORT" and not name.startswith(OUR_VARIABLES)
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "mcp_actors", "serve", "--host", "127.0.0.1", "--port", str(port)],
        cwd=directory,
        env={**environment, **settings, "PYTHONPATH": str(ROOT)},
    )
    try:
        _wait_until_it_answers(port, server)
        yield
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) == 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server, without a slash at its end."""
    port = free_ports()
    with serving(port, tmp_path_factory.mktemp("server")):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def restartable_site(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a server of one test's own, and what restarts it."""
    port = free_ports()
    with ExitStack() as running:
        running.enter_context(serving(port, tmp_path))

        def restart() -> None:
            running.pop_all().close()
            running.enter_context(serving(port, tmp_path))

        yield f"http://127.0.0.1:{port}", restart


@pytest.fixture
def forgetful_site(tmp_path: Path) -> Iterator[str]:
    """The address of a server of one test's own, on which nobody waits for a connection that was lost."""
    port = free_ports()
    with serving(port, tmp_path, MCP_ACTORS_RESUME_WINDOW="0"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives the browsers."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """One browser for nearly all tests; its cameras are fakes that say yes."""
    browser = playwright.chromium.launch(executable_path=_find_chromium(), args=[*FLAGS, *FAKE_CAMERA])
    yield browser
    browser.close()


@pytest.fixture
def hiding_chromium(playwright: Playwright) -> Iterator[Browser]:
    """A browser without camera: it hides its addresses behind mDNS names, which nobody here can look up."""
    browser = playwright.chromium.launch(executable_path=_find_chromium(), args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture
def watch(site: str) -> Watch:
    """What went wrong on the pages."""
    return Watch({urlsplit(site).netloc})


@pytest.fixture
def open_page(chromium: Browser, site: str, watch: Watch) -> Iterator[OpenPage]:
    """Open a page of the site as another person; at the end nothing may have gone wrong on any of them."""
    contexts: list[BrowserContext] = []

    def open_it(
        path: str = "/",
        init_script: str | None = None,
        websockets: Callable[[Page], None] | None = None,
        browser: Browser = chromium,
    ) -> Page:
        context = browser.new_context()
        contexts.append(context)
        context.set_default_timeout(DEADLINE * 1000)
        watch.over(context)
        if init_script is not None:
            context.add_init_script(init_script)
        page = context.new_page()
        if websockets is not None:
            websockets(page)
        page.goto(urljoin(site, path))
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert watch.complaints == []
