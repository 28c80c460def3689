"""The site: what serves each path, and the limits of requests before that."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from mcp_actors.adapters.http.endpoint_route import EndpointRoute
from mcp_actors.adapters.http.exchange import NONE, Response, text
from mcp_actors.adapters.http.page import Page
from mcp_actors.adapters.http.path_patterns import PathPatterns, is_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.http.proxy_headers import TrustedProxies
    from mcp_actors.adapters.http.request_target import RequestTarget
    from mcp_actors.connection.ip_limits import IpLimits

WRONG_TARGET = "The target of a request is a path, such as /ws/signaling/, or a whole URL."


class Route(Protocol):
    """Serves a path; adapters may have routes of their own."""

    methods: ClassVar[tuple[str, ...]]


class Found(NamedTuple):
    """The outcome of a look-up: the route that serves a request, or the response that refuses it.

    `path` is normalized, and `host` counts instead of the header `Host` if the target names one. `parameters` are the
    variable parts of the path.
    """

    serves: Any
    path: str
    host: str | None = None
    parameters: Mapping[str, str] = NONE


class BodyLimits(NamedTuple):
    """How many bytes the body of a request may have, and seconds for it to arrive.

    They are for adapters whose server has no such limits itself.
    """

    max_bytes: int
    timeout: float


class Site:
    """The routes by their paths or patterns of them (see `PathPatterns`), and `missing` for all others.

    URLs are at most `max_url_bytes` long, and clients have their own address behind `trusted_proxies`. `limits` applies
    to requests that are no WebSocket handshakes, which have limits of their own. `banner`: the value of the header
    `Server`; empty for none.
    """

    def __init__(
        self,
        trusted_proxies: TrustedProxies,
        limits: IpLimits,
        routes: Mapping[str, Route],
        missing: Page,
        *,
        banner: str,
        max_url_bytes: int,
        bodies: BodyLimits,
    ) -> None:
        self.trusted_proxies = trusted_proxies
        self.banner = banner
        self.bodies = bodies
        self._limits = limits
        self._routes: dict[str, Route] = {}
        self._patterns: PathPatterns[Route] = PathPatterns()
        for path, route in routes.items():
            self.add(path, route)
        self._missing = missing
        self._max_url_bytes = max_url_bytes

    def add(self, path: str, route: Route) -> None:
        """Serve one more path, or the paths of a pattern."""
        if is_pattern(path):
            self._patterns.add(path, route)
        else:
            self._routes[path] = route

    def find(self, method: str, target: RequestTarget | None, address: str, url_bytes: int) -> Found:
        """Return what serves a request. `target`: None if it is neither a path nor a URL; `url_bytes`: of the whole."""
        route, parameters = (self._missing, NONE) if target is None else self._route(target)
        refused = self._limited(method, route, address)
        if refused is None and url_bytes > self._max_url_bytes:
            refused = _refused(route, HTTPStatus.REQUEST_URI_TOO_LONG)
        if refused is None and target is None:
            refused = _refused(route, HTTPStatus.BAD_REQUEST, WRONG_TARGET)
        if refused is None and method not in route.methods:
            refused = _refused(route, HTTPStatus.METHOD_NOT_ALLOWED, Allow=", ".join(route.methods))
        if refused is not None and isinstance(route, EndpointRoute):
            route.no_handshake(refused.status, HTTPStatus(refused.status).phrase, address)
        path, host = ("", None) if target is None else target[:2]
        return Found(refused or route, path, host, parameters)

    def _route(self, target: RequestTarget) -> tuple[Route, Mapping[str, str]]:
        route = self._routes.get(target.path)
        if route is not None:
            return route, NONE
        return self._patterns.find(target.encoded) or (self._missing, NONE)

    def _limited(self, method: str, route: Route, address: str) -> Response | None:
        """Count a request; return the refusal if its address has sent too many."""
        if isinstance(route, EndpointRoute) and method in route.methods:
            return None
        limited = self._limits.request(address, asyncio.get_running_loop().time())
        if limited is None:
            return None
        seconds = ceil(limited.retry_after)
        reason = f"{limited.reason} Try again in {seconds} s."
        return _refused(route, HTTPStatus.TOO_MANY_REQUESTS, reason, **{"Retry-After": str(seconds)})


def _refused(route: Route, status: HTTPStatus, reason: str = "", **headers: str) -> Response:
    refuse = route.refuse if isinstance(route, Page) else text
    return refuse(status, reason or f"{status}: {status.phrase}", **headers)
