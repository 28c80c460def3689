"""All paths of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mcp_actors.adapters.http.endpoint_route import EndpointRoute
from mcp_actors.gateways.peerjs.pages import IdPage, InfoPage, PeersPage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.http.site import Route
    from mcp_actors.auth.authorization import Admission
    from mcp_actors.broker import Broker
    from mcp_actors.connection.connection import Connection
    from mcp_actors.gateways.peerjs.endpoint import PeerJsEndpoint, Realm


class PeerJsRoute(EndpointRoute):
    """`{path}peerjs?key=..&id=..&token=..`, where `token` is the client's own and `access_token` for this server."""

    token_field = "access_token"  # noqa: S105 - the name of a field
    takes_query = True

    def open(
        self, connection: Connection, token: str | None, admission: Admission | None, query: Mapping[str, str]
    ) -> None:
        """See `EndpointRoute`. The client joins at once."""
        connection.opened(token, admission)
        if not connection.closed:
            cast("PeerJsEndpoint", self.endpoint).enter(connection, query, has_token=token is not None)


def routes(route: PeerJsRoute, broker: Broker, realm: Realm, *, path: str, discovery: bool) -> dict[str, Route]:
    """The routes by their paths below `path`. At the root, the demo page stays where the original has its own page."""
    folder = path if path.endswith("/") else f"{path}/"
    policy = route.policy
    found: dict[str, Route] = {
        f"{folder}peerjs": route,
        f"{folder}{realm.key}/id": IdPage(policy),
        f"{folder}{realm.key}/peers": PeersPage(policy, broker, realm.room, discovery=discovery),
    }
    return found if folder == "/" else found | dict.fromkeys((folder, folder[:-1]), InfoPage(policy))
