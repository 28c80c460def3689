"""The endpoints and pages of one node, by their paths: the site for clients, and that for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mcp_actors import __version__
from mcp_actors.adapters.admin.api import api_pages
from mcp_actors.adapters.http.admin_policy import AdminPolicy
from mcp_actors.adapters.http.endpoint_route import EndpointRoute
from mcp_actors.adapters.http.metrics_page import MetricsPage
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.pages import AbsentPage, FilePage, HealthPage, ReadyPage
from mcp_actors.adapters.http.proxy_headers import TrustedProxies
from mcp_actors.adapters.http.site import BodyLimits, Site
from mcp_actors.admin_parts import admin_parts
from mcp_actors.endpoints.messaging import MessagingEndpoint
from mcp_actors.endpoints.signaling import SignalingEndpoint
from mcp_actors.gateway_setup import Parts, gateway_routes
from mcp_actors.limits import message_limits
from mcp_actors.loopback import is_loopback
from mcp_actors.mcp_setup import ABSENT
from mcp_actors.protocol.codec import peer_decoder, user_decoder
from mcp_actors.web_pages import client_pages, operator_console

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.adapters.http.metrics_page import Scraped
    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.adapters.http.site import Route
    from mcp_actors.auth.authentication import Authentication
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.auth.grants import Grant
    from mcp_actors.auth.ice_servers import IceServerSource
    from mcp_actors.connection.environment import Environment
    from mcp_actors.mcp_parts import AgentRoutes
    from mcp_actors.node import Node
    from mcp_actors.sessions import Sessions
    from mcp_actors.settings import HttpSettings, Settings

READ_LIMIT = 4
"""A message up to so many times the limit is read and answered with an error; a longer one closes with 1009."""


class SiteParts(NamedTuple):
    """The parts of a node that serve its endpoints and pages. `agents`: the ways in for agents, if there are any."""

    node: Node
    sessions: Sessions
    environment: Environment
    readiness: Readiness
    policy: OriginPolicy
    authorizer: Authorizer | None
    ice_servers: IceServerSource
    scrape: Callable[[str], Awaitable[Scraped]]
    agents: AgentRoutes | None


def operators_beside_clients(
    settings: Settings, authentication: Authentication | None, policy: OriginPolicy
) -> AdminPolicy:
    """The rules for operators on the port of clients."""
    http = settings.http
    may_be_proxied = bool(http.allowed_hosts or http.cors_allowed_origins or http.trusted_proxies)
    local = is_loopback(settings.server.host) and not may_be_proxied  # a proxy would not work with such settings
    return AdminPolicy(_token_verifier(authentication), policy, trusts_this_machine=local)


def client_site(settings: Settings, parts: SiteParts, operators: AdminPolicy, *, has_admin_port: bool) -> Site:
    """The endpoints and pages for clients; and those for operators, unless they have a port of their own."""
    http = settings.http
    return Site(
        TrustedProxies(http.trusted_proxies, http.proxy_header),
        parts.environment.addresses,
        {
            **client_pages(settings, parts.policy),
            **_endpoints(settings, parts),
            **_probes(parts, operators),
            **({} if has_admin_port else operator_pages(settings, parts, operators)),
        },
        FilePage(parts.policy, None),
        banner=_banner(http),
        max_url_bytes=http.max_url_bytes,
        bodies=BodyLimits(http.max_request_bytes, http.request_timeout),
    )


def admin_site(settings: Settings, parts: SiteParts) -> Site:
    """The pages for operators and probes, and nothing else."""
    http = settings.http
    hosts = OriginPolicy(http.allowed_hosts, (), loopback=is_loopback(settings.server.admin_host))
    policy = AdminPolicy(
        _token_verifier(parts.environment.authentication), hosts, trusts_this_machine=True, has_own_port=True
    )
    return Site(
        TrustedProxies(http.trusted_proxies, http.proxy_header),
        parts.environment.addresses,
        {**_probes(parts, policy), **operator_pages(settings, parts, policy)},
        FilePage(hosts, None),
        banner=_banner(http),
        max_url_bytes=http.max_url_bytes,
        bodies=BodyLimits(http.max_request_bytes, http.request_timeout),
    )


def _probes(parts: SiteParts, policy: AdminPolicy) -> dict[str, Route]:
    """The pages that load balancers and supervisors ask for, on both ports."""
    return {"/healthz": HealthPage(parts.node.broker, parts.readiness, policy), "/readyz": ReadyPage(parts.readiness)}


def operator_pages(settings: Settings, parts: SiteParts, policy: AdminPolicy) -> dict[str, Route]:
    """The pages for operators by their paths: on the admin port if there is one, otherwise on that of clients.

    To add one, derive it from `adapters.http.page.Page` and list it here. It gets the parts that it needs, such as
    `parts.node`, and `policy`, the rules of the port that it is on. A page that shows figures begins with
    `policy.check_observer(request)`, one that changes something with `policy.check_operator(request)`, which returns
    who it is; both raise `Denied`, which `denied` turns into a response. A page may respond later: `respond` may be
    `async`. A path such as `/rooms/{room}` is a pattern, whose variable parts are in `request.parameters`;
    `takes_body = True` gives a page the body of its requests.
    """
    shown = admin_parts(settings, parts.node, parts.sessions, parts.environment.connections, parts.readiness)
    metrics = MetricsPage(parts.scrape, policy)
    return {**api_pages(shown, policy), "/metrics": metrics, **operator_console(settings, policy, parts.policy)}


def _token_verifier(authentication: Authentication | None) -> Callable[[str], Grant] | None:
    """The check of the tokens of operators: that of clients."""
    return None if authentication is None else lambda token: authentication.check(token, None)


def _endpoints(settings: Settings, parts: SiteParts) -> dict[str, Route]:
    http, environment, limits = settings.http, parts.environment, message_limits(settings)
    read_limit = longest_message(settings)

    def route(endpoint: type[SignalingEndpoint | MessagingEndpoint], decode: Callable[[bytes], Any]) -> EndpointRoute:
        serving = endpoint(
            parts.node,
            parts.sessions,
            environment.connections,
            environment.authentication,
            decode,
            ice_servers=parts.ice_servers,
            version=__version__,
            terms=terms(settings),
            ban_addresses=settings.rooms.ban_addresses,
            authorizer=parts.authorizer,
            expiry=environment.expiry,
        )
        return EndpointRoute(
            environment,
            serving,
            parts.policy,
            max_message=read_limit,
            refuse_with_close=http.refuse_with_close,
            kind="peer" if endpoint is SignalingEndpoint else "user",
            authorizer=parts.authorizer,
        )

    signaling = route(SignalingEndpoint, peer_decoder(limits).decode)
    messaging = route(MessagingEndpoint, user_decoder(limits).decode)
    found: dict[str, Route] = {"/mcp": AbsentPage(ABSENT)}
    if parts.agents is not None:
        found["/mcp"] = parts.agents.page
        messaging.by_subprotocol[parts.agents.subprotocol] = parts.agents.websocket
    return {
        **dict.fromkeys(("/ws/signaling", "/ws/signaling/"), signaling),
        **dict.fromkeys(("/ws/mcp", "/ws/mcp/"), messaging),
        **gateway_routes(settings, Parts(parts.node, environment, parts.policy, parts.authorizer, read_limit)),
        **found,
    }


def terms(settings: Settings) -> dict[str, Any]:
    """The fields of `joined` and `connected` that tell a client how to use its connection."""
    found: dict[str, Any] = {"max_message_bytes": settings.connections.max_message_bytes}
    interval, window = settings.connections.ping_interval, settings.sessions.resume_window
    if not interval:
        return found
    # A client notices the loss of its connection after two intervals, and needs the rest of the window to resume.
    return found | {"ping_interval": round(min(interval, window / 3), 3) if window else interval}


def _banner(settings: HttpSettings) -> str:
    """The value of the header `Server`; empty for none."""
    return f"mcp_actors/{__version__}" if settings.server_banner else ""


def longest_message(settings: Settings) -> int:
    """The bytes of the longest message that is read at all."""
    return READ_LIMIT * message_limits(settings).message_bytes
