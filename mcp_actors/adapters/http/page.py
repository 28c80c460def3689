"""A page: responds to the requests of one path, or of the paths of one pattern."""

from __future__ import annotations

from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

from mcp_actors.adapters.http.exchange import Response, text

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcp_actors.adapters.http.exchange import Request, Streamed


class Page(ABC):
    """Responds at once, or later: then the adapter awaits the response, and serves other requests meanwhile."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    """The methods it has; a request with another one is refused before it."""

    takes_body: ClassVar[bool] = False
    """Whether it is given the bodies of requests, other than GET, HEAD and OPTIONS, up to `BodyLimits` of the site."""

    @abstractmethod
    def respond(self, request: Request) -> Response | Streamed | Awaitable[Response | Streamed]:
        """Return the response. That of HEAD is sent without its body."""

    def refuse(self, status: HTTPStatus, reason: str, **headers: str) -> Response:
        """Return the response to a request that is refused before it comes here."""
        return text(status, reason, **headers)


def is_given_body(page: Page, method: str) -> bool:
    """Whether a page is given the body of a request; that of a method which only reads has no meaning."""
    return page.takes_body and method not in ("GET", "HEAD", "OPTIONS")


def too_long(page: Page, max_bytes: int) -> Response:
    """Return the response to a request whose body has more than so many bytes."""
    reason = f"The body of a request has at most {max_bytes} bytes here (MCP_ACTORS_MAX_REQUEST_BYTES)."
    return page.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
