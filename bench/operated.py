"""This server as operators run it: with access log, webhooks, gateways and console, and scraped every second."""

from __future__ import annotations

import base64
import http.client
import secrets
import threading
from contextlib import ExitStack, closing, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

from bench.contender import Contender, Server, bench_settings

if TYPE_CHECKING:
    from types import TracebackType

SCRAPE_EVERY = 1.0
SCRAPE_TIMEOUT = 2.0


class Operated(Contender):
    """A server of ours with everything on that concerns operators and costs something while messages are relayed."""

    def serve(self) -> OperatedServer:
        """See `Contender`."""
        return OperatedServer(self)


def operated(ours: Contender) -> Operated:
    """Return a server of ours as operators run it."""
    return Operated(
        "operated",
        "this server with access log, webhooks, gateways and console, scraped every second",
        ours.command,
        environment=bench_settings(ours.tree),
        tree=ours.tree,
    )


class _Receiver(BaseHTTPRequestHandler):
    """Takes every webhook."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer 204."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class OperatedServer(Server):
    """The server, with the receiver of its webhooks and a scraper of its metrics, both in threads of this process.

    `scrapes` counts those that were answered.
    """

    def __init__(self, contender: Contender) -> None:
        self._receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
        self._ended = threading.Event()
        self._running = ExitStack()
        self.scrapes = 0
        super().__init__(
            contender.with_environment(
                {
                    "MCP_ACTORS_ACCESS_LOG": "True",
                    "MCP_ACTORS_CONSOLE": "True",
                    "MCP_ACTORS_GATEWAYS": "peerjs,y-webrtc",
                    "MCP_ACTORS_WEBHOOK_URL": f"http://127.0.0.1:{self._receiver.server_port}/",
                    "MCP_ACTORS_WEBHOOK_SECRET": f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}",
                }
            )
        )

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.callback(self._receiver.server_close)
            receiving = threading.Thread(target=self._receiver.serve_forever, daemon=True)
            receiving.start()
            starting.callback(receiving.join)
            starting.callback(self._receiver.shutdown)
            super().__enter__()
            starting.callback(self._stop)
            scraping = threading.Thread(target=self._scrape, daemon=True)
            scraping.start()
            starting.callback(scraping.join)
            starting.callback(self._ended.set)
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._running.close()

    def _scrape(self) -> None:
        while not self._ended.wait(SCRAPE_EVERY):
            asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SCRAPE_TIMEOUT)
            with suppress(OSError, http.client.HTTPException), closing(asked):
                asked.request("GET", "/metrics")
                answer = asked.getresponse()
                answer.read()
                self.scrapes += answer.status == HTTPStatus.OK
