"""Posts webhooks: one request for each, without following redirects, and nothing is kept of the body of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from mcp_actors import __version__
from mcp_actors.adapters.tornado.fetch import fetch
from mcp_actors.webhooks.deliverer import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp_actors.node import Node
    from mcp_actors.webhooks.reports import Reports, WebhookSettings

MAX_ANSWER_BYTES = 1_048_576
"""The body of an answer with more counts as a failure."""


class WebhookClient:
    """A `Post` to the receiver behind a URL."""

    def __init__(self, url: str, timeout: float, connections: int) -> None:
        self._url = url
        self._timeout = timeout
        self._connections = connections
        self._client: AsyncHTTPClient | None = None

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request and return the answer."""
        if self._client is None:  # it belongs to the running loop
            self._client = AsyncHTTPClient(
                force_instance=True, max_clients=self._connections, max_body_size=MAX_ANSWER_BYTES
            )
        request = HTTPRequest(
            self._url,
            method="POST",
            headers={"Content-Type": "application/json", "User-Agent": f"mcp_actors/{__version__}", **headers},
            body=body,
            follow_redirects=False,
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            streaming_callback=lambda _chunk: None,
        )
        try:
            response = await fetch(self._client, request)
        except (HTTPError, OSError, ValueError) as error:
            return Answer(0, str(error) or type(error).__name__)
        return Answer(response.code, "", _seconds(response.headers.get("Retry-After", "")))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 0.0


def reporting(settings: WebhookSettings, lease: float) -> Callable[[Node], Reports] | None:
    """Return what reports the events of a node to the receiver; None if there is no receiver. `lease`: see `Terms`."""
    if not settings.url:
        return None
    from mcp_actors.webhooks.reports import report  # noqa: PLC0415 - few servers have a receiver

    client = WebhookClient(settings.url, settings.timeout, settings.connections)
    return lambda node: report(node, settings, lease, client)
