"""Settings: groups of typed fields with their defaults and bounds; `environment.load` reads them.

A field is set as `MCP_ACTORS_<NAME>`; `settings/development.env` explains each.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_origin
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from mcp_actors import redis_url
from mcp_actors.loopback import UNIX, is_tamper_proof
from mcp_actors.origins import allowed_origin, host_pattern
from mcp_actors.webhook_secret import decode_secret

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "MCP_ACTORS_"

GATEWAYS = ("peerjs", "y-webrtc")


class SettingsError(Exception):
    """A setting that cannot be used; `str(error)` names it, says why and gives an example."""


class Rule(NamedTuple):
    """A condition on a value, or on each element of a list. Without an explanation, `holds` raises `ValueError`."""

    explanation: str
    holds: Callable[[Any], object]

    def problem(self, value: Any) -> str | None:
        """Say why a value cannot be used."""
        try:
            return None if self.holds(value) else self.explanation
        except ValueError as error:
            return self.explanation or str(error)


def _is_host(text: str) -> bool:
    """Whether this is a name or an address, without scheme and port."""
    return "/" not in text and (":" not in text or bool(ipaddress.ip_address(text.strip("[]"))))


def _redis_url(host: str, port: int = 6379, password: str = "") -> str:
    login = f":{quote(password, safe='')}@" if password else ""
    host = host.strip("[]")
    return f"redis://{login}{f'[{host}]' if ':' in host else host}:{port}"


def _prefix(prefix: str, name: str) -> str | None:
    """Prefix the name of a setting, unless it is unambiguous without."""
    return None if name.startswith("max_") or name.endswith(("_timeout", "_interval")) else prefix + name


Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Memory = Annotated[int, Meta(ge=1_048_576, le=1_125_899_906_842_624)]
Rate = Annotated[float, Meta(ge=0, le=1_000_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
UpToMinute = Annotated[float, Meta(ge=0, le=60)]
UpToHour = Annotated[float, Meta(ge=0, le=3600)]
PingInterval = Annotated[Seconds, Rule("0.1 is the minimum, and 0 means no pings", lambda value: not 0 < value < 0.1)]  # noqa: PLR2004
WorkerTimeout = Annotated[Seconds, Rule("1 is the minimum, and 0 means no checks", lambda value: not 0 < value < 1)]
File = Annotated[str, Rule("there is no such file", lambda path: not path or Path(path).is_file())]
Hosts = Annotated[tuple[str, ...], Rule("a host is a name or an address, without scheme and port", host_pattern)]
Origins = Annotated[tuple[str, ...], Rule("", allowed_origin)]
Proxies = Annotated[tuple[str, ...], Rule("", lambda proxy: proxy == UNIX or ipaddress.ip_network(proxy))]
AdminHost = Annotated[str, Rule("it must be a name or an address", lambda host: not host.startswith(UNIX))]
Host = Annotated[
    str, Rule("the path of a socket follows unix:, as in unix:/run/signaling.sock", lambda host: host != UNIX)
]
TurnUrls = Annotated[
    tuple[str, ...],
    Rule(
        "it must be turn:host[:port] or turns:host[:port], with ?transport=udp or ?transport=tcp if wanted",
        re.compile(r"turns?:([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(\?transport=(udp|tcp))?", re.ASCII).fullmatch,
    ),
]
TurnSecrets = Annotated[
    tuple[str, ...],
    Meta(max_length=2),
    Rule("it must have only ASCII characters, without spaces", re.compile(r"[!-~]+").fullmatch),
]
Gateways = Annotated[tuple[str, ...], Rule("there is no such gateway", lambda name: name in GATEWAYS)]
IceServers = Annotated[tuple[dict[str, Any], ...], Rule("an ICE server has `urls`", lambda server: server.get("urls"))]
RedisUrl = Annotated[str, Rule("", lambda url: not url or redis_url.parse(url))]
HttpUrl = Annotated[
    str, Rule("it must begin with http:// or https://", lambda url: not url or url.startswith(("http://", "https://")))
]
KeySetUrl = Annotated[
    str, Rule("it must begin with https://, or name this machine", lambda url: not url or is_tamper_proof(url))
]
WebhookSecrets = Annotated[tuple[str, ...], Rule("", decode_secret)]
RedisHost = Annotated[
    str,
    Rule(
        "it must be a name or an address; a port goes into REDIS_PORT, a whole URL into REDIS_URL",
        lambda host: not host or ("@" not in host and _is_host(host) and redis_url.parse(_redis_url(host))),
    ),
]


class ServerSettings(Struct, frozen=True):
    """The process: where it listens, how it logs and stops."""

    host: Host = "localhost"
    socket_mode: Annotated[str, Meta(pattern="^[0-7]{3}$")] = "660"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000
    admin_host: AdminHost = "localhost"
    admin_port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    processes: Annotated[int, Meta(ge=1, le=256)] = 1
    debug: bool = False
    secret_key: str = ""
    log_level: Literal["info", "debug", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"
    access_log: bool = False
    access_log_rate: Annotated[float, Meta(ge=0.1, le=1_000_000)] = 100.0
    shutdown_delay: UpToHour = 0.0
    drain_seconds: UpToHour = 10.0
    worker_timeout: WorkerTimeout = 30.0
    room_affinity: bool = True


class HttpSettings(Struct, frozen=True):
    """HTTP requests and WebSocket handshakes."""

    tls_cert_file: File = ""
    tls_key_file: File = ""
    allowed_hosts: Hosts = ()
    cors_allowed_origins: Origins = ()
    refuse_with_close: bool = False
    trusted_proxies: Proxies = ()
    proxy_header: Literal["x-forwarded-for", "x-real-ip", "forwarded"] = "x-forwarded-for"
    server_banner: bool = False
    echo: bool = False
    console: bool = False
    demo: bool = True
    request_timeout: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    max_request_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 16_384
    max_url_bytes: Annotated[int, Meta(ge=64, le=1_048_576)] = 8192
    max_headers: Annotated[int, Meta(ge=16, le=10_000)] = 64
    max_handshakes: Count = 4096
    max_address_handshakes: CountOrZero = 1000


class AuthSettings(Struct, frozen=True, rename=lambda name: _prefix("auth_", name)):
    """Access tokens."""

    mode: Literal["off", "optional", "required"] = msgspec.field(name="auth", default="off")
    key_file: File = ""
    jwks_url: KeySetUrl = ""
    jwks_refresh: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    audience: str = ""
    issuer: str = ""
    leeway: Annotated[float, Meta(ge=0, le=300)] = 5.0
    timeout: Annotated[float, Meta(gt=0, le=300)] = 10.0
    notice: UpToHour = 60.0
    max_revocations: Count = 10_000
    max_token_bytes: Annotated[int, Meta(ge=256, le=65_536)] = 4096
    url: HttpUrl = ""
    authorize_timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0
    max_authorizations: Count = 1000


class RedisSettings(Struct, frozen=True, rename=lambda name: _prefix("redis_", name)):
    """The Redis that connects several nodes."""

    url: RedisUrl = ""
    host: RedisHost = ""
    port: Annotated[int, Meta(ge=1, le=65_535)] = 6379
    password: str = ""
    ca_file: File = ""
    cert_file: File = ""
    key_file: File = ""
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "mcp-actors"
    buckets: Annotated[int, Meta(ge=0, le=64)] = 0
    timeout: Annotated[float, Meta(gt=0, le=60)] = 2.0

    @property
    def broker_url(self) -> str:
        """The URL, given as such or in parts; empty if there is no Redis."""
        return self.url or (_redis_url(self.host, self.port, self.password) if self.host else "")


class ClusterSettings(Struct, frozen=True):
    """How nodes work together."""

    node_lease: Annotated[float, Meta(ge=0.5, le=600)] = 6.0
    outage_joins: Literal["refuse", "local"] = "refuse"
    outage_patience: UpToMinute = 2.0
    replay_seconds: UpToMinute = 10.0
    max_replay_bytes: Count = 67_108_864
    max_replay_messages: Count = 200_000
    max_remote_messages: Count = 20_000
    max_remote_bytes: Count = 33_554_432
    max_inbox_entries: Count = 50_000
    max_inbox_bytes: Count = 33_554_432
    audit_interval: UpToHour = 60.0


class SessionSettings(Struct, frozen=True):
    """Sessions, which outlive their connections."""

    resume_window: UpToHour = 30.0
    max_session_messages: Count = 256
    max_session_bytes: Count = 262_144
    max_rooms_per_connection: Count = 32
    max_comeback_rate: Rate = 250.0


class RoomSettings(Struct, frozen=True):
    """Rooms of this process."""

    ice_servers: IceServers = ()
    max_rooms: Count = 250_000
    max_room_members: Count = 500
    max_room_inbox: Count = 256
    max_room_unanswered: Count = 4096
    max_pending_messages: Count = 64
    max_ban_seconds: Annotated[int, Meta(ge=1, le=315_360_000)] = 2_592_000
    max_room_bans: Count = 256
    max_bans: Count = 100_000
    ban_addresses: bool = False
    max_observer_events: Count = 10_000


class TurnSettings(Struct, frozen=True, rename=lambda name: _prefix("turn_", name)):
    """TURN servers, for which this one makes credentials."""

    urls: TurnUrls = ()
    secret: TurnSecrets = ()
    ttl: Annotated[int, Meta(ge=1, le=2_592_000)] = 86_400


class WebhookSettings(Struct, frozen=True, rename=lambda name: _prefix("webhook_", name)):
    """The receiver of webhooks."""

    url: HttpUrl = ""
    secret: WebhookSecrets = ()
    timeout: Annotated[float, Meta(gt=0, le=60)] = 10.0
    connections: Annotated[int, Meta(ge=1, le=256)] = 8
    attempts: Annotated[int, Meta(ge=1, le=1000)] = 20
    lifetime: Annotated[float, Meta(ge=60, le=2_592_000)] = 86_400.0
    max_webhook_events: Count = 50_000


class ConnectionSettings(Struct, frozen=True, rename=lambda name: _prefix("connection_", name)):
    """Each connection."""

    ping_interval: PingInterval = 20.0
    first_message_timeout: Seconds = 30.0
    idle_timeout: Seconds = 300.0
    message_rate: Rate = 500.0
    message_burst: Count = 5000
    byte_rate: Rate = 1_048_576.0
    byte_burst: Count = 8_388_608
    join_rate: Rate = 5.0
    join_burst: Count = 100
    update_rate: Rate = 5.0
    update_burst: Count = 20
    delivery_rate: Rate = 20_000.0
    delivery_burst: Count = 100_000
    max_delivery_rate: Rate = 50_000.0
    max_connections: Count = 100_000
    max_message_bytes: Annotated[int, Meta(ge=1024, le=16_777_216)] = 65_536
    max_metadata_bytes: Annotated[int, Meta(ge=2, le=65_536)] = 1024
    max_id_length: Annotated[int, Meta(ge=1, le=1024)] = 128
    max_outbox_bytes: Count = 1_048_576
    max_outbox_messages: Count = 4096
    max_socket_buffer_bytes: Annotated[int, Meta(ge=0, le=16_777_216)] = 131_072
    max_memory_bytes: Memory = 1_073_741_824
    max_slowed_seconds: Seconds = 10.0
    max_refused_messages: CountOrZero = 64
    max_bad_messages: Count = 16


class AddressSettings(Struct, frozen=True, rename=lambda name: _prefix("address_", name)):
    """All connections of one IP address together."""

    connection_rate: Rate = 50.0
    connection_burst: Count = 1000
    message_rate: Rate = 5000.0
    message_burst: Count = 50_000
    byte_rate: Rate = 10_485_760.0
    byte_burst: Count = 67_108_864
    join_rate: Rate = 100.0
    join_burst: Count = 2000
    request_rate: Rate = 200.0
    request_burst: Count = 10_000
    delivery_rate: Rate = 50_000.0
    delivery_burst: Count = 1_000_000
    max_address_connections: CountOrZero = 2000
    max_address_detached: CountOrZero = 2000
    max_address_memory_bytes: Memory = 536_870_912
    max_addresses: Count = 100_000


class GatewaySettings(Struct, frozen=True):
    """Other wire protocols that this server speaks."""

    gateways: Gateways = ()
    peerjs_path: Annotated[str, Meta(pattern=r"^/([A-Za-z0-9._~-]+/)*([A-Za-z0-9._~-]+)?$")] = "/"
    peerjs_key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._~-]{1,64}$")] = "peerjs"
    peerjs_discovery: bool = False
    peerjs_expire_timeout: Annotated[float, Meta(ge=0.1, le=60)] = 5.0
    max_peerjs_peers: Count = 20_000
    max_peerjs_waiting_messages: Count = 256
    max_peerjs_waiting_bytes: Count = 16_777_216


class McpSettings(Struct, frozen=True):
    """The Model Context Protocol, for agents."""

    enabled: bool = msgspec.field(name="mcp", default=False)
    max_mcp_requests: Count = 1000
    max_address_mcp_requests: CountOrZero = 100
    mcp_lease: Annotated[float, Meta(ge=1, le=86_400)] = 600.0
    mcp_call_rate: Rate = 10.0
    mcp_call_burst: Count = 200
    mcp_address_call_rate: Rate = 100.0
    mcp_address_call_burst: Count = 2000
    max_mcp_memberships: Count = 10_000
    max_user_mcp_memberships: Count = 32
    max_mcp_subscriptions: Count = 1000
    max_mcp_notices: Annotated[int, Meta(ge=1, le=100_000)] = 256


class Settings(Struct, frozen=True):
    """Everything that can be set. `obsolete`: names of removed settings that are set to what they were by default."""

    server: ServerSettings = ServerSettings()
    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    redis: RedisSettings = RedisSettings()
    cluster: ClusterSettings = ClusterSettings()
    sessions: SessionSettings = SessionSettings()
    rooms: RoomSettings = RoomSettings()
    turn: TurnSettings = TurnSettings()
    webhooks: WebhookSettings = WebhookSettings()
    connections: ConnectionSettings = ConnectionSettings()
    addresses: AddressSettings = AddressSettings()
    gateways: GatewaySettings = GatewaySettings()
    mcp: McpSettings = McpSettings()
    obsolete: tuple[str, ...] = ()


EXAMPLES = {
    "host": "0.0.0.0 for all interfaces, or localhost",
    "admin_host": "localhost, or 0.0.0.0 for all interfaces",
    "socket_mode": "660 for the user and the group of the server",
    "secret_key": "the output of `mcp-actors secret`",
    "allowed_hosts": "localhost,127.0.0.1,.example.com",
    "cors_allowed_origins": "https://app.example.com,http://localhost:3000",
    "trusted_proxies": "127.0.0.1,10.0.0.0/8, or unix: for the proxy at a Unix socket",
    "ice_servers": '[{"urls": "stun:stun.example.com:3478"}]',
    "turn_urls": "turn:turn.example.com:3478,turns:turn.example.com:5349?transport=tcp",
    "turn_secret": "the output of `mcp-actors secret`",
    "redis_url": "redis://localhost:6379/0",
    "redis_host": "localhost",
    "tls_cert_file": "/etc/ssl/signaling.example.com/fullchain.pem",
    "tls_key_file": "/etc/ssl/signaling.example.com/privkey.pem",
    "redis_ca_file": "/etc/ssl/redis-ca.pem",
    "redis_cert_file": "/etc/ssl/redis-client.pem",
    "redis_key_file": "/etc/ssl/redis-client.key",
    "auth_key_file": "/etc/mcp-actors/jwks.json",
    "auth_jwks_url": "https://login.example.com/.well-known/jwks.json",
    "webhook_url": "https://app.example.com/webhooks/signaling",
    "webhook_secret": "whsec_ and the output of `openssl rand -base64 32`",
    "gateways": "peerjs,y-webrtc",
    "auth_url": "http://localhost:3000/authorize-signaling",
}
"""Examples for errors, of settings whose default or type does not give one."""

GROUPS = {info.name: info.type for info in msgspec.structs.fields(Settings) if info.name != "obsolete"}
FIELDS = {info.encode_name: info for group in GROUPS.values() for info in msgspec.structs.fields(group)}
"""Every setting, by its name in lower case without the prefix."""

DEFAULTS: dict[str, Any] = {name: info.default for name, info in FIELDS.items()}


def shown(settings: Settings) -> dict[str, bool | int | float | str]:
    """The settings that are numbers, switches or choices, by their names; texts may be secrets, or paths."""
    found: dict[str, bool | int | float | str] = {}
    for name, kind in GROUPS.items():
        for info in msgspec.structs.fields(kind):
            value = getattr(getattr(settings, name), info.name)
            if isinstance(value, bool | int | float) or get_origin(info.type) is Literal:
                found[PREFIX + info.encode_name.upper()] = value
    return found
