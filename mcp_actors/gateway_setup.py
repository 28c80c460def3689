"""Wires the gateways that the settings ask for. Their modules are imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.auth.secret import derive
from mcp_actors.room.rules import RoomRules
from mcp_actors.sessions import SessionLimits, Sessions

if TYPE_CHECKING:
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.site import Route
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.connection.connection import Environment
    from mcp_actors.node import Node
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.settings import GatewaySettings, Settings

PEERJS = "peerjs"


def special_rooms(settings: GatewaySettings) -> dict[RoomId, RoomRules]:
    """The rooms of gateways, and their rules."""
    if PEERJS not in settings.gateways:
        return {}
    from mcp_actors.gateways.peerjs.endpoint import room_of  # noqa: PLC0415 - only where it is enabled

    rules = RoomRules(
        settings.max_peerjs_peers,
        gateway="PeerJS",
        silent=True,
        patience=settings.peerjs_expire_timeout,
        max_waiting_messages=settings.max_peerjs_waiting_messages,
        max_waiting_bytes=settings.max_peerjs_waiting_bytes,
    )
    return {room_of(settings.peerjs_key): rules}


def gateway_routes(
    settings: Settings,
    node: Node,
    environment: Environment,
    policy: OriginPolicy,
    authorizer: Authorizer | None,
    read_limit: int,
) -> dict[str, Route]:
    """The routes of all gateways by their paths. `read_limit`: bytes of the longest message that is read at all."""
    if PEERJS not in settings.gateways.gateways:
        return {}
    from mcp_actors.gateways.peerjs.endpoint import PeerJsEndpoint, Realm  # noqa: PLC0415 - only where it is enabled
    from mcp_actors.gateways.peerjs.requests import Decoder  # noqa: PLC0415 - the same
    from mcp_actors.gateways.peerjs.routes import PeerJsRoute, routes  # noqa: PLC0415 - the same

    gateway, connection = settings.gateways, settings.connections
    secret = derive(settings.server.secret_key.encode(), "sessions of PeerJS clients")
    no_sessions = SessionLimits(window=0, max_frames=1, max_bytes=1, max_rooms=1, max_detached=0)
    endpoint = PeerJsEndpoint(
        Realm(gateway.peerjs_key, secret, connection.max_id_length),
        node,
        Sessions(node, b"", no_sessions, environment.memory, PeerJsEndpoint.dialect),
        environment.connections,
        environment.authentication,
        Decoder(connection.max_message_bytes).decode,
        ban_addresses=settings.rooms.ban_addresses,
        authorizer=authorizer,
        expiry=environment.expiry,
    )
    route = PeerJsRoute(
        environment,
        endpoint,
        policy,
        max_message=read_limit,
        refuse_with_close=settings.http.refuse_with_close,
        authorizer=authorizer,
    )
    realm = endpoint.realm
    return routes(route, node.broker, realm, path=gateway.peerjs_path, discovery=gateway.peerjs_discovery)
