"""Wires the gateways that the settings ask for. Their modules are imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mcp_actors.auth.secret import derive
from mcp_actors.room.rules import RoomRules, RuleBook
from mcp_actors.sessions import SessionLimits, Sessions

if TYPE_CHECKING:
    from mcp_actors.adapters.http.endpoint_route import EndpointRoute
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.site import Route
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.connection.environment import Environment
    from mcp_actors.endpoints.endpoint import Endpoint
    from mcp_actors.node import Node
    from mcp_actors.protocol.identifiers import RoomId
    from mcp_actors.protocol.outgoing import Dialect
    from mcp_actors.settings import GatewaySettings, Settings

PEERJS, Y_WEBRTC = "peerjs", "y-webrtc"
Y_WEBRTC_PATH = "/ws/y-webrtc/"

R = TypeVar("R", bound="EndpointRoute")


def special_rooms(settings: Settings) -> RuleBook:
    """The rules of the rooms of gateways."""
    by_id: dict[RoomId, RoomRules] = {}
    by_prefix: dict[str, RoomRules] = {}
    gateways = settings.gateways
    if PEERJS in gateways.gateways:
        from mcp_actors.gateways.peerjs.endpoint import room_of  # noqa: PLC0415 - only where it is enabled

        by_id[room_of(gateways.peerjs_key)] = RoomRules(
            gateways.max_peerjs_peers,
            gateway="PeerJS",
            silent=True,
            patience=gateways.peerjs_expire_timeout,
            max_waiting_messages=gateways.max_peerjs_waiting_messages,
            max_waiting_bytes=gateways.max_peerjs_waiting_bytes,
        )
    if Y_WEBRTC in gateways.gateways:
        from mcp_actors.gateways.y_webrtc.topics import PREFIXES  # noqa: PLC0415 - the same

        rules = RoomRules(settings.rooms.max_room_members, gateway=Y_WEBRTC, silent=True, named=True)
        by_prefix = dict.fromkeys(PREFIXES, rules)
    return RuleBook(by_id, by_prefix)


def announced_gateways(settings: GatewaySettings) -> str:
    """What the demo page says about the gateways that are on; empty if none is."""
    clients = {PEERJS: f"PeerJS at {settings.peerjs_path}", Y_WEBRTC: f"y-webrtc and trystero at {Y_WEBRTC_PATH}"}
    served = [clients[name] for name in clients if name in settings.gateways]
    return f"This server also serves clients of {', and of '.join(served)}." if served else ""


class Parts(NamedTuple):
    """What all gateways are made of. `read_limit`: bytes of the longest message that is read at all."""

    node: Node
    environment: Environment
    policy: OriginPolicy
    authorizer: Authorizer | None
    read_limit: int


def gateway_routes(settings: Settings, parts: Parts) -> dict[str, Route]:
    """The routes of all gateways by their paths."""
    routes: dict[str, Route] = {}
    if PEERJS in settings.gateways.gateways:
        routes |= _peerjs(settings, parts)
    if Y_WEBRTC in settings.gateways.gateways:
        routes |= _y_webrtc(settings, parts)
    return routes


def _peerjs(settings: Settings, parts: Parts) -> dict[str, Route]:
    from mcp_actors.gateways.peerjs.endpoint import PeerJsEndpoint, Realm  # noqa: PLC0415 - only where it is enabled
    from mcp_actors.gateways.peerjs.requests import Decoder  # noqa: PLC0415 - the same
    from mcp_actors.gateways.peerjs.routes import PeerJsRoute, routes  # noqa: PLC0415 - the same

    gateway, connection = settings.gateways, settings.connections
    secret = derive(settings.server.secret_key.encode(), "sessions of PeerJS clients")
    endpoint = PeerJsEndpoint(
        Realm(gateway.peerjs_key, secret, connection.max_id_length),
        parts.node,
        _sessions(parts, PeerJsEndpoint.dialect, 1),
        parts.environment.connections,
        parts.environment.authentication,
        Decoder(connection.max_message_bytes).decode,
        **_options(settings, parts),
    )
    route = _route(PeerJsRoute, endpoint, settings, parts)
    path, discovery = gateway.peerjs_path, gateway.peerjs_discovery
    return routes(route, parts.node.broker, endpoint.realm, path=path, discovery=discovery)


def _y_webrtc(settings: Settings, parts: Parts) -> dict[str, Route]:
    from mcp_actors.adapters.http.endpoint_route import EndpointRoute  # noqa: PLC0415 - only where it is enabled
    from mcp_actors.gateways.y_webrtc.endpoint import YWebRtcEndpoint  # noqa: PLC0415 - the same
    from mcp_actors.gateways.y_webrtc.requests import Decoder  # noqa: PLC0415 - the same
    from mcp_actors.gateways.y_webrtc.topics import Topics  # noqa: PLC0415 - the same

    max_topics = settings.sessions.max_rooms_per_connection
    endpoint = YWebRtcEndpoint(
        Topics(settings.connections.max_id_length),
        max_topics,
        parts.node,
        _sessions(parts, YWebRtcEndpoint.dialect, max_topics),
        parts.environment.connections,
        parts.environment.authentication,
        Decoder(settings.connections.max_message_bytes).decode,
        **_options(settings, parts),
    )
    route = _route(EndpointRoute, endpoint, settings, parts, kind="user")
    return dict.fromkeys((Y_WEBRTC_PATH.rstrip("/"), Y_WEBRTC_PATH), route)


def _sessions(parts: Parts, dialect: Dialect, max_rooms: int) -> Sessions:
    """Sessions that end with their connections."""
    limits = SessionLimits(window=0, max_frames=1, max_bytes=1, max_rooms=max_rooms, max_detached=0)
    return Sessions(parts.node, b"", limits, parts.environment.memory, dialect)


def _options(settings: Settings, parts: Parts) -> dict[str, Any]:
    """The options of each endpoint."""
    return {
        "ban_addresses": settings.rooms.ban_addresses,
        "authorizer": parts.authorizer,
        "expiry": parts.environment.expiry,
    }


def _route(kind_of: type[R], endpoint: Endpoint, settings: Settings, parts: Parts, **more: Any) -> R:
    return kind_of(
        parts.environment,
        endpoint,
        parts.policy,
        max_message=parts.read_limit,
        refuse_with_close=settings.http.refuse_with_close,
        authorizer=parts.authorizer,
        **more,
    )
