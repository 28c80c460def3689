"""Plain HTTP: has a page respond, and writes its response, at once or when it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.http.exchange import Request, Response, Streamed
from mcp_actors.adapters.http.page import is_given_body, too_long
from mcp_actors.adapters.tornado.asgi_bridge import AsgiBridge
from mcp_actors.adapters.tornado.safe_handler import SafeHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mcp_actors.adapters.http.page import Page


class _EveryMethod(tuple[str, ...]):
    """Contains every method."""

    __slots__ = ()

    def __contains__(self, method: object) -> bool:
        return True


class PageHandler(SafeHandler):
    """Answers each request with the response of a page."""

    SUPPORTED_METHODS = _EveryMethod()

    _bridge: AsgiBridge | None = None

    def initialize(self, page: Page, parameters: Mapping[str, str], max_body_bytes: int) -> None:
        """Take what the route gives. `parameters`: the variable parts of the path."""
        self._page = page
        self._parameters = parameters
        self._max_body_bytes = max_body_bytes

    def prepare(self) -> Awaitable[None] | None:
        """Answer, or return what to await until the request is answered."""
        found = self._found()
        if not isinstance(found, Response):
            return self._respond_later(found)
        self.respond(found)
        return None

    def on_connection_close(self) -> None:
        """Tell the application behind the bridge, if there is one, that the client is gone."""
        if self._bridge is not None:
            self._bridge.disconnected()

    def _found(self) -> Response | Streamed | Awaitable[Response | Streamed]:
        request, page = self.request, self._page
        method, address = request.method or "", str(request.remote_ip)
        body = request.body if is_given_body(page, method) else b""
        if len(body) > self._max_body_bytes:
            return too_long(page, self._max_body_bytes)
        query = {name: values[-1].decode("utf-8", "replace") for name, values in request.query_arguments.items()}
        return page.respond(Request(method, request.headers, address, self._parameters, query, body))

    async def _respond_later(self, found: Streamed | Awaitable[Response | Streamed]) -> None:
        answer = found if isinstance(found, Streamed) else await found
        if isinstance(answer, Response):
            self.respond(answer)
        else:
            self._bridge = AsgiBridge(self, answer)
            await self._bridge.run()


class ResponseHandler(SafeHandler):
    """Answers each request with one response, whatever its method."""

    SUPPORTED_METHODS = _EveryMethod()

    def initialize(self, response: Response) -> None:
        """Take the response."""
        self._response = response

    def prepare(self) -> None:
        """Answer."""
        self.respond(self._response)
