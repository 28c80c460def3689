"""The parts that serve agents, put together. Importing this module imports the SDK of the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mcp_actors import __version__
from mcp_actors.adapters.mcp.access import Access
from mcp_actors.adapters.mcp.application import Application, ListenLimits
from mcp_actors.adapters.mcp.call_limits import CallRates
from mcp_actors.adapters.mcp.entrance import PeerEntrance, UserEntrance
from mcp_actors.adapters.mcp.http_page import McpPage
from mcp_actors.adapters.mcp.memberships import MembershipLimits
from mcp_actors.adapters.mcp.request_slots import RequestSlots
from mcp_actors.adapters.mcp.websocket_route import SUBPROTOCOL, AgentRoute
from mcp_actors.admin_parts import admin_parts
from mcp_actors.connection.token_bucket import TokenBucket
from mcp_actors.endpoints.agents import AgentEndpoint, AgentPeerEndpoint
from mcp_actors.limits import message_limits
from mcp_actors.protocol.codec import peer_decoder, user_decoder

if TYPE_CHECKING:
    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.auth.ice_servers import IceServerSource
    from mcp_actors.connection.environment import Environment
    from mcp_actors.node import Node
    from mcp_actors.sessions import Sessions
    from mcp_actors.settings import Settings


def make_application(
    settings: Settings,
    node: Node,
    sessions: Sessions,
    environment: Environment,
    authorizer: Authorizer | None,
    readiness: Readiness,
    ice_servers: IceServerSource,
) -> Application:
    """Return the application for agents."""
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
