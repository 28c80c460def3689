"""What all answers have in common: their headers, and the bounds of the requests they answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tornado.web import Application, RequestHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tornado.httputil import HTTPServerRequest

    from mcp_actors.transports.hops import Hops

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer. Pages of allowed origins read answers by CORS, which these do not touch."""

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), clipboard-write=(self), autoplay=(self), "
        "display-capture=(), geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=()"
    ),
}
"""Of the demo page and its files, beside or in the place of those above. The page runs no script but its own, talks to
no other server, and stands in no frame."""


class SafeHandler(RequestHandler):
    """A handler whose answers have the headers above, and no banner but the operator's."""

    def set_default_headers(self) -> None:
        """Tornado asks for these for each answer, errors included."""
        banner = self.settings["banner"]
        if banner:
            self.set_header("Server", banner)
        else:
            self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Say what is wrong as plain text, in Tornado's words and with nothing of the request."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(f"{status_code}: {self._reason}\n")


class RefusingHandler(SafeHandler):
    """Answers with one status, whatever is asked."""

    def initialize(self, status: HTTPStatus) -> None:
        """Take the status."""
        self._status = status

    def prepare(self) -> None:
        """Answer."""
        self.send_error(self._status)


class Site(Application):
    """The routes, behind the bounds of what a request may be: bytes of its URL, and how many headers.

    Clients are known by their own address, and not by that of a trusted proxy: see `Hops`.
    """

    def __init__(
        self,
        hops: Hops,
        routes: Sequence[tuple[str, type[SafeHandler], dict[str, Any]]],
        *,
        banner: str,
        max_url_bytes: int,
        max_headers: int,
        log_function: Callable[[RequestHandler], None],
    ) -> None:
        super().__init__(
            list(routes),
            banner=banner,
            log_function=log_function,
            default_handler_class=RefusingHandler,
            default_handler_args={"status": HTTPStatus.NOT_FOUND},
        )
        self._hops = hops
        self._max_url_bytes = max_url_bytes
        self._max_headers = max_headers

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The handler of a request, or one that refuses it."""
        request.remote_ip = self._hops.client(str(request.remote_ip), request.headers)
        status = self._refusal(request)
        if status is None:
            return super().find_handler(request, **kwargs)
        return self.get_handler_delegate(request, RefusingHandler, {"status": status})

    def _refusal(self, request: HTTPServerRequest) -> HTTPStatus | None:
        if len(request.uri or "") > self._max_url_bytes:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        if sum(1 for _ in request.headers.get_all()) > self._max_headers:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return None
