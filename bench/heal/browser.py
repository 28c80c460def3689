"""A browser in a network of the bench, with one page: a peer of the mesh."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.heal.record import name

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

    from bench.heal.namespace import Namespace

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""In the order of preference: without windows, Chromium opens a page for a tenth of the CPU."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=WebRtcHideLocalIpsWithMdns",  # no names are resolved in these networks
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 203.0.113.*",
]
BLANK = "/favicon.svg"
"""The path of a page without scripts."""

ATTEMPTS = 5
NETWORK_CHANGED = ("ERR_NETWORK_CHANGED", "Failed to fetch dynamically imported module")
"""What Chromium says of requests that it ends because the addresses of its network have changed."""

SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


class Page:
    """The peer with a number, in a browser of its own."""

    def __init__(self, playwright: Playwright, namespace: Namespace, number: int, directory: Path) -> None:
        self.number = number
        self._browser = _launch(playwright, namespace, directory / f"chromium-{number}")
        self._page = self._browser.new_page()

    def join(self, url: str, room: str, *, relayed: bool) -> None:
        """Open the server's site, and join a room; if `relayed`, to connect over coturn only.

        A request fails while an address of a network that was just made gets ready, so it is tried again.
        """
        from playwright.sync_api import Error  # noqa: PLC0415 - of the extra bench

        given = {"room": room, "peer": name(self.number), "relayed": relayed}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._page.goto(url + BLANK)
                self._page.evaluate(f"{SCRIPT}\n;null")  # else the value of its last line would be called
                self._page.evaluate("given => bench.join(given)", given)
            except Error as error:
                if attempt == ATTEMPTS or not any(text in str(error) for text in NETWORK_CHANGED):
                    raise
                time.sleep(1.0)
            else:
                return

    def dial(self, other: int) -> None:
        """Begin a plain pair with another page anew."""
        self._page.evaluate("peer => bench.dial(peer)", name(other))

    def quiet(self, mesh: str, others: list[int]) -> list[int]:
        """Return those of the other pages from which nothing arrives just now."""
        found: list[int] = self._page.evaluate(
            "([mesh, peers]) => bench.quiet(mesh, peers)", [mesh, [*map(name, others)]]
        )
        return [others[index] for index in found]

    def describe(self, other: int) -> str:
        """Return what the page knows of its pair with another one, for people."""
        text: str = self._page.evaluate("peer => bench.describe(peer)", name(other))
        return f"{self.number} of {other}: {text}"

    def drain(self) -> dict[str, Any]:
        """Return what the page has noted since the last call."""
        drained: dict[str, Any] = self._page.evaluate("bench.drain()")
        return drained

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()


def find() -> str | None:
    """Return the path of a Chromium, None if none is installed."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def missing() -> str | None:
    """Return what is missing to run a browser; None if nothing."""
    try:
        import playwright  # noqa: F401, PLC0415 - of the extra bench
    except ImportError:
        return "playwright is missing: pip install -e '.[bench]'"
    return None if find() else "Chromium is missing: apt-get install chromium-headless-shell"


def _launch(playwright: Playwright, namespace: Namespace, script: Path) -> Browser:
    """Start Chromium by a script that enters the network: its driver talks to it over pipes."""
    script.write_text(f'#!/bin/sh\nexec {shlex.join(namespace.command(find() or ""))} "$@"\n')
    script.chmod(0o755)
    return playwright.chromium.launch(executable_path=script, args=FLAGS)
