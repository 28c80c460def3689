"""Settings: typed, and read from the environment and settings files by this module alone.

Each setting is a variable `MCP_ACTORS_<NAME>`; some have a second name, of long standing. Later sources win: the
defaults below, `.env` in the working directory, the file given with --settings, the environment, the command line.
"""

from __future__ import annotations

import difflib
import io
import ipaddress
import os
import re
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from dotenv import dotenv_values
from msgspec import Meta, Struct

from mcp_actors import redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PREFIX = "MCP_ACTORS_"

Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
CountOrNone = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
PerSecond = Annotated[float, Meta(ge=0, le=1_000_000_000)]


class SettingsError(Exception):
    """A setting that cannot be used; `str(error)` names it, says why and gives an example."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. `settings/development.env` explains each for operators."""

    host: str = "localhost"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8000
    tls_cert_file: str = ""
    tls_key_file: str = ""
    debug: bool = False
    secret_key: str = ""
    allowed_hosts: tuple[str, ...] = ()
    cors_allowed_origins: tuple[str, ...] = ()
    redis_url: str = ""
    redis_host: str = ""
    redis_port: Annotated[int, Meta(ge=1, le=65_535)] = 6379
    redis_password: str = ""
    redis_ca_file: str = ""
    redis_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = "mcp-actors"
    redis_buckets: Annotated[int, Meta(ge=0, le=64)] = 0
    redis_timeout: Annotated[float, Meta(gt=0, le=60)] = 2.0
    node_lease: Annotated[float, Meta(ge=0.5, le=600)] = 6.0
    outage_joins: Literal["refuse", "local"] = "refuse"
    outage_patience: Annotated[float, Meta(ge=0, le=60)] = 2.0
    replay_seconds: Annotated[float, Meta(ge=0, le=60)] = 10.0
    processes: Annotated[int, Meta(ge=1, le=256)] = 1
    ice_servers: tuple[dict[str, Any], ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "text", "json"] = "auto"
    ping_interval: Seconds = 20.0
    resume_window: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    drain_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    frame_loop: Literal["fast", "stock"] = "fast"
    compression: bool = False
    server_banner: bool = False
    echo: bool = False
    auth: Literal["off", "optional", "required"] = "off"
    auth_key_file: str = ""
    auth_audience: str = ""
    auth_issuer: str = ""
    auth_leeway: Annotated[float, Meta(ge=0, le=300)] = 5.0
    auth_timeout: Annotated[float, Meta(gt=0, le=300)] = 10.0
    auth_notice: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    max_token_bytes: Annotated[int, Meta(ge=256, le=65_536)] = 4096
    max_connections: Count = 100_000
    max_handshakes: Count = 4096
    max_rooms: Count = 250_000
    max_room_members: Count = 500
    max_rooms_per_connection: Count = 32
    max_message_bytes: Annotated[int, Meta(ge=1024, le=16_777_216)] = 65_536
    max_metadata_bytes: Annotated[int, Meta(ge=2, le=65_536)] = 1024
    max_id_length: Annotated[int, Meta(ge=1, le=1024)] = 128
    max_outbox_bytes: Count = 1_048_576
    max_outbox_messages: Count = 4096
    max_room_inbox: Count = 256
    max_session_messages: Count = 256
    max_session_bytes: Count = 262_144
    max_remote_messages: Count = 20_000
    max_remote_bytes: Count = 33_554_432
    max_replay_bytes: Count = 67_108_864
    max_inbox_entries: Count = 50_000
    max_inbox_bytes: Count = 33_554_432
    max_room_unanswered: Count = 4096
    max_request_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 16_384
    max_url_bytes: Annotated[int, Meta(ge=64, le=1_048_576)] = 8192
    max_headers: Annotated[int, Meta(ge=16, le=10_000)] = 64
    request_timeout: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    max_bad_messages: Count = 16
    connection_message_rate: PerSecond = 500.0
    connection_message_burst: Count = 5000
    connection_byte_rate: PerSecond = 1_048_576.0
    connection_byte_burst: Count = 8_388_608
    connection_join_rate: PerSecond = 5.0
    connection_join_burst: Count = 100
    max_slowed_seconds: Seconds = 10.0
    max_refused_messages: CountOrNone = 64
    address_connection_rate: PerSecond = 50.0
    address_connection_burst: Count = 1000
    address_message_rate: PerSecond = 5000.0
    address_message_burst: Count = 50_000
    address_byte_rate: PerSecond = 10_485_760.0
    address_byte_burst: Count = 67_108_864
    address_join_rate: PerSecond = 100.0
    address_join_burst: Count = 2000
    max_address_connections: CountOrNone = 2000
    max_address_handshakes: CountOrNone = 1000
    max_addresses: Count = 100_000
    first_message_timeout: Seconds = 30.0
    idle_timeout: Seconds = 300.0
    trusted_proxies: tuple[str, ...] = ()

    @property
    def broker_url(self) -> str:
        """Where the Redis is that joins the nodes, for `redis_url.parse`; empty: there is none, and one process."""
        if self.redis_url or not self.redis_host:
            return self.redis_url
        login = f":{quote(self.redis_password, safe='')}@" if self.redis_password else ""
        host = self.redis_host.strip("[]")
        return f"redis://{login}{f'[{host}]' if ':' in host else host}:{self.redis_port}"


ALIASES = {
    "DJANGO_SECRET_KEY": "secret_key",
    "DJANGO_DEBUG": "debug",
    "DJANGO_ALLOWED_HOSTS": "allowed_hosts",
    "ALLOWED_HOSTS": "allowed_hosts",
    "CORS_ALLOWED_ORIGINS": "cors_allowed_origins",
    "REDIS_URL": "redis_url",
    "REDIS_HOST": "redis_host",
    "REDIS_PORT": "redis_port",
    "REDIS_PASSWORD": "redis_password",
    "PORT": "port",
}
"""Second names; where both are set in one source, the `MCP_ACTORS_` name wins."""

EXAMPLES = {
    "host": "0.0.0.0 for all interfaces, or localhost",
    "port": "8000",
    "tls_cert_file": "/etc/letsencrypt/live/signaling.example.com/fullchain.pem",
    "tls_key_file": "/etc/letsencrypt/live/signaling.example.com/privkey.pem",
    "compression": "True or False",
    "debug": "True or False",
    "echo": "True or False",
    "server_banner": "True or False",
    "frame_loop": "fast (or stock)",
    "allowed_hosts": "localhost,127.0.0.1,.example.com",
    "cors_allowed_origins": "https://app.example.com,http://localhost:3000",
    "ice_servers": '[{"urls": "stun:stun.example.com:3478"}]',
    "log_level": "info (or debug, warning, error)",
    "log_format": "auto (or text, json)",
    "ping_interval": "20 (seconds; 0 for none)",
    "redis_url": "redis://localhost:6379/0",
    "redis_host": "localhost",
    "redis_ca_file": "/etc/ssl/redis-ca.pem",
    "redis_prefix": "mcp-actors (up to 64 letters, digits, dots, hyphens and underscores)",
    "redis_buckets": "0 (the server chooses; the same for all nodes)",
    "redis_timeout": "2 (seconds)",
    "node_lease": "6 (seconds)",
    "outage_joins": "refuse (or local)",
    "outage_patience": "2 (seconds)",
    "replay_seconds": "10 (seconds; 0 for none)",
    "processes": "4",
    "secret_key": "what `mcp-actors secret` prints",
    "auth": "required (or optional, off)",
    "auth_key_file": "/etc/mcp-actors/jwks.json",
    "drain_seconds": "10 (seconds; 0 for none)",
    "trusted_proxies": "127.0.0.1,10.0.0.0/8",
}

SECRETS = {"secret_key", "redis_password"}
"""Settings that no error shows."""

NEVER_EMPTY = {"host", "port", "redis_url", "redis_host", "redis_port", "redis_password"}
"""Settings whose empty value means that they are not set, as of a variable that a container was given without one."""

MIN_PING_INTERVAL = 0.1

MAX_SHOWN = 200
"""Characters of a value that an error shows whole."""

_INJECTED = re.compile(r"MCP_ACTORS_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d)")
"""Variables that Kubernetes sets for services named mcp-actors or mcp-actors-redis; it sets ..._PORT=tcp://... too."""

_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}


def load(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    directory: Path | None = None,
) -> Settings:
    """Read `.env` of `directory` (default: the working one), `file`, `environ`, then `overrides` by field name.

    Raises `SettingsError`.
    """
    values: dict[str, str] = {}
    names: dict[str, str] = {}
    dotenv = (directory or Path()) / ".env"
    sources: list[Mapping[str, str]] = []
    if dotenv.is_file():
        sources.append(_read_file(dotenv))
    if file is not None:
        sources.append(_read_file(file))
    sources.append(environ)
    for source in sources:
        for name, field in _recognized(source):
            if source[name].strip() or field not in NEVER_EMPTY:
                values[field], names[field] = source[name], name
    typed = {field: _convert(field, names[field], value) for field, value in values.items()}
    typed |= {
        field: _check(field, f"--{field}", value) for field, value in (overrides or {}).items() if value is not None
    }
    names |= {field: f"--{field}" for field, value in (overrides or {}).items() if value is not None}
    return _check_together(Settings(**typed), names)


def _read_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"Settings file {path} cannot be read: {reason}.") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#") and "=" not in line:
            raise SettingsError(f"Line {number} of settings file {path} is {line!r}, not NAME=value.")
    found = dotenv_values(stream=io.StringIO(text), interpolate=False)
    return {name: value or "" for name, value in found.items()}


def _recognized(source: Mapping[str, str]) -> list[tuple[str, str]]:
    """The settings in a source as (name, field), so that a later one wins over an earlier."""
    found = [
        (name, field) for name, field in ALIASES.items() if name in source and not _is_injected(name, source[name])
    ]
    for name in source:
        if not name.startswith(PREFIX) or _is_injected(name, source[name]):
            continue
        field = name.removeprefix(PREFIX).lower()
        if field not in Settings.__struct_fields__:
            raise SettingsError(_unknown(name))
        found.append((name, field))
    return found


def _is_injected(name: str, value: str) -> bool:
    return bool(_INJECTED.match(name)) or (name.endswith("PORT") and value.strip().startswith("tcp://"))


def _unknown(name: str) -> str:
    known = [PREFIX + field.upper() for field in Settings.__struct_fields__]
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name} is not a setting." + (f" Did you mean {close[0]}?" if close else "")


def _convert(field: str, name: str, text: str) -> Any:
    """Turn the text of one setting into its type."""
    text = text.strip()
    parse: Callable[[str], Any] | None = {
        "compression": _boolean,
        "debug": _boolean,
        "echo": _boolean,
        "server_banner": _boolean,
        "allowed_hosts": _listed,
        "cors_allowed_origins": _listed,
        "ice_servers": _json,
        "auth": str.lower,
        "log_format": str.lower,
        "log_level": str.lower,
        "outage_joins": str.lower,
        "trusted_proxies": _listed,
    }.get(field)
    try:
        value = parse(text) if parse else text
    except ValueError as error:
        raise SettingsError(_complaint(field, name, text, str(error))) from None
    return _check(field, name, value, text)


def _check(field: str, name: str, value: Any, text: str | None = None) -> Any:
    try:
        return msgspec.convert(value, _type_of(field), strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_complaint(field, name, value if text is None else text, str(error))) from None


def _type_of(field: str) -> Any:
    return next(info.type for info in msgspec.structs.fields(Settings) if info.name == field)


def _complaint(field: str, name: str, value: Any, problem: str) -> str:
    default = next(info.default for info in msgspec.structs.fields(Settings) if info.name == field)
    return f"{name} is {_shown(field, value)}, which is wrong: {problem}. An example: {EXAMPLES.get(field, default)}"


def _shown(field: str, value: Any) -> str:
    """A value as an error may show it: no secret, and not too long."""
    if field in SECRETS:
        return "***"
    if field == "redis_url" or (field == "redis_host" and set("@/") & set(str(value))):
        value = redis_url.mask(str(value))
    return reprlib.repr(value) if len(repr(value)) > MAX_SHOWN else repr(value)


def _check_together(settings: Settings, names: Mapping[str, str]) -> Settings:
    """Check what the types do not say."""
    for field, value, problem in _problems(settings):
        name = names.get(field, next((name for name in ALIASES if ALIASES[name] == field), PREFIX + field.upper()))
        raise SettingsError(_complaint(field, name, value, problem))
    return settings


def _problems(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    """What is wrong: (field, its value or the part of it that is meant, why)."""
    if 0 < settings.ping_interval < MIN_PING_INTERVAL:
        problem = f"it is 0, for no pings, or at least {MIN_PING_INTERVAL} seconds"
        yield "ping_interval", settings.ping_interval, problem
    for server in settings.ice_servers:
        if not server.get("urls"):
            yield "ice_servers", server, "an ICE server has `urls`"
    yield from _problems_of_access(settings)
    yield from _problems_of_redis(settings)


def _problems_of_access(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    for host in settings.allowed_hosts:
        if not _is_host(host):
            yield "allowed_hosts", host, "a host is a name or an address, without scheme and port"
    for origin in settings.cors_allowed_origins:
        if origin not in ("*", "null") and "://" not in origin:
            yield "cors_allowed_origins", origin, "an origin is scheme://host or scheme://host:port"
    if settings.auth_key_file and not Path(settings.auth_key_file).is_file():
        yield "auth_key_file", settings.auth_key_file, "there is no such file"
    yield from _problems_of_proxies(settings)
    yield from _problems_of_tls(settings)


def _problems_of_tls(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    for field in ("tls_cert_file", "tls_key_file"):
        file = getattr(settings, field)
        if file and not Path(file).is_file():
            yield field, file, "there is no such file"
    if settings.tls_key_file and not settings.tls_cert_file:
        problem = "a key needs its certificate, so set MCP_ACTORS_TLS_CERT_FILE too"
        yield "tls_key_file", settings.tls_key_file, problem


def _problems_of_redis(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    if settings.redis_host and ("@" in settings.redis_host or not _is_host(settings.redis_host)):
        problem = "a host is a name or an address; a port goes into REDIS_PORT, a whole URL into REDIS_URL"
        yield "redis_host", settings.redis_host, problem
    try:
        if settings.broker_url:
            redis_url.parse(settings.broker_url)
    except ValueError as error:
        field = "redis_url" if settings.redis_url else "redis_host"
        yield field, getattr(settings, field), str(error)
    if settings.redis_ca_file and not Path(settings.redis_ca_file).is_file():
        yield "redis_ca_file", settings.redis_ca_file, "there is no such file"
    if settings.processes > 1 and not settings.broker_url:
        problem = "rooms span processes through Redis alone, so set REDIS_URL too, such as redis://localhost:6379/0"
        yield "processes", settings.processes, problem


def _is_host(text: str) -> bool:
    """Whether it is a name or an address, with neither scheme nor port."""
    return "/" not in text and (":" not in text or _is_address(text))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _problems_of_proxies(settings: Settings) -> Iterator[tuple[str, Any, str]]:
    for network in settings.trusted_proxies:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            problem = f"a proxy is named by its address, or by its network as in 10.0.0.0/8 ({error})"
            yield "trusted_proxies", network, problem


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("it is neither true nor false")


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _json(text: str) -> Any:
    if not text:
        return []
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from None
