"""The Tornado application: it serves a site, and clients have their own address behind trusted proxies."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from tornado.web import Application, RequestHandler

from mcp_actors.adapters.http.endpoint_route import EndpointRoute
from mcp_actors.adapters.http.exchange import HEADERS, JSON, TEXT_HEADERS, Response, media_type
from mcp_actors.adapters.http.request_target import request_target
from mcp_actors.adapters.tornado.echo import EchoHandler
from mcp_actors.adapters.tornado.handler import EndpointHandler
from mcp_actors.adapters.tornado.pages import PageHandler, ResponseHandler
from mcp_actors.adapters.tornado.upgrade import frame_loops
from mcp_actors.loopback import UNIX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tornado.httputil import HTTPServerRequest

    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.site import Site

log = structlog.get_logger("mcp_actors")

NO_ADDRESS = "0.0.0.0"  # noqa: S104 - compared, not bound
"""The address that Tornado gives a client at a Unix socket."""


def refusal(status: HTTPStatus, banner: str, **more: str) -> bytes:
    """Return an error as `SafeHandler` would write it, after which the connection is closed. `more`: headers."""
    body = f"{status}: {status.phrase}\n"
    headers = {"Date": formatdate(usegmt=True), **HEADERS, **TEXT_HEADERS, "Content-Length": str(len(body))}
    headers |= {"Connection": "close", **more}
    if banner:
        headers["Server"] = banner
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", body]
    return "\r\n".join(lines).encode()


class EchoRoute:
    """The route of /echo, which only this adapter has: it is about its frames."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD")

    def __init__(self, policy: OriginPolicy) -> None:
        self.policy = policy


class WebApp(Application):
    """The requests of a site. Bodies are never parsed.

    `receive_buffer`: bytes that the kernel buffers of what a client of a WebSocket sends; 0 leaves that to the system.
    """

    def __init__(self, site: Site, receive_buffer: int = 0) -> None:
        super().__init__(banner=site.banner, log_function=_log_request)
        self._site = site
        self._loops = frame_loops(receive_buffer)

    def find_handler(self, request: HTTPServerRequest, **_kwargs: Any) -> Any:
        """Return the handler of a request, or one that refuses it."""
        request.remote_ip = self._site.trusted_proxies.client(_peer(request), request.headers)
        if media_type(request.headers) != JSON:
            request.headers.pop("Content-Type", None)  # Tornado would parse a form
        if request.version == "HTTP/1.0":
            request.headers.pop("Expect", None)  # Tornado would answer 100 (RFC 9110, section 10.1.1)
        target, url_bytes = request.path, len(request.uri or "")
        request.uri, request.query = target, ""  # it may contain a token
        found = self._site.find(request.method or "", request_target(target), request.remote_ip, url_bytes)
        request.path = request.uri = found.path or target
        if found.host is not None:
            request.host = request.headers["Host"] = found.host
        handler, arguments = self._handler(found.serves, found.parameters)
        return self.get_handler_delegate(request, handler, arguments)

    def respond(self, request: HTTPServerRequest, response: Response) -> Any:
        """Return a handler that answers a request with a response."""
        return self.get_handler_delegate(request, ResponseHandler, {"response": response})

    def _handler(self, route: Any, parameters: Mapping[str, str]) -> tuple[type[RequestHandler], dict[str, Any]]:
        if isinstance(route, EndpointRoute):
            return EndpointHandler, {"route": route, "loops": self._loops}
        if isinstance(route, EchoRoute):
            return EchoHandler, {"policy": route.policy, "loops": self._loops}
        if isinstance(route, Response):
            return ResponseHandler, {"response": route}
        limit = self._site.bodies.max_bytes
        return PageHandler, {"page": route, "parameters": parameters, "max_body_bytes": limit}


def _peer(request: HTTPServerRequest) -> str:
    """Return the address of the other end; Tornado shows that of a Unix socket as one that nobody can have."""
    return UNIX if request.remote_ip == NO_ADDRESS else str(request.remote_ip)


def _log_request(handler: RequestHandler) -> None:
    status = handler.get_status()
    write = log.error if status == HTTPStatus.INTERNAL_SERVER_ERROR else log.debug
    request = handler.request
    write("request", method=request.method, path=request.path, status=status, address=request.remote_ip)
