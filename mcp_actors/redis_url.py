"""URLs of Redis, as in `MCP_ACTORS_REDIS_URL`.

    redis://[login@]host[:port][/database][?options]                       one server
    unix://[login@]/path/of/the/socket[?options]                           the same, over a Unix socket
    redis+sentinel://[login@]host[:port],.../master[/database][?options]   the primary that these Sentinels watch
    redis+cluster://[login@]host[:port],...[?options]                      a Redis Cluster with these nodes

A login is `user:password`, `:password` or `user`, percent-encoded. `rediss`, `rediss+sentinel` and `rediss+cluster` use
TLS. IPv6 addresses are in brackets. Options are those of redis-py, as in `?db=1&ssl_cert_reqs=none`, and for Sentinels
with a login or TLS of their own `sentinel_username`, `sentinel_password` and `sentinel_tls`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Callable

PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
"""The default ports."""

HIGHEST_PORT = 65_535

_SCHEME = re.compile(r"(?P<unix>unix)|redis(?P<tls>s?)(\+(?P<kind>sentinel|cluster))?")
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(:(?P<port>[0-9]{1,5}))?")
_LOGIN = re.compile(r"[!-~]*")
_RESERVED = set("/?#[]")
_MASTER = re.compile(r"[A-Za-z0-9._-]+")
_DATABASE = re.compile(r"[0-9]{1,5}")


_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_VERIFY = {"none": False, "optional": True, "required": True}


def _boolean(text: str) -> bool:
    return _BOOLEANS[text.lower()]


def _database(text: str) -> int:
    if not _DATABASE.fullmatch(text):
        raise ValueError("a database is a number, such as /0")
    return int(text)


OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "db": ("database", _database),
    "username": ("user", str),
    "password": ("password", str),
    "ssl_cert_reqs": ("verify", lambda text: _VERIFY[text.lower().removeprefix("cert_")]),
    "ssl_check_hostname": ("check_hostname", _boolean),
    "ssl_ca_certs": ("ca_file", str),
    "ssl_certfile": ("cert_file", str),
    "ssl_keyfile": ("key_file", str),
    "sentinel_username": ("sentinel_user", str),
    "sentinel_password": ("sentinel_password", str),
    "sentinel_tls": ("sentinel_tls", _boolean),
}
"""The options of a URL, each with the field of `RedisUrl` that it sets."""

IGNORED = {
    *("client_name", "decode_responses", "encoding", "family", "health_check_interval", "max_connections", "protocol"),
    *("retry_on_timeout", "socket_connect_timeout", "socket_keepalive", "socket_timeout", "timeout"),
}
"""Options that tune other clients, and mean nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """A parsed URL; its `repr` and `str` leave passwords out.

    A Unix socket is a host with port 0. `verify`, `check_hostname` and the files are as in `Tls`. `sentinel_tls` is
    None if Sentinels use TLS like the other servers.
    """

    kind: Literal["single", "sentinel", "cluster"]
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = field(default="", repr=False)
    master: str = ""
    database: int = 0
    verify: bool = True
    check_hostname: bool = True
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    sentinel_user: str = ""
    sentinel_password: str = field(default="", repr=False)
    sentinel_tls: bool | None = None

    def __str__(self) -> str:
        """The URL for logs and errors."""
        if not self.hosts[0][1]:
            return f"unix://{self.hosts[0][0]}" + (f"?db={self.database}" if self.database else "")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        kind = "" if self.kind == "single" else f"+{self.kind}"
        master = f"/{self.master}" if self.master else ""
        database = f"/{self.database}" if self.database else ""
        return f"redis{'s' if self.tls else ''}{kind}://{hosts}{master}{database}"


def parse(text: str) -> RedisUrl:
    """Parse a URL. Raises `ValueError`, whose text contains nothing of the URL."""
    scheme, found, rest = text.partition("://")
    match = _SCHEME.fullmatch(scheme)
    if not found or match is None:
        raise ValueError(
            "it starts with redis://, redis+sentinel://, redis+cluster:// or unix://, or rediss... for TLS"
        )
    login, _, place = rest.rpartition("@")
    place, _, query = place.partition("?")
    if "#" in place + query:
        raise ValueError("# is written as %23")
    user, password = _login(login)
    kind: Literal["single", "sentinel", "cluster"] = "single"
    if match["kind"]:
        kind = "sentinel" if match["kind"] == "sentinel" else "cluster"
    options = _options(kind, query, tls=bool(match["tls"]))
    hosts, _, path = place.partition("/")
    unix = match["unix"] is not None
    if unix and (hosts or not path):
        raise ValueError("behind unix:// stands the path of a socket, such as unix:///run/redis/redis.sock")
    master, database = _path(kind, "" if unix else path)
    url = RedisUrl(
        kind=kind,
        tls=bool(match["tls"]),
        hosts=((unquote(f"/{path}"), 0),) if unix else _hosts(kind, hosts),
        user=user,
        password=password,
        master=master,
        database=database,
    )
    return replace(url, **options)


def mask(text: str) -> str:
    """A valid or invalid URL without anything that may be a password."""
    scheme, found, rest = text.partition("://")
    if not found or not re.fullmatch(r"[a-z+]{1,20}", scheme):
        return "***"
    _, at, place = rest.rpartition("@")
    place, question, _ = place.partition("?")
    plain = all(_HOST.fullmatch(host) for host in place.partition("/")[0].split(","))
    return f"{scheme}://{'***@' if at else ''}{place if plain else '***'}{'?***' if question else ''}"


def _login(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not _LOGIN.fullmatch(text) or _RESERVED & set(text):
        raise ValueError("in a user or password / is written as %2F, ? as %3F, # as %23, and so on")
    return unquote(user), unquote(password)


def _options(kind: str, query: str, *, tls: bool) -> dict[str, Any]:
    """The fields of `RedisUrl` that the options behind the question mark set."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in IGNORED:
            continue
        option = OPTIONS.get(name)
        if option is None:
            raise ValueError(f"it has an option that is not known; the options are {', '.join(OPTIONS)}")
        if name.startswith("sentinel_") and kind != "sentinel":
            raise ValueError(f"{name} is for redis+sentinel://")
        if name.startswith("ssl_") and not (tls or found.get("sentinel_tls")):
            raise ValueError(f"{name} is for TLS, so the URL starts with rediss")
        field_name, convert = option
        try:
            found[field_name] = convert(value)
        except (KeyError, ValueError):
            raise ValueError(f"{name} has a value that is not valid") from None
    if kind == "cluster" and found.get("database"):
        raise ValueError("a Redis Cluster has no database but 0")
    return found


def _hosts(kind: str, text: str) -> tuple[tuple[str, int], ...]:
    names = text.split(",")
    if kind == "single" and len(names) > 1:
        raise ValueError("redis:// names one host; for several write redis+sentinel:// or redis+cluster://")
    return tuple(_host(name, PORTS[kind]) for name in names)


def _host(text: str, default: int) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = default if match is None or match["port"] is None else int(match["port"])
    if match is None or not 0 < port <= HIGHEST_PORT:
        raise ValueError("a host is a name or an address, with a port behind a colon or none")
    return match["address"] or match["name"], port


def _path(kind: str, text: str) -> tuple[str, int]:
    """The name of the primary and the number of the database."""
    master, database = "", text
    if kind == "sentinel":
        master, _, database = text.partition("/")
        if not _MASTER.fullmatch(master):
            raise ValueError("behind the Sentinels stands the name of their master, such as /mymaster")
    number = _database(database) if database else 0
    if kind == "cluster" and number:
        raise ValueError("a Redis Cluster has no database but 0")
    return master, number
