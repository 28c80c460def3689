"""The ASGI application: answers HTTP requests from a site, and serves its WebSockets."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, quote

import structlog

from mcp_actors.adapters.asgi.body import ClientGone, TooLong, read_body
from mcp_actors.adapters.asgi.interface import Headers, encoded
from mcp_actors.adapters.asgi.streamed import run_streamed
from mcp_actors.adapters.asgi.transport import AsgiTransport
from mcp_actors.adapters.http.endpoint_route import EndpointRoute, find_token
from mcp_actors.adapters.http.exchange import HEADERS, NONE, Request, Response, Streamed, no_websocket, text
from mcp_actors.adapters.http.mount import below, to_folder
from mcp_actors.adapters.http.page import Page, is_given_body, too_long
from mcp_actors.adapters.http.refusal import Refusal
from mcp_actors.adapters.http.request_target import decoded_target
from mcp_actors.auth.authorization import Handshake
from mcp_actors.loopback import UNIX
from mcp_actors.ws.fair_scheduler import FairScheduler
from mcp_actors.ws.frames import close_reason
from mcp_actors.ws.handshake import NO_HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mcp_actors.adapters.asgi.interface import Receive, Scope, Send
    from mcp_actors.adapters.http.site import Found, Site

log = structlog.get_logger("mcp_actors")

MAX_FLOODING = 8
"""Flooding clients that are served in one round of the event loop, at most."""

MAX_ARGUMENTS = 64
"""Arguments in a query; one with more counts as empty."""

REFUSED_TIMEOUT = 1.0
"""Seconds for a client that was refused to go."""

UNREAD = {408, 413}
"""Statuses of responses to requests whose body was not read to its end."""

BODILESS = {204, 304}
"""Statuses of responses without a body."""


class AsgiApp:
    """Serves a site, at the root or below the `root_path` of the scope, which its path contains or lacks."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._scheduler = FairScheduler(MAX_FLOODING)

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request. Its body is read only if the page takes one."""
        method = scope["method"]
        headers, address, found = self._find(scope, method)
        query = _arguments(_take_query(scope))
        request = Request(method, headers, address, found.parameters, query)
        try:
            response = await self._response(found.serves, request, receive)
        except ClientGone:
            return
        if isinstance(response, Streamed):
            await run_streamed(response, {**scope, "path": found.path}, receive, send, self._common_headers())
            return
        if response.status in UNREAD and scope.get("http_version", "1.1") < "2":
            response = response._replace(headers={**response.headers, "Connection": "close"})
        await self._send(send, "http.response", response, with_body=method != "HEAD")
        log.debug("request", method=method, path=found.path, status=response.status, address=address)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket until it has ended."""
        await receive()  # websocket.connect
        headers, address, found = self._find(scope, "GET")
        query = _take_query(scope)
        route = found.serves
        if not isinstance(route, EndpointRoute):
            response = route if isinstance(route, Response) else text(404, "404: Not Found")
            await self._deny(scope, receive, send, response)
            return
        route = route.for_client(scope.get("subprotocols") or ())
        refusal = route.refusal(headers, address)
        if refusal is not None:
            await self._refuse(scope, receive, send, route, refusal)
            return
        admission = await route.admit(_handshake(route, scope, headers, address, query)) if route.asks else None
        if isinstance(admission, Refusal):
            await self._refuse(scope, receive, send, route, admission)
            return
        await self._accept(scope, send, route)
        transport = AsgiTransport(receive, send, self._scheduler, route.max_message)
        connection = route.connect(transport, address, found.path)
        token = _token(scope, headers, query, route.token_field)
        route.open(connection, token, admission, _arguments(query) if route.takes_query else NONE)
        await transport.serve(connection)

    async def _response(self, route: Any, request: Request, receive: Receive) -> Response | Streamed:
        if isinstance(route, Page) and is_given_body(route, request.method):
            limits = self._site.bodies
            try:
                request = request._replace(body=await read_body(receive, request.headers, limits))
            except TooLong:
                return too_long(route, limits.max_bytes)
            except TimeoutError:
                return route.refuse(HTTPStatus.REQUEST_TIMEOUT, "The body of the request did not arrive in time.")
        found = _response(route, request)
        return found if isinstance(found, Response | Streamed) else await found

    def _find(self, scope: Scope, method: str) -> tuple[Headers, str, Found]:
        """Return the headers of a request, the address of its client, and what serves it."""
        headers = Headers(scope["headers"])
        peer = (scope.get("client") or ("",))[0] or UNIX  # servers name no client of a Unix socket
        address = self._site.trusted_proxies.client(peer, headers)
        root, query = scope.get("root_path", ""), scope.get("query_string", b"")
        path = below(root, scope["path"])
        url_bytes = len(scope.get("raw_path") or scope["path"]) + 1 + len(query)
        encoded = below(quote(root), (scope.get("raw_path") or b"").decode("latin-1"))
        found = self._site.find(method, decoded_target(path or "/", encoded), address, url_bytes)
        if not path and not isinstance(found.serves, Response):
            found = found._replace(serves=to_folder(root, query.decode("latin-1")))
        return headers if found.host is None else headers.with_host(found.host), address, found

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, route: EndpointRoute, refusal: Refusal) -> None:
        if route.refuse_with_close:
            await self._accept(scope, send, route)
            reason = close_reason(refusal.close_reason)
            await send({"type": "websocket.close", "code": int(refusal.code), "reason": reason})
        else:
            await self._deny(scope, receive, send, text(refusal.status, refusal.reason, **refusal.headers))

    async def _deny(self, scope: Scope, receive: Receive, send: Send, response: Response) -> None:
        """Refuse a handshake with a response; a server without that extension answers 403."""
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "reason": ""})
            return
        await self._send(send, "websocket.http.response", response)
        with suppress(TimeoutError):
            async with asyncio.timeout(REFUSED_TIMEOUT):
                await receive()  # uvicorn says at once that the client is disconnected,
                await receive()  # and again when that is so; it logs an error if the application returns before

    async def _accept(self, scope: Scope, send: Send, route: EndpointRoute) -> None:
        chosen = route.select_subprotocol(scope.get("subprotocols") or ())
        await send({"type": "websocket.accept", "subprotocol": chosen, "headers": encoded(self._common_headers())})

    async def _send(self, send: Send, kind: str, response: Response, *, with_body: bool = True) -> None:
        headers = {**self._common_headers(), **response.headers}
        if response.status not in BODILESS:
            headers["Content-Length"] = str(len(response.body))
        await send({"type": f"{kind}.start", "status": response.status, "headers": encoded(headers)})
        await send({"type": f"{kind}.body", "body": response.body if with_body else b""})

    def _common_headers(self) -> dict[str, str]:
        banner = self._site.banner
        return {**HEADERS, "Server": banner} if banner else HEADERS


def _response(route: Any, request: Request) -> Response | Streamed | Awaitable[Response | Streamed]:
    if isinstance(route, Response):
        return route
    if isinstance(route, Page):
        return route.respond(request)
    refusal = route.refusal(request.headers, request.address)
    if refusal is None:
        route.no_handshake(400, NO_HANDSHAKE, request.address)
        return no_websocket(400, NO_HANDSHAKE, Upgrade="websocket")
    return no_websocket(refusal.status, refusal.reason, **refusal.headers)


def _take_query(scope: Scope) -> bytes:
    """Remove the query, so that the server does not log a token in it, and return it."""
    query: bytes = scope.get("query_string", b"")
    scope["query_string"] = b""
    return query


def _handshake(route: EndpointRoute, scope: Scope, headers: Headers, address: str, query: bytes) -> Handshake:
    return Handshake(route.kind, headers, _arguments(query), address, scope)


def _arguments(query: bytes) -> Mapping[str, str]:
    """Return the arguments of a query: of several values of one name, the last; none if there are too many."""
    if not query or query.count(b"&") >= MAX_ARGUMENTS:
        return NONE
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))


def _token(scope: Scope, headers: Mapping[str, str], query: bytes, field: str) -> str | None:
    """Return the access token of a handshake; None if there is none. `field`: that of the query that may hold it."""
    in_query: list[str] = []
    if field.encode() in query and query.count(b"&") < MAX_ARGUMENTS:
        in_query = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(field, [])
    return find_token(headers.get("Authorization", ""), scope.get("subprotocols") or (), in_query)
