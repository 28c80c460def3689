"""The composition root: wires the parts of one node together, starts them and stops them."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.readiness import Readiness
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
from mcp_actors.connection.connections import Connections
from mcp_actors.connection.counters import ConnectionCounters
from mcp_actors.connection.drain import drain
from mcp_actors.connection.environment import Environment
from mcp_actors.connection.revocation_sweep import RevocationSweep
from mcp_actors.counters.loop_lag import LoopLag
from mcp_actors.heap import GrowthWatch, release_free_pages
from mcp_actors.limits import connection_bounds, ip_limits
from mcp_actors.loopback import is_loopback
from mcp_actors.mcp_setup import mcp_application
from mcp_actors.memory_budget import MemoryBudget
from mcp_actors.metrics.scrape import Scrapes
from mcp_actors.node_parts import make_node
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.sessions import SessionLimits, Sessions
from mcp_actors.site_setup import (
    SiteParts,
    admin_site,
    client_site,
    longest_message,
    operators_beside_clients,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.auth.authorization import Authorize
    from mcp_actors.auth.fetched_keys import FetchedKeys, FetchKeys
    from mcp_actors.auth.grants import Grant
    from mcp_actors.auth.tokens import Key
    from mcp_actors.mcp_parts import AgentRoutes
    from mcp_actors.metrics.siblings import Siblings
    from mcp_actors.node import Node
    from mcp_actors.settings import AuthSettings, ConnectionSettings, Settings
    from mcp_actors.webhooks.reports import Reports

CLOSING_TIMEOUT = 1.0
"""How long clients have to answer the close frame when the node stops."""


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
        fetch_keys: FetchKeys | None = None,
        has_admin_port: bool = False,
        siblings: Siblings | None = None,
    ) -> None:
        """Build the parts.

        `authorize`: the application's own rules, if it has some. `fetch_keys` fetches the keys that verify tokens, if
        they are at a URL. `has_admin_port`: whether the pages for operators are
        on a port of their own, `admin_site`; otherwise they are in `site`, too. `siblings`: the other workers.
        """
        self._drain_seconds = settings.server.drain_seconds
        self.node = make_node(settings)
        self.connections = _connections(settings.connections)
        self._keys = _fetched_keys(settings.auth, fetch_keys)
        self.readiness = Readiness(self.node.broker, self.connections, self._has_keys)
        self.addresses = ip_limits(settings.connections, settings.addresses)
        limit, share = settings.connections.max_memory_bytes, settings.addresses.max_address_memory_bytes
        self.memory = MemoryBudget(limit, share, release_free_pages)
        self.sessions = _sessions(settings, self.node, self.memory)
        self.authentication = _authentication(settings, self._keys, self._is_revoked)
        self.authorizer = None if authorize is None else _authorizer(authorize, settings, self._is_revoked)
        self._sweep = RevocationSweep(
            cast("Any", self.connections),
            self.sessions.detached,
            self._is_revoked,
            self.node.broker.revocations.table.revokes_all_of,
        )
        self.node.broker.revocations.watch(self._sweep.start)
        self.policy = _origin_policy(settings)
        self.counters = ConnectionCounters()
        self.access_log = AccessLog(enabled=settings.server.access_log)
        self.loop_lag = LoopLag()
        self.metrics = Scrapes(self, siblings)
        self.environment = _environment(settings, self)
        ice_servers = _ice_servers(settings)
        self.mcp = mcp_application(
            *(settings, self.node, self.sessions, self.environment, self.authorizer, self.readiness), ice_servers
        )
        operators = operators_beside_clients(settings, self.authentication, self.policy)
        agents = self._agent_routes(settings, None if has_admin_port else operators)
        self.mcp_page = None if agents is None else agents.page
        parts = SiteParts(
            *(self.node, self.sessions, self.environment, self.readiness, self.policy, self.authorizer),
            ice_servers,
            self.metrics.scrape,
            agents,
        )
        self.admin_site = admin_site(settings, parts) if has_admin_port else None
        self.site = client_site(settings, parts, operators, has_admin_port=has_admin_port)
        self.reports = None if report is None else report(self.node)
        self._background = BackgroundTasks()

    def _agent_routes(self, settings: Settings, operators: AdminPolicy | None) -> AgentRoutes | None:
        if self.mcp is None:
            return None
        from mcp_actors.mcp_parts import mcp_routes  # noqa: PLC0415 - imported only where agents are served

        limit = longest_message(settings)
        return mcp_routes(settings, self.mcp, self.environment, self.policy, self.authorizer, operators, limit)

    def _has_keys(self) -> bool:
        return self._keys is None or self._keys.are_known

    def _is_revoked(self, grant: Grant) -> bool:
        return self.node.broker.revocations.table.revokes(grant.sub, grant.token_id, grant.issued)

    async def start(self) -> None:
        """Connect to the other nodes and start the background tasks. Raises `StartError`."""
        try:
            await self.node.broker.start()
        except BrokerError as error:
            raise StartError(str(error)) from None
        if self._keys is not None:
            await self._keys.update()
            self._background.start(self._keys.run, "signing keys")
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


def _fetched_keys(auth: AuthSettings, fetch: FetchKeys | None) -> FetchedKeys | None:
    if auth.mode == "off" or fetch is None:
        return None
    from mcp_actors.auth.fetched_keys import FetchedKeys  # noqa: PLC0415 - few servers have an identity provider

    return FetchedKeys(auth.jwks_url, fetch, auth.jwks_refresh)


def _authentication(
    settings: Settings, fetched: FetchedKeys | None, is_revoked: Callable[[Grant], bool]
) -> Authentication | None:
    auth = settings.auth
    if auth.mode == "off":
        return None
    from mcp_actors.auth.tokens import Verifier  # noqa: PLC0415 - slow to import

    expected = Expectations(auth.audience, auth.issuer, auth.leeway, settings.connections.max_id_length)
    find = _own_keys(settings) if fetched is None else fetched.find
    return Authentication(
        Verifier(find, expected, max_bytes=auth.max_token_bytes).verify,
        required=auth.mode == "required",
        timeout=auth.timeout,
        notice=auth.notice,
        leeway=auth.leeway,
        is_revoked=is_revoked,
    )


def _own_keys(settings: Settings) -> Callable[[str | None], Key | None]:
    """Return what finds the key of a token in the key file, or the secret if there is none. Raises `StartError`."""
    from mcp_actors.auth.tokens import FileKeys, KeyFileError, secret_key  # noqa: PLC0415 - slow to import

    if not settings.auth.key_file:
        key = secret_key(settings.server.secret_key)
        return lambda _key_id: key
    try:
        return FileKeys(Path(settings.auth.key_file)).find
    except KeyFileError as error:
        raise StartError(f"MCP_ACTORS_AUTH_KEY_FILE is {settings.auth.key_file!r}, and {error}.") from None


def _authorizer(authorize: Authorize, settings: Settings, is_revoked: Callable[[Grant], bool]) -> Authorizer:
    return Authorizer(
        authorize,
        timeout=settings.auth.authorize_timeout,
        max_pending=settings.auth.max_authorizations,
        id_length=settings.connections.max_id_length,
        is_revoked=is_revoked,
    )


def _ice_servers(settings: Settings) -> IceServerSource:
    turn = settings.turn
    return IceServerSource(
        settings.rooms.ice_servers, TurnServers(turn.urls, turn.secret[0], turn.ttl) if turn.urls else None
    )


def _origin_policy(settings: Settings) -> OriginPolicy:
    http = settings.http
    return OriginPolicy(http.allowed_hosts, http.cors_allowed_origins, loopback=is_loopback(settings.server.host))


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
