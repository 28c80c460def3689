"""The Tornado application: security headers of all answers, limits of URLs, and addresses of clients."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import structlog
from tornado.httputil import ParseBodyConfig, ParseUrlEncodedConfig, set_parse_body_config
from tornado.web import Application, HTTPError, RequestHandler

from mcp_actors.adapters.tornado.origin_policy import refuse
from mcp_actors.adapters.tornado.request_target import request_target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tornado.httputil import HTTPServerRequest

    from mcp_actors.adapters.tornado.proxy_headers import TrustedProxies
    from mcp_actors.connection.ip_limits import IpLimits

log = structlog.get_logger("mcp_actors")

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer. They do not affect CORS."""

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
"""Headers of the demo page and its files, which replace those above or add to them. The page runs only its own scripts,
talks to no other server, and cannot be framed."""

WRONG_TARGET = "The target of a request is a path, such as /ws/signaling/, or a whole URL."

MAX_ARGUMENTS = 64
"""Arguments in a query; a request with more is malformed. Tornado takes some 8 us for each."""

ERROR_HEADERS = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
"""Headers of every error."""


def refusal(status: HTTPStatus, banner: str, **more: str) -> bytes:
    """Return an error as `SafeHandler` would write it, after which the connection is closed. `more`: headers."""
    body = f"{status}: {status.phrase}\n"
    headers = {"Date": formatdate(usegmt=True), **HEADERS, **ERROR_HEADERS, "Content-Length": str(len(body))}
    headers |= {"Connection": "close", **more}
    if banner:
        headers["Server"] = banner
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", body]
    return "\r\n".join(lines).encode()


class SafeHandler(RequestHandler):
    """A handler whose answers have these headers, and a banner only if the operator wants one."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")
    """The methods it has; a request with another one is refused before it."""

    limits_itself: ClassVar[bool] = False
    """Whether it applies limits of its own to the address of the client."""

    def set_default_headers(self) -> None:
        """Set the headers of an answer; Tornado calls this for errors, too."""
        banner = self.settings["banner"]
        if banner:
            self.set_header("Server", banner)
        else:
            self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Write an error as plain text, without anything of the request."""
        for name, value in ERROR_HEADERS.items():
            self.set_header(name, value)
        self.finish(f"{status_code}: {self._reason}\n")

    def log_exception(self, kind: Any, value: BaseException | None, trace: Any) -> None:
        """Log a bug without the URL and the headers, and no wrong request, of which Tornado warns."""
        if not isinstance(value, HTTPError):
            log.error("request failed", path=self.request.path, exc_info=(kind, value, trace))


class _EveryMethod(tuple[str, ...]):
    """Contains every method."""

    __slots__ = ()

    def __contains__(self, method: object) -> bool:
        return True


class RefusingHandler(SafeHandler):
    """Answers every request with one status and a reason, by default that of the status, and with more headers."""

    SUPPORTED_METHODS = _EveryMethod()

    def initialize(self, status: HTTPStatus, reason: str = "", **headers: str) -> None:
        """Take the answer."""
        self._status = status
        self._explanation = reason or f"{status}: {status.phrase}"
        self._more = headers

    def prepare(self) -> None:
        """Answer."""
        for name, value in self._more.items():
            self.set_header(name, value)
        refuse(self, self._status, self._explanation)


class Route(NamedTuple):
    """A handler and its arguments."""

    handler: type[SafeHandler]
    arguments: Mapping[str, Any] = {}


class WebApp(Application):
    """The routes: what serves each path, and `missing` for all others.

    URLs are at most `max_url_bytes` long, and clients have their own address behind trusted proxies. `limits` applies
    to requests that are no WebSocket handshakes, which have limits of their own. Bodies are never parsed.
    """

    def __init__(
        self,
        trusted_proxies: TrustedProxies,
        limits: IpLimits,
        routes: Mapping[str, Route],
        missing: Route,
        *,
        banner: str,
        max_url_bytes: int,
        log_function: Callable[[RequestHandler], None],
    ) -> None:
        super().__init__(banner=banner, log_function=log_function)
        set_parse_body_config(ParseBodyConfig(urlencoded=ParseUrlEncodedConfig(max_arguments=MAX_ARGUMENTS)))
        self._trusted_proxies = trusted_proxies
        self._limits = limits
        self._routes = routes
        self._missing = missing
        self._max_url_bytes = max_url_bytes

    def find_handler(self, request: HTTPServerRequest, **_kwargs: Any) -> Any:
        """Return the handler of a request, or one that refuses it."""
        request.remote_ip = self._trusted_proxies.client(str(request.remote_ip), request.headers)
        request.headers.pop("Content-Type", None)  # Tornado would parse a form
        if request.version == "HTTP/1.0":
            request.headers.pop("Expect", None)  # Tornado would answer 100 (RFC 9110, section 10.1.1)
        target = request_target(request.path)
        too_long = len(request.uri or "") > self._max_url_bytes
        request.uri, request.query = request.path, ""  # it may contain a token
        if target is not None:
            request.path = request.uri = target.path
            if target.host is not None:
                request.host = request.headers["Host"] = target.host
        route = self._missing if target is None else self._routes.get(target.path, self._missing)
        refused = self._limited(request, route)
        if refused is None and too_long:
            refused = _refused(HTTPStatus.REQUEST_URI_TOO_LONG)
        if refused is None and target is None:
            refused = _refused(HTTPStatus.BAD_REQUEST, WRONG_TARGET)
        if refused is None and request.method not in route.handler.methods:
            refused = _refused(HTTPStatus.METHOD_NOT_ALLOWED, Allow=", ".join(route.handler.methods))
        chosen = refused or route
        return self.get_handler_delegate(request, chosen.handler, dict(chosen.arguments))

    def _limited(self, request: HTTPServerRequest, route: Route) -> Route | None:
        """Count a request; return the refusal if its address has sent too many."""
        if route.handler.limits_itself and request.method in route.handler.methods:
            return None
        limited = self._limits.request(str(request.remote_ip), asyncio.get_running_loop().time())
        if limited is None:
            return None
        seconds = ceil(limited.retry_after)
        reason = f"{limited.reason} Try again in {seconds} s."
        return _refused(HTTPStatus.TOO_MANY_REQUESTS, reason, **{"Retry-After": str(seconds)})


def _refused(status: HTTPStatus, reason: str = "", **headers: str) -> Route:
    return Route(RefusingHandler, {"status": status, "reason": reason, **headers})
