"""The composition root: builds the server from its settings, starts it, and stops it."""

from __future__ import annotations

import asyncio
import errno
import gc
import secrets
import signal
import socket
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from tornado.netutil import bind_sockets

from mcp_actors import __version__
from mcp_actors.broker import BrokerError
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.codec import Limits, peer_decoder, user_decoder
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.protocol.grants import Expectations
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.redis_url import parse
from mcp_actors.sessions import Sessions
from mcp_actors.tls import Certificate, TlsError
from mcp_actors.transports.access import AccessPolicy, is_loopback
from mcp_actors.transports.addresses import Addresses, AddressRates
from mcp_actors.transports.admission import Admission
from mcp_actors.transports.connections import Connections
from mcp_actors.transports.drain import drain
from mcp_actors.transports.echo import EchoHandler
from mcp_actors.transports.entrance import Door, Entrance
from mcp_actors.transports.heads import Gate
from mcp_actors.transports.hops import Hops
from mcp_actors.transports.http import HealthHandler, PageHandler, ReadyHandler
from mcp_actors.transports.mcp import McpHandler
from mcp_actors.transports.meter import ConnectionRates
from mcp_actors.transports.rates import Rate
from mcp_actors.transports.signaling import SignalingHandler
from mcp_actors.transports.site import Site, refusal
from mcp_actors.transports.turns import Turns
from mcp_actors.transports.websocket import Bounds, Endpoint
from mcp_actors.transports.writes import Writes

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from tornado.web import RequestHandler

    from mcp_actors.broker import Broker
    from mcp_actors.config import Settings

log = structlog.get_logger("mcp_actors")

CLOSING_PATIENCE = 1.0
"""Seconds that clients have to answer the close frame when the server stops."""


YOUNG_OBJECTS = 20_000
"""Objects made before the garbage collector looks at them.

Messages leave no cycles behind, but rooms and connections are many objects that stay. With Python's default of 700,
creating a room among 50,000 took 160 us of CPU, with this it took 70.
"""


def spare_the_collector() -> None:
    """Keep the garbage collector from going through all rooms again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 5, 100)


TURNS = 8
"""Loud clients who have their turn in one round of the loop, at most."""


class StartError(Exception):
    """The server cannot start; `str(error)` says why and what to do."""


def listen(host: str, port: int, *, shared: bool = False) -> list[Door]:
    """Listen on every address of a host; `shared` with other processes that listen so, too. Raises `StartError`."""
    try:
        return [Door.of(bound) for bound in bind_sockets(port, host, backlog=1024, reuse_port=shared)]
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            hint = f"Is another server running there? Choose another port: --port {port + 1}, or PORT=."
        else:
            hint = "Choose another address with --host, such as localhost or 0.0.0.0, or another port with --port."
        problem = getattr(error, "strerror", None) or error
        raise StartError(f"Cannot listen on {host} port {port}: {problem}. {hint}") from None


class App:
    """One server process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sockets: list[Door] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._asked = asyncio.Event()
        node_id = NodeId(f"{socket.gethostname()}-{secrets.token_hex(4)}")
        self.node = Node(
            node_id,
            self._broker(node_id),
            room_capacity=settings.max_room_members,
            max_rooms=settings.max_rooms,
            max_inbox=settings.max_room_inbox,
            max_unanswered=settings.max_room_unanswered,
        )
        self.connections = Connections(
            settings.max_connections,
            settings.ping_interval,
            first_words=settings.first_message_timeout,
            roomless=settings.idle_timeout,
        )
        self.addresses = addresses(settings)
        self.sessions = Sessions(
            self.node,
            settings.secret_key.encode() or secrets.token_bytes(32),
            window=settings.resume_window,
            max_frames=settings.max_session_messages,
            max_bytes=settings.max_session_bytes,
            max_rooms=settings.max_rooms_per_connection,
            max_away=settings.max_connections,
        )
        self._admission = self._admit()
        self._certificate = (
            Certificate(settings.tls_cert_file, settings.tls_key_file) if settings.tls_cert_file else None
        )
        self._server = Entrance(
            self._routes(),
            max_handshakes=settings.max_handshakes,
            max_address_handshakes=settings.max_address_handshakes,
            gate=self._gate(),
            hops=Hops(settings.trusted_proxies),
            ssl_options=self._load_certificate(),
            max_header_size=settings.max_request_bytes,
            max_body_size=settings.max_request_bytes,
            idle_connection_timeout=settings.request_timeout,
            body_timeout=settings.request_timeout,
        )

    @property
    def port(self) -> int:
        """The port bound: the one that was set, or the one the system chose for 0."""
        return int(self._sockets[0].getsockname()[1])

    def _load_certificate(self) -> SSLContext | None:
        try:
            return None if self._certificate is None else self._certificate.load()
        except TlsError as error:
            raise StartError(str(error)) from None

    def _take_certificate(self, context: SSLContext) -> None:
        self._server.ssl_options = context

    def _broker(self, node_id: NodeId) -> Broker:
        settings = self._settings
        if not settings.broker_url:
            return MemoryBroker()
        from mcp_actors.broker.redis import RedisBroker, RedisSettings  # noqa: PLC0415 - slow; for those who need it

        return RedisBroker(
            parse(settings.broker_url),
            node_id,
            prefix=settings.redis_prefix,
            buckets=settings.redis_buckets,
            timeout=settings.redis_timeout,
            ca_file=settings.redis_ca_file,
            settings=RedisSettings(
                lease=settings.node_lease,
                resume_window=settings.resume_window,
                outage_joins=settings.outage_joins,
                outage_patience=settings.outage_patience,
                max_remote_messages=settings.max_remote_messages,
                max_remote_bytes=settings.max_remote_bytes,
                replay_seconds=settings.replay_seconds,
                max_replay_bytes=settings.max_replay_bytes,
                max_inbox_entries=settings.max_inbox_entries,
                max_inbox_bytes=settings.max_inbox_bytes,
            ),
        )

    def _admit(self) -> Admission | None:
        """What checks tokens, where they are asked for."""
        settings = self._settings
        if settings.auth == "off":
            return None
        from mcp_actors.tokens import FileKeys, KeyFileError, SecretKeys, Verifier  # noqa: PLC0415 - the same

        try:
            file = settings.auth_key_file
            keys = FileKeys(Path(file)) if file else SecretKeys(settings.secret_key)
        except KeyFileError as error:
            raise StartError(f"MCP_ACTORS_AUTH_KEY_FILE is {settings.auth_key_file!r}, and {error}.") from None
        expected = Expectations(
            settings.auth_audience, settings.auth_issuer, settings.auth_leeway, settings.max_id_length
        )
        return Admission(
            Verifier(keys, expected, max_bytes=settings.max_token_bytes).verify,
            required=settings.auth == "required",
            patience=settings.auth_timeout,
            notice=settings.auth_notice,
            leeway=settings.auth_leeway,
        )

    @property
    def _banner(self) -> str:
        return f"mcp_actors/{__version__}" if self._settings.server_banner else ""

    def _gate(self) -> Gate:
        """What the heads of requests have to pass: one in each round of the loop."""
        refused = refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, self._banner)
        return Gate(self._settings.max_headers, refused, Turns(1, rest=0.0))

    def _routes(self) -> Site:
        settings = self._settings
        policy = AccessPolicy(
            settings.allowed_hosts, settings.cors_allowed_origins, loopback=is_loopback(settings.host)
        )
        limits = Limits(settings.max_message_bytes, settings.max_metadata_bytes, settings.max_id_length)
        bounds = Bounds(
            limits=limits,
            max_outbox_frames=settings.max_outbox_messages,
            max_outbox_bytes=settings.max_outbox_bytes,
            max_bad_messages=settings.max_bad_messages,
        )
        writes = Writes() if settings.frame_loop == "fast" else None
        turns = Turns(TURNS)
        endpoint = Endpoint(
            self.node,
            self.sessions,
            self.connections,
            self.addresses,
            policy,
            bounds,
            writes,
            turns,
            compression=settings.compression,
            ice_servers=settings.ice_servers,
            version=__version__,
            admission=self._admission,
        )
        page = {"policy": policy, "path": str(files("mcp_actors") / "web"), "default_filename": "index.html"}
        state = {"broker": self.node.broker, "connections": self.connections}
        echo = {"policy": policy, "writes": writes, "turns": turns, "compression": settings.compression}
        return Site(
            Hops(settings.trusted_proxies),
            [
                *([(r"/echo", EchoHandler, echo)] if settings.echo else []),
                (r"/ws/signaling/?", SignalingHandler, {"endpoint": endpoint, "decoder": peer_decoder(limits)}),
                (r"/ws/mcp/?", McpHandler, {"endpoint": endpoint, "decoder": user_decoder(limits)}),
                (r"/healthz", HealthHandler, state),
                (r"/readyz", ReadyHandler, state),
                (r"/(.*)", PageHandler, page),
            ],
            banner=self._banner,
            max_url_bytes=settings.max_url_bytes,
            log_function=_log_request,
        )

    async def start(self) -> None:
        """Reach the other nodes, then listen. Raises `StartError`."""
        settings = self._settings
        try:
            await self.node.broker.start()
        except BrokerError as error:
            raise StartError(str(error)) from None
        try:
            self._sockets = listen(settings.host, settings.port, shared=settings.processes > 1)
        except StartError:
            await self.node.broker.stop()
            raise
        self._server.add_sockets(self._sockets)
        self._tasks = [
            asyncio.create_task(self.connections.keep_alive()),
            asyncio.create_task(self.sessions.end_the_late()),
            *([asyncio.create_task(self._admission.keep_watch())] if self._admission is not None else []),
        ]
        if self._certificate is not None:
            self._tasks.append(asyncio.create_task(self._certificate.follow(self._take_certificate)))
        log.info("listening", host=settings.host, port=self.port, node=self.node.id, version=__version__)
        if not is_loopback(settings.host) and not settings.allowed_hosts:
            log.warning("open to other machines under any name; set MCP_ACTORS_ALLOWED_HOSTS", host=settings.host)

    async def stop(self) -> None:
        """Accept nothing more, have clients go to other nodes where there are, and close the connections left."""
        self._server.stop()
        count = len(self.connections)
        shared = self.node.broker.shared
        if shared and self._settings.drain_seconds:
            await drain(self.connections, self._settings.drain_seconds)
        for task in self._tasks:
            task.cancel()
        code = CloseCode.SERVICE_RESTART if shared else CloseCode.GOING_AWAY
        await self.connections.close_all(code, CLOSING_PATIENCE)
        await self._server.close_all_connections()
        await self.sessions.stop()
        await self.node.broker.stop()
        log.info("stopped", connections=count)

    def ask_to_stop(self) -> None:
        """Have `run` stop, as SIGTERM does."""
        self._asked.set()

    async def run(self, announce: Callable[[str], None], *, supervised: bool = False) -> None:
        """Start, announce where to go, serve until SIGINT or SIGTERM, and stop.

        A second signal ends the process, unless it is `supervised` by a parent who sees to that: it may have been asked
        to stop by that parent before the first comes.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.ask_to_stop)
        await self.start()
        spare_the_collector()
        announce(self._greeting())
        await self._asked.wait()
        for number in () if supervised else (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        await self.stop()

    def _greeting(self) -> str:
        name = self._settings.host
        if name in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            name = socket.gethostname()
        where = f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"
        s = "s" if self._settings.tls_cert_file else ""
        return (
            f"mcp_actors {__version__} is serving. Stop it with Ctrl-C.\n"
            f"  demo call   http{s}://{where}/               open it in two tabs\n"
            f"  signaling   ws{s}://{where}/ws/signaling/   for WebRTC peers\n"
            f"  messages    ws{s}://{where}/ws/mcp/         for users of the same rooms"
        )


REFUSALS_FORGOTTEN = 60.0
"""Seconds after which a connection may be refused as often as before."""


def addresses(settings: Settings) -> Addresses:
    """The addresses that clients come from, with the limits of each and of their connections."""
    each = ConnectionRates(
        messages=Rate(settings.connection_message_rate, settings.connection_message_burst),
        bytes=Rate(settings.connection_byte_rate, settings.connection_byte_burst),
        joins=Rate(settings.connection_join_rate, settings.connection_join_burst),
        refusals=Rate(settings.max_refused_messages / REFUSALS_FORGOTTEN, settings.max_refused_messages),
        patience=settings.max_slowed_seconds,
    )
    together = AddressRates(
        connections=Rate(settings.address_connection_rate, settings.address_connection_burst),
        messages=Rate(settings.address_message_rate, settings.address_message_burst),
        bytes=Rate(settings.address_byte_rate, settings.address_byte_burst),
        joins=Rate(settings.address_join_rate, settings.address_join_burst),
        most_connections=settings.max_address_connections,
    )
    return Addresses(together, each, most=settings.max_addresses)


def _log_request(handler: RequestHandler) -> None:
    status = handler.get_status()
    write = log.error if status == HTTPStatus.INTERNAL_SERVER_ERROR else log.debug
    request = handler.request
    write("request", method=request.method, path=request.path, status=status, address=request.remote_ip)
