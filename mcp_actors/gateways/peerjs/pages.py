"""The HTTP API that PeerJS clients use before they connect."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from mcp_actors.adapters.http.exchange import JSON, Response, text
from mcp_actors.adapters.http.page import Page
from mcp_actors.protocol.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.http.exchange import Request
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.broker import Broker
    from mcp_actors.protocol.identifiers import RoomId

INFO = {
    "name": "PeerJS Server",
    "description": "A server side element to broker connections between PeerJS clients.",
    "website": "https://peerjs.com/",
}


class _ApiPage(Page):
    """A page for scripts of the pages that the Host and Origin rules allow."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "OPTIONS")

    def __init__(self, policy: OriginPolicy) -> None:
        self._policy = policy

    async def respond(self, request: Request) -> Response:
        """Refuse what the rules do not allow, and let allowed pages of other origins read the response (CORS)."""
        refusal = self._policy.refusal(request.headers)
        if refusal is not None:
            return text(403, refusal)
        response = _preflight(request.headers) if request.method == "OPTIONS" else await self.answer()
        cors = {"Vary": "Origin"}
        if "Origin" in request.headers:
            cors["Access-Control-Allow-Origin"] = request.headers["Origin"]
        return response._replace(headers={**response.headers, **cors})

    @abstractmethod
    async def answer(self) -> Response:
        """Return the response to an allowed request."""


class InfoPage(_ApiPage):
    """`{path}`: says that this is a PeerJS server, in the words of the original."""

    async def answer(self) -> Response:
        """See `_ApiPage`."""
        return _json(INFO)


class IdPage(_ApiPage):
    """`{path}{key}/id`: a new id, for clients that have not chosen one."""

    async def answer(self) -> Response:
        """See `_ApiPage`."""
        return Response(
            200, {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}, str(uuid.uuid4()).encode()
        )


class PeersPage(_ApiPage):
    """`{path}{key}/peers`: the ids of all clients of the key, at all processes, if clients may list them."""

    def __init__(self, policy: OriginPolicy, broker: Broker, room: RoomId, *, discovery: bool) -> None:
        super().__init__(policy)
        self._broker = broker
        self._room = room
        self._discovery = discovery

    async def answer(self) -> Response:
        """See `_ApiPage`."""
        if not self._discovery:
            return text(401, "Unauthorized: clients may not list others here (MCP_ACTORS_PEERJS_DISCOVERY).")
        try:
            members = (await self._broker.administration.room(self._room)).members
        except Unavailable as error:
            return text(503, str(error))
        return _json([member.id for member in members])


def _preflight(headers: Mapping[str, str]) -> Response:
    """Return what a browser wants to know before it sends headers of the page's own: they are allowed, and ignored."""
    asked = headers.get("Access-Control-Request-Headers")
    allowed = {} if asked is None else {"Access-Control-Allow-Headers": asked}
    return Response(204, {"Access-Control-Allow-Methods": ", ".join(_ApiPage.methods), **allowed})


def _json(content: Mapping[str, Any] | list[Any]) -> Response:
    return Response(200, {"Content-Type": JSON, "Cache-Control": "no-store"}, msgspec.json.encode(content))
