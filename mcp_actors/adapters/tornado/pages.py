"""Plain HTTP: has a page respond, and writes its response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.http.exchange import Request
from mcp_actors.adapters.tornado.safe_handler import SafeHandler

if TYPE_CHECKING:
    from mcp_actors.adapters.http.exchange import Response
    from mcp_actors.adapters.http.pages import Page


class _EveryMethod(tuple[str, ...]):
    """Contains every method."""

    __slots__ = ()

    def __contains__(self, method: object) -> bool:
        return True


class PageHandler(SafeHandler):
    """Answers each request with the response of a page."""

    SUPPORTED_METHODS = _EveryMethod()

    def initialize(self, page: Page) -> None:
        """Take what the route gives."""
        self._page = page

    def prepare(self) -> None:
        """Answer."""
        request = self.request
        self.respond(self._page.respond(Request(request.method or "", request.headers, str(request.remote_ip))))


class ResponseHandler(SafeHandler):
    """Answers each request with one response, whatever its method."""

    SUPPORTED_METHODS = _EveryMethod()

    def initialize(self, response: Response) -> None:
        """Take the response."""
        self._response = response

    def prepare(self) -> None:
        """Answer."""
        self.respond(self._response)
