"""The table of the API: which operations each path has."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from mcp_actors.adapters.admin.api_error import HEADERS, error_response
from mcp_actors.adapters.admin.api_page import ApiPage, MissingPage
from mcp_actors.adapters.admin.bans import Bans
from mcp_actors.adapters.admin.members import Members
from mcp_actors.adapters.admin.messages import Messages
from mcp_actors.adapters.admin.nodes import Nodes
from mcp_actors.adapters.admin.openapi import document
from mcp_actors.adapters.admin.revocations import Revocations
from mcp_actors.adapters.admin.rooms import Rooms
from mcp_actors.adapters.admin.server_info import ServerInfoResource
from mcp_actors.adapters.http.admin_policy import Denied
from mcp_actors.adapters.http.exchange import Response
from mcp_actors.adapters.http.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp_actors.adapters.admin.api_page import Operation
    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.adapters.http.exchange import Request
    from mcp_actors.broker.administration import Administration
    from mcp_actors.broker.revocations import Revocations as Store

ROOT = "/api/v1"


class ApiParts(NamedTuple):
    """The parts that the API shows and changes. `figures` returns those of `ServerInfo`, `settings` the shown ones."""

    version: str
    node: str
    administration: Administration
    revocations: Store
    figures: Callable[[], dict[str, Any]]
    settings: Mapping[str, bool | int | float | str]
    id_length: int
    max_ban_seconds: int
    max_message_bytes: int


class OpenApiPage(Page):
    """The OpenAPI document, for operators."""

    def __init__(self, policy: AdminPolicy, make: Callable[[], dict[str, Any]]) -> None:
        self._policy = policy
        self._body = cache(lambda: msgspec.json.encode(make()))

    def respond(self, request: Request) -> Response:
        """Return the document."""
        try:
            self._policy.check_operator(request)
        except Denied as error:
            return error_response(error.status, str(error), error.headers)
        return Response(200, HEADERS, self._body())


def operations_of(parts: ApiParts) -> dict[str, dict[str, Operation]]:
    """Return the operations of each path below `ROOT`."""
    administration = parts.administration
    rooms, bans, revocations = Rooms(administration), Bans(administration), Revocations(parts.revocations)
    server = ServerInfoResource(parts.version, parts.node, parts.settings, parts.figures)
    room = "/rooms/{room}"
    return {
        "/server": server.operations,
        "/nodes": Nodes(administration, parts.node).operations,
        "/rooms": rooms.listing,
        room: rooms.details,
        f"{room}/lock": rooms.locking,
        f"{room}/unlock": rooms.unlocking,
        f"{room}/close": rooms.closing,
        f"{room}/members/{{kind}}/{{id}}/kick": Members(administration, parts.max_ban_seconds).kicking,
        f"{room}/bans": bans.of_room,
        f"{room}/bans/{{kind}}/{{id}}": bans.of_member,
        f"{room}/messages": Messages(administration, parts.max_message_bytes).operations,
        "/revocations": revocations.all,
        "/revocations/{claim}/{value}": revocations.single,
    }


def api_pages(parts: ApiParts, policy: AdminPolicy) -> dict[str, Page]:
    """Return the pages of the API by their paths."""
    operations = operations_of(parts)
    pages: dict[str, Page] = {
        f"{ROOT}{path}": ApiPage(policy, of_path, id_length=parts.id_length) for path, of_path in operations.items()
    }

    def make() -> dict[str, Any]:
        return document(operations, parts.version, id_length=parts.id_length)

    return {**pages, f"{ROOT}/openapi.json": OpenApiPage(policy, make), "/api/*": MissingPage()}
