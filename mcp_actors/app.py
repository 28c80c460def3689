"""The composition root: wires the parts of one node together, starts them and stops them."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mcp_actors import __version__
from mcp_actors.adapters.admin.api import api_pages
from mcp_actors.adapters.http.admin_policy import AdminPolicy
from mcp_actors.adapters.http.console import FOLDER, console_pages
from mcp_actors.adapters.http.endpoint_route import EndpointRoute
from mcp_actors.adapters.http.metrics_page import MetricsPage
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.pages import AbsentPage, FilePage, HealthPage, ReadyPage
from mcp_actors.adapters.http.proxy_headers import TrustedProxies
from mcp_actors.adapters.http.readiness import Readiness
from mcp_actors.adapters.http.site import BodyLimits, Site
from mcp_actors.adapters.http.static_files import read_files
from mcp_actors.admin_parts import admin_parts
from mcp_actors.auth.authentication import Authentication
from mcp_actors.auth.authorization import Authorizer
from mcp_actors.auth.expiry import Expiry
from mcp_actors.auth.grants import Expectations
from mcp_actors.auth.ice_servers import IceServerSource
from mcp_actors.auth.secret import derive
from mcp_actors.auth.turn import TurnServers
from mcp_actors.background import BackgroundTasks
from mcp_actors.broker import BrokerError
from mcp_actors.connection.access_log import AccessLog
from mcp_actors.connection.connection import Environment
from mcp_actors.connection.connections import Connections
from mcp_actors.connection.counters import ConnectionCounters
from mcp_actors.connection.drain import drain
from mcp_actors.connection.revocation_sweep import RevocationSweep
from mcp_actors.counters.loop_lag import LoopLag
from mcp_actors.endpoints.messaging import MessagingEndpoint
from mcp_actors.endpoints.signaling import SignalingEndpoint
from mcp_actors.gateway_setup import Parts, announced_gateways, gateway_routes
from mcp_actors.heap import GrowthWatch, release_free_pages
from mcp_actors.limits import connection_bounds, ip_limits, message_limits
from mcp_actors.loopback import is_loopback
from mcp_actors.mcp_setup import ABSENT, mcp_application, mcp_routes
from mcp_actors.memory_budget import MemoryBudget
from mcp_actors.metrics.scrape import Scrapes
from mcp_actors.node_parts import make_node
from mcp_actors.protocol.codec import peer_decoder, user_decoder
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.sessions import SessionLimits, Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.adapters.http.site import Route
    from mcp_actors.adapters.mcp.http_page import McpPage
    from mcp_actors.auth.authorization import Authorize
    from mcp_actors.auth.grants import Grant
    from mcp_actors.metrics.siblings import Siblings
    from mcp_actors.node import Node
    from mcp_actors.settings import ConnectionSettings, HttpSettings, Settings
    from mcp_actors.webhooks.reports import Reports

CLOSING_TIMEOUT = 1.0
"""How long clients have to answer the close frame when the node stops."""

READ_LIMIT = 4
"""A message up to so many times the limit is read and answered with an error; a longer one closes with 1009."""


WEB = Path(str(files("mcp_actors") / "web"))
"""The files of the demo page, and those of the console in a folder."""


class StartError(Exception):
    """The server cannot start; `str(error)` says why and what to do."""


class App:
    """The parts of one node. It opens no listening socket: adapters serve `site`, and `admin_site` if there is one."""

    def __init__(
        self,
        settings: Settings,
        authorize: Authorize | None = None,
        report: Callable[[Node], Reports] | None = None,
        *,
        has_admin_port: bool = False,
        siblings: Siblings | None = None,
    ) -> None:
        """Build the parts.

        `authorize`: the application's own rules, if it has some. `has_admin_port`: whether the pages for operators are
        on a port of their own, `admin_site`; otherwise they are in `site`, too. `siblings`: the other workers.
        """
        self._drain_seconds = settings.server.drain_seconds
        self.node = make_node(settings)
        self.connections = _connections(settings.connections)
        self.readiness = Readiness(self.node.broker, self.connections)
        self.addresses = ip_limits(settings.connections, settings.addresses)
        limit, share = settings.connections.max_memory_bytes, settings.addresses.max_address_memory_bytes
        self.memory = MemoryBudget(limit, share, release_free_pages)
        self.sessions = _sessions(settings, self.node, self.memory)
        self.authentication = _authentication(settings, self._is_revoked)
        self.authorizer = None if authorize is None else _authorizer(authorize, settings, self._is_revoked)
        self._sweep = RevocationSweep(
            cast("Any", self.connections),
            self.sessions.detached,
            self._is_revoked,
            self.node.broker.revocations.table.revokes_all_of,
        )
        self.node.broker.revocations.watch(self._sweep.start)
        self.policy = origin_policy(settings)
        self.counters = ConnectionCounters()
        self.access_log = AccessLog(enabled=settings.server.access_log)
        self.loop_lag = LoopLag()
        self.metrics = Scrapes(self, siblings)
        self.environment = _environment(settings, self)
        self.mcp = mcp_application(
            *(settings, self.node, self.sessions, self.environment, self.authorizer, self.readiness),
            ice_servers(settings),
        )
        self.mcp_page: McpPage | None = None
        self.admin_site = _admin_site(settings, self) if has_admin_port else None
        self.site = _site(settings, self)
        self.reports = None if report is None else report(self.node)
        self._background = BackgroundTasks()

    def _is_revoked(self, grant: Grant) -> bool:
        return self.node.broker.revocations.table.revokes(grant.sub, grant.token_id, grant.issued)

    async def start(self) -> None:
        """Connect to the other nodes and start the background tasks. Raises `StartError`."""
        try:
            await self.node.broker.start()
        except BrokerError as error:
            raise StartError(str(error)) from None
        self._background.start(self.connections.run, "heartbeat")
        self._background.start(self.memory.run, "memory limits")
        self._background.start(GrowthWatch().run, "free memory")
        self._background.start(self.loop_lag.run, "event loop lag")
        await self.metrics.start()
        if self.mcp is not None:
            await self.mcp.start()
        if self.mcp_page is not None:
            await self.mcp_page.start()
        if self.reports is not None:
            self.reports.start()

    async def stop(self) -> None:
        """Send clients to other nodes if there are any, close the remaining connections, and leave the cluster.

        Each step is taken even if an earlier one fails. Until the end HTTP requests are answered, handshakes with 503.
        """
        self.connections.stop_accepting()
        shared = self.node.broker.shared
        code = CloseCode.SERVICE_RESTART if shared else CloseCode.GOING_AWAY
        async with AsyncExitStack() as steps:  # in reverse order
            steps.push_async_callback(self._end_requests)
            steps.push_async_callback(self.metrics.stop)
            steps.push_async_callback(self.node.broker.stop)
            if self.reports is not None:
                steps.push_async_callback(self.reports.stop)
            steps.push_async_callback(self.sessions.stop)
            steps.push_async_callback(self.connections.close_all, code, CLOSING_TIMEOUT)
            if self.mcp_page is not None:
                steps.push_async_callback(self.mcp_page.stop)
            if self.mcp is not None:
                steps.push_async_callback(self.mcp.stop)
            steps.push_async_callback(self._background.stop)
            steps.push_async_callback(self._sweep.stop)
            if shared and self._drain_seconds and len(self.connections):
                await drain(self.connections, self._drain_seconds)

    async def _end_requests(self) -> None:
        """End requests under way: their answers cannot come any more."""
        running = list(self.environment.running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _connections(settings: ConnectionSettings) -> Connections:
    return Connections(
        settings.max_connections,
        settings.ping_interval,
        first_message_timeout=settings.first_message_timeout,
        idle_timeout=settings.idle_timeout,
    )


def _sessions(settings: Settings, node: Node, memory: MemoryBudget) -> Sessions:
    limits = SessionLimits(
        window=settings.sessions.resume_window,
        max_frames=settings.sessions.max_session_messages,
        max_bytes=settings.sessions.max_session_bytes,
        max_rooms=settings.sessions.max_rooms_per_connection,
        max_detached=settings.connections.max_connections,
        max_address_detached=settings.addresses.max_address_detached,
        comeback_rate=settings.sessions.max_comeback_rate,
    )
    secret = settings.server.secret_key.encode() or secrets.token_bytes(32)
    return Sessions(node, derive(secret, "resume tokens"), limits, memory)


def _authentication(settings: Settings, is_revoked: Callable[[Grant], bool]) -> Authentication | None:
    auth = settings.auth
    if auth.mode == "off":
        return None
    from mcp_actors.auth.tokens import FileKeys, KeyFileError, Verifier, secret_key  # noqa: PLC0415 - slow to import

    key = secret_key(settings.server.secret_key)
    try:
        find = FileKeys(Path(auth.key_file)).find if auth.key_file else lambda _key_id: key
    except KeyFileError as error:
        raise StartError(f"MCP_ACTORS_AUTH_KEY_FILE is {auth.key_file!r}, and {error}.") from None
    expected = Expectations(auth.audience, auth.issuer, auth.leeway, settings.connections.max_id_length)
    return Authentication(
        Verifier(find, expected, max_bytes=auth.max_token_bytes).verify,
        required=auth.mode == "required",
        timeout=auth.timeout,
        notice=auth.notice,
        leeway=auth.leeway,
        is_revoked=is_revoked,
    )


def _authorizer(authorize: Authorize, settings: Settings, is_revoked: Callable[[Grant], bool]) -> Authorizer:
    return Authorizer(
        authorize,
        timeout=settings.auth.authorize_timeout,
        max_pending=settings.auth.max_authorizations,
        id_length=settings.connections.max_id_length,
        is_revoked=is_revoked,
    )


def ice_servers(settings: Settings) -> IceServerSource:
    """The ICE servers that peers are told."""
    turn = settings.turn
    return IceServerSource(
        settings.rooms.ice_servers, TurnServers(turn.urls, turn.secret[0], turn.ttl) if turn.urls else None
    )


def banner(settings: HttpSettings) -> str:
    """The value of the header `Server`; empty for none."""
    return f"mcp_actors/{__version__}" if settings.server_banner else ""


def terms(settings: Settings) -> dict[str, Any]:
    """The fields of `joined` and `connected` that tell a client how to use its connection."""
    found: dict[str, Any] = {"max_message_bytes": settings.connections.max_message_bytes}
    interval, window = settings.connections.ping_interval, settings.sessions.resume_window
    if not interval:
        return found
    # A client notices the loss of its connection after two intervals, and needs the rest of the window to resume.
    return found | {"ping_interval": round(min(interval, window / 3), 3) if window else interval}


def origin_policy(settings: Settings) -> OriginPolicy:
    """The Host and Origin rules."""
    http = settings.http
    return OriginPolicy(http.allowed_hosts, http.cors_allowed_origins, loopback=is_loopback(settings.server.host))


def _site(settings: Settings, app: App) -> Site:
    """The endpoints and pages for clients; and those for operators, unless they have a port of their own."""
    http = settings.http
    may_be_proxied = bool(http.allowed_hosts or http.cors_allowed_origins or http.trusted_proxies)
    local = is_loopback(settings.server.host) and not may_be_proxied  # a proxy would not work with such settings
    policy = AdminPolicy(_token_verifier(app), app.policy, trusts_this_machine=local)
    gateways = announced_gateways(settings.gateways)
    pages = {path: file.with_gateways(gateways) for path, file in read_files(WEB).items()}
    found = {path: file for path, file in pages.items() if not path.startswith(f"{FOLDER}/")}
    return Site(
        TrustedProxies(http.trusted_proxies, http.proxy_header),
        app.addresses,
        {
            **{path: FilePage(app.policy, file) for path, file in found.items()},
            **_endpoints(settings, app, policy),
            **_probes(app, policy),
            **(operator_pages(settings, app, policy) if app.admin_site is None else {}),
        },
        FilePage(app.policy, None),
        banner=banner(http),
        max_url_bytes=http.max_url_bytes,
        bodies=BodyLimits(http.max_request_bytes, http.request_timeout),
    )


def _admin_site(settings: Settings, app: App) -> Site:
    """The pages for operators and probes, and nothing else."""
    http = settings.http
    hosts = OriginPolicy(http.allowed_hosts, (), loopback=is_loopback(settings.server.admin_host))
    policy = AdminPolicy(_token_verifier(app), hosts, trusts_this_machine=True, has_own_port=True)
    return Site(
        TrustedProxies(http.trusted_proxies, http.proxy_header),
        app.addresses,
        {**_probes(app, policy), **operator_pages(settings, app, policy)},
        FilePage(hosts, None),
        banner=banner(http),
        max_url_bytes=http.max_url_bytes,
        bodies=BodyLimits(http.max_request_bytes, http.request_timeout),
    )


def _probes(app: App, policy: AdminPolicy) -> dict[str, Route]:
    """The pages that load balancers and supervisors ask for, on both ports."""
    return {"/healthz": HealthPage(app.node.broker, app.readiness, policy), "/readyz": ReadyPage(app.readiness)}


def operator_pages(settings: Settings, app: App, policy: AdminPolicy) -> dict[str, Route]:
    """The pages for operators by their paths: on the admin port if there is one, otherwise on that of clients.

    To add one, derive it from `adapters.http.page.Page` and list it here. It gets the parts that it needs, such as
    `app.node`, and `policy`, the rules of the port that it is on. A page that shows figures begins with
    `policy.check_observer(request)`, one that changes something with `policy.check_operator(request)`, which returns
    who it is; both raise `Denied`, which `denied` turns into a response. A page may respond later: `respond` may be
    `async`. A path such as `/rooms/{room}` is a pattern, whose variable parts are in `request.parameters`;
    `takes_body = True` gives a page the body of its requests.
    """
    parts = admin_parts(settings, app.node, app.sessions, app.connections, app.readiness)
    metrics = MetricsPage(app.metrics.scrape, policy)
    return {**api_pages(parts, policy), "/metrics": metrics, **_console(settings, app, policy)}


def _console(settings: Settings, app: App, policy: AdminPolicy) -> dict[str, Route]:
    public = policy.has_own_port or settings.http.console
    return {**console_pages(read_files(WEB / FOLDER[1:]), policy, FilePage(app.policy, None), public=public)}


def _token_verifier(app: App) -> Callable[[str], Grant] | None:
    """The check of the tokens of operators: that of clients."""
    authentication = app.authentication
    return None if authentication is None else lambda token: authentication.check(token, None)


def _environment(settings: Settings, app: App) -> Environment:
    return Environment(
        app.connections,
        app.addresses,
        connection_bounds(settings.connections),
        app.authentication,
        app.memory,
        Expiry(notice=settings.auth.notice) if app.authentication is None else app.authentication,
        traffic=app.node.traffic,
        counters=app.counters,
        access_log=app.access_log,
    )


def _endpoints(settings: Settings, app: App, policy: AdminPolicy) -> dict[str, Route]:
    http, environment, limits = settings.http, app.environment, message_limits(settings)
    read_limit = READ_LIMIT * limits.message_bytes

    def route(endpoint: type[SignalingEndpoint | MessagingEndpoint], decode: Callable[[bytes], Any]) -> EndpointRoute:
        serving = endpoint(
            app.node,
            app.sessions,
            app.connections,
            app.authentication,
            decode,
            ice_servers=ice_servers(settings),
            version=__version__,
            terms=terms(settings),
            ban_addresses=settings.rooms.ban_addresses,
            authorizer=app.authorizer,
            expiry=environment.expiry,
        )
        return EndpointRoute(
            environment,
            serving,
            app.policy,
            max_message=read_limit,
            refuse_with_close=http.refuse_with_close,
            kind="peer" if endpoint is SignalingEndpoint else "user",
            authorizer=app.authorizer,
        )

    signaling = route(SignalingEndpoint, peer_decoder(limits).decode)
    messaging = route(MessagingEndpoint, user_decoder(limits).decode)
    found: dict[str, Route] = {"/mcp": AbsentPage(ABSENT)}
    if app.mcp is not None:
        operators = None if app.admin_site is not None else policy
        agents = mcp_routes(settings, app.mcp, environment, app.policy, app.authorizer, operators, read_limit)
        app.mcp_page = found["/mcp"] = agents.page
        messaging.by_subprotocol[agents.subprotocol] = agents.websocket
    return {
        **dict.fromkeys(("/ws/signaling", "/ws/signaling/"), signaling),
        **dict.fromkeys(("/ws/mcp", "/ws/mcp/"), messaging),
        **gateway_routes(settings, Parts(app.node, environment, app.policy, app.authorizer, read_limit)),
        **found,
    }
