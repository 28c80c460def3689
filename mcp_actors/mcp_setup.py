"""Wires the Model Context Protocol where the settings ask for it. The SDK is imported only then."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from mcp_actors import __version__
from mcp_actors.admin_parts import admin_parts
from mcp_actors.connection.token_bucket import TokenBucket
from mcp_actors.limits import message_limits
from mcp_actors.protocol.codec import peer_decoder, user_decoder

if TYPE_CHECKING:
    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.adapters.mcp.application import Application
    from mcp_actors.adapters.mcp.http_page import McpPage
    from mcp_actors.adapters.mcp.websocket_route import AgentRoute
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.auth.ice_servers import IceServerSource
    from mcp_actors.connection.connection import Environment
    from mcp_actors.node import Node
    from mcp_actors.sessions import Sessions
    from mcp_actors.settings import Settings

log = structlog.get_logger("mcp_actors.mcp")

INSTALL = "pip install '.[mcp]'"

ABSENT = "The Model Context Protocol is not served here; it needs MCP_ACTORS_MCP=true and the extra `mcp`."
"""What `/mcp` says where there is no way in."""


def mcp_application(
    settings: Settings,
    node: Node,
    sessions: Sessions,
    environment: Environment,
    authorizer: Authorizer | None,
    readiness: Readiness,
    ice_servers: IceServerSource,
) -> Application | None:
    """Return the application for agents; None if it is switched off, or its extra is not installed."""
    if not settings.mcp.enabled:
        return None
    if find_spec("mcp") is None:
        log.warning("the Model Context Protocol is off, as its extra is not installed", install=INSTALL)
        return None
    if not settings.sessions.resume_window:
        log.warning("the Model Context Protocol is off, as sessions of agents need MCP_ACTORS_RESUME_WINDOW above 0")
        return None
    from mcp_actors.adapters.mcp.application import Application, ListenLimits  # noqa: PLC0415 - slow to import
    from mcp_actors.adapters.mcp.call_limits import CallRates  # noqa: PLC0415 - only where it is enabled
    from mcp_actors.adapters.mcp.entrance import PeerEntrance, UserEntrance  # noqa: PLC0415 - the same
    from mcp_actors.adapters.mcp.memberships import MembershipLimits  # noqa: PLC0415 - the same
    from mcp_actors.endpoints.agents import AgentEndpoint, AgentPeerEndpoint  # noqa: PLC0415 - the same

    mcp = settings.mcp
    limits, auth = message_limits(settings), environment.authentication
    parts = node, sessions, environment.connections, auth
    shared: dict[str, Any] = {
        "version": __version__,
        "ban_addresses": settings.rooms.ban_addresses,
        "authorizer": authorizer,
        "expiry": environment.expiry,
    }
    users = AgentEndpoint(*parts, user_decoder(limits).decode, **shared)
    peers = AgentPeerEndpoint(*parts, peer_decoder(limits).decode, ice_servers=ice_servers, **shared)
    return Application(
        node,
        environment,
        {"user": UserEntrance(users), "peer": PeerEntrance(peers)},
        MembershipLimits(mcp.mcp_lease, mcp.max_mcp_memberships, mcp.max_user_mcp_memberships),
        CallRates(
            TokenBucket(mcp.mcp_call_rate, mcp.mcp_call_burst),
            TokenBucket(mcp.mcp_address_call_rate, mcp.mcp_address_call_burst),
        ),
        ListenLimits(mcp.max_mcp_subscriptions, mcp.max_mcp_notices),
        admin_parts(settings, node, sessions, environment.connections, readiness),
        max_callers=settings.addresses.max_addresses,
        version=__version__,
        is_open=environment.authentication is None and authorizer is None,
    )


class AgentRoutes(NamedTuple):
    """The ways in for agents: `/mcp`, and the handshakes at `/ws/mcp/` that offer the subprotocol."""

    page: McpPage
    websocket: AgentRoute
    subprotocol: str


def mcp_routes(
    settings: Settings,
    application: Application,
    environment: Environment,
    policy: OriginPolicy,
    authorizer: Authorizer | None,
    operators: AdminPolicy | None,
    read_limit: int,
) -> AgentRoutes:
    """Return the ways in. `operators`: see `Access`; `read_limit`: bytes of the longest message that is read at all."""
    from mcp_actors.adapters.mcp.access import Access  # noqa: PLC0415 - as above
    from mcp_actors.adapters.mcp.http_page import McpPage  # noqa: PLC0415 - the same
    from mcp_actors.adapters.mcp.request_slots import RequestSlots  # noqa: PLC0415 - the same
    from mcp_actors.adapters.mcp.websocket_route import SUBPROTOCOL, AgentRoute  # noqa: PLC0415 - the same

    access = Access(environment.authentication, authorizer, operators)
    slots = RequestSlots(settings.mcp.max_mcp_requests, settings.mcp.max_address_mcp_requests)
    server = application.server
    page = McpPage(
        server, access, policy, slots, environment.access_log, max_body_bytes=settings.http.max_request_bytes
    )
    websocket = AgentRoute(
        server,
        access,
        slots,
        environment,
        policy,
        max_message_bytes=settings.connections.max_message_bytes,
        max_message=read_limit,
        refuse_with_close=settings.http.refuse_with_close,
    )
    return AgentRoutes(page, websocket, SUBPROTOCOL)
