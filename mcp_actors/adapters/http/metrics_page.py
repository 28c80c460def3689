"""/metrics: the metrics of this server, for observers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mcp_actors.adapters.http.admin_policy import AdminPolicy, Denied, denied
from mcp_actors.adapters.http.exchange import Response
from mcp_actors.adapters.http.page import Page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.adapters.http.exchange import Request


class Scraped(Protocol):
    """The metrics as text, and its type."""

    @property
    def content_type(self) -> str:
        """The media type, with its version."""

    @property
    def body(self) -> bytes:
        """The text."""


class MetricsPage(Page):
    """`scrape` returns the metrics in a format that the header `Accept` of a request names."""

    def __init__(self, scrape: Callable[[str], Awaitable[Scraped]], policy: AdminPolicy) -> None:
        self._scrape = scrape
        self._policy = policy

    async def respond(self, request: Request) -> Response:
        """Answer an observer with the metrics."""
        try:
            self._policy.check_observer(request)
        except Denied as error:
            return denied(error)
        found = await self._scrape(request.headers.get("Accept", ""))
        return Response(200, {"Content-Type": found.content_type, "Cache-Control": "no-store"}, found.body)
