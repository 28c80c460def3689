"""`/mcp`: the Streamable HTTP transport. Each POST is one request, answered by itself: no session is kept here."""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import structlog
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from mcp_actors.adapters.http.admin_policy import Denied, denied
from mcp_actors.adapters.http.endpoint_route import find_token
from mcp_actors.adapters.http.exchange import Response, Streamed, text
from mcp_actors.adapters.http.page import Page
from mcp_actors.adapters.mcp.caller import current
from mcp_actors.adapters.mcp.exchange import Exchange
from mcp_actors.auth.authorization import Handshake

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcp.server.lowlevel import Server

    from mcp_actors.adapters.asgi.interface import Receive, Scope, Send
    from mcp_actors.adapters.http.exchange import Request
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.mcp.access import Access
    from mcp_actors.adapters.mcp.caller import Caller
    from mcp_actors.adapters.mcp.request_slots import RequestSlots
    from mcp_actors.connection.access_log import AccessLog

log = structlog.get_logger("mcp_actors.mcp")

ENDPOINT = "mcp"
"""How the access log calls this way in, and the WebSocket."""

METHODS = ("POST", "OPTIONS")
REQUEST_HEADERS = "Authorization, Content-Type, Mcp-Method, Mcp-Name, MCP-Protocol-Version, Mcp-Session-Id"
"""Headers that pages of allowed origins may send; the last one is empty here, but clients may ask for it."""

STOP_TIMEOUT = 1.0
"""Seconds for requests to end once the server stops."""

VERSION_HEADER = b"mcp-protocol-version"

TOO_MANY = (
    "Too many requests of agents are under way (MCP_ACTORS_MAX_MCP_REQUESTS, MCP_ACTORS_MAX_ADDRESS_MCP_REQUESTS);"
    " end some, or try again in a moment."
)
STOPPING = "The server is stopping; try again in a moment."


class _Method(msgspec.Struct):
    method: str = ""


_read_method = msgspec.json.Decoder(_Method).decode

MAX_METHOD = 64
"""Characters of the method of a request that are logged."""


class McpPage(Page):
    """Hands requests of callers that `access` lets in to the server of the SDK.

    It is stateless, for the revision 2026-07-28 and for hosts that open with `initialize`. Call `start` before the
    first request.
    """

    methods: ClassVar[tuple[str, ...]] = METHODS
    takes_body = True

    def __init__(
        self,
        server: Server[Any],
        access: Access,
        policy: OriginPolicy,
        slots: RequestSlots,
        access_log: AccessLog,
        *,
        max_body_bytes: int,
    ) -> None:
        self._access = access
        self._policy = policy
        self._slots = slots
        self._access_log = access_log
        self._modern, self._legacy = (
            StreamableHTTPSessionManager(
                server, stateless=True, json_response=json_response, max_request_body_size=max_body_bytes
            )
            for json_response in (False, True)
        )
        self._running: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Start what serves requests."""
        started = asyncio.get_running_loop().create_future()
        self._running = asyncio.create_task(self._run(started))
        await asyncio.wait((started, self._running), return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()

    async def stop(self) -> None:
        """Answer further requests with 503, and end those under way as if their clients had gone."""
        self._stopped.set()
        if self._under_way:
            await asyncio.wait(tuple(self._under_way), timeout=STOP_TIMEOUT)
        for task in self._under_way:
            task.cancel()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def respond(self, request: Request) -> Response | Streamed:
        """Check who asks, from where and under which name, before anything is read of what is asked."""
        refusal = self._refusal(request.headers)
        if refusal is not None:
            return self._refused(request, refusal)
        cors = _cors(request.headers)
        if request.method == "OPTIONS":
            return Response(204, {"Access-Control-Allow-Methods": "POST", "Allow": ", ".join(METHODS), **cors})
        token = find_token(request.headers.get("Authorization", ""), (), ())
        try:
            caller = await self._access.caller(Handshake("user", request.headers, {}, request.address), token)
        except Denied as error:
            return self._refused(request, _with_headers(denied(error), cors))
        return Streamed(partial(self._serve, caller, _method(request.body)), request.body, cors)

    def _refusal(self, headers: Mapping[str, str]) -> Response | None:
        """Apply the Host and Origin rules, which keep pages of other sites out."""
        host = self._policy.host_refusal(headers.get("Host", ""))
        if host is not None:
            return text(HTTPStatus.MISDIRECTED_REQUEST, host)
        page = self._policy.refusal(headers)
        return None if page is None else text(HTTPStatus.FORBIDDEN, page)

    def _refused(self, request: Request, response: Response) -> Response:
        status, reason = int(response.status), response.body.decode().strip()
        log.info("request refused", status=status, reason=reason, address=request.address)
        self._access_log.request(ENDPOINT, request.address, user="", method="", status=status, seconds=0)
        return response

    async def _run(self, started: asyncio.Future[None]) -> None:
        async with self._modern.run(), self._legacy.run():
            started.set_result(None)
            await asyncio.Event().wait()

    async def _serve(self, caller: Caller, method: str, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(receive, send, self._stopped)
        if self._stopped.is_set():
            await exchange.refuse(STOPPING)
        elif not self._slots.take(caller.address):
            await exchange.refuse(TOO_MANY)
        else:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - it runs in one
            self._under_way.add(task)
            try:
                await self._call(caller, scope, exchange)
            finally:
                self._under_way.discard(task)
                self._slots.release(caller.address)
        self._access_log.request(
            ENDPOINT, caller.address, user=caller.user, method=method, status=exchange.status, seconds=exchange.seconds
        )

    async def _call(self, caller: Caller, scope: Scope, exchange: Exchange) -> None:
        headers = [pair for pair in scope["headers"] if pair[0] != b"authorization"]
        manager = self._legacy if _is_legacy(headers) else self._modern
        before = current.set(caller)
        try:
            await exchange.run(manager.handle_request, {**scope, "headers": headers})
        finally:
            current.reset(before)
        if self._stopped.is_set():
            await exchange.end(STOPPING)


def _is_legacy(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request is of a revision with `initialize`. Those are answered in one piece.

    Streams of these revisions would take a task that looks for the end of uvicorn twice a second, for ever.
    """
    version = next((value.decode("latin-1") for name, value in headers if name == VERSION_HEADER), None)
    return version is None or version in HANDSHAKE_PROTOCOL_VERSIONS


def _with_headers(response: Response, headers: Mapping[str, str]) -> Response:
    return response._replace(headers={**response.headers, **headers})


def _cors(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that let an allowed page read the response."""
    if "Origin" not in headers:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": headers["Origin"],
        "Access-Control-Allow-Headers": REQUEST_HEADERS,
        "Access-Control-Expose-Headers": "WWW-Authenticate",
    }


def _method(body: bytes) -> str:
    """Return the method of a request, for the log; empty if it cannot be read."""
    try:
        return _read_method(body).method[:MAX_METHOD]
    except (msgspec.DecodeError, RecursionError):
        return ""
