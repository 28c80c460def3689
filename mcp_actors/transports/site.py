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


NOBODY_KEEPS = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
"""Of every answer that says what is wrong."""


def refusal(status: HTTPStatus, banner: str) -> bytes:
    """An answer as `SafeHandler` gives it, byte for byte, after which the connection is closed."""
    body = f"{status}: {status.phrase}\n"
    headers = {**HEADERS, **NOBODY_KEEPS, "Content-Length": str(len(body)), "Connection": "close"}
    if banner:
        headers["Server"] = banner
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", body]
    return "\r\n".join(lines).encode()


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
        for name, value in NOBODY_KEEPS.items():
            self.set_header(name, value)
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
    """The routes, behind the bound of what the URL of a request may be, in bytes.

    Clients are known by their own address, and not by that of a trusted proxy: see `Hops`.
    """

    def __init__(
        self,
        hops: Hops,
        routes: Sequence[tuple[str, type[SafeHandler], dict[str, Any]]],
        *,
        banner: str,
        max_url_bytes: int,
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

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """The handler of a request, or one that refuses it."""
        request.remote_ip = self._hops.client(str(request.remote_ip), request.headers)
        if len(request.uri or "") <= self._max_url_bytes:
            return super().find_handler(request, **kwargs)
        return self.get_handler_delegate(request, RefusingHandler, {"status": HTTPStatus.REQUEST_URI_TOO_LONG})
