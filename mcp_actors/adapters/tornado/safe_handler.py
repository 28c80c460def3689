"""The base of all handlers: security headers of all answers, and errors that say nothing of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog
from tornado.web import HTTPError, RequestHandler

from mcp_actors.adapters.http.exchange import HEADERS, TEXT_HEADERS

if TYPE_CHECKING:
    from mcp_actors.adapters.http.exchange import Response

log = structlog.get_logger("mcp_actors")


class SafeHandler(RequestHandler):
    """A handler whose answers have these headers, and a banner only if the operator wants one."""

    def set_default_headers(self) -> None:
        """Set the headers of an answer; Tornado calls this for errors, too."""
        banner = self.settings["banner"]
        if banner:
            self.set_header("Server", banner)
        else:
            self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def compute_etag(self) -> None:
        """Add no header `Etag`: files have their own."""

    def respond(self, response: Response) -> None:
        """Answer with a response."""
        self.set_status(response.status)
        for name, value in response.headers.items():
            self.set_header(name, value)
        self.finish(response.body or None)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Write an error as plain text, without anything of the request."""
        for name, value in TEXT_HEADERS.items():
            self.set_header(name, value)
        self.finish(f"{status_code}: {self._reason}\n")

    def log_exception(self, kind: Any, value: BaseException | None, trace: Any) -> None:
        """Log a bug without the URL and the headers, and no wrong request, of which Tornado warns."""
        if not isinstance(value, HTTPError):
            log.error("request failed", path=self.request.path, exc_info=(kind, value, trace))
