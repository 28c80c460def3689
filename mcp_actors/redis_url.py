"""Where Redis is: the URLs that `MCP_ACTORS_REDIS_URL` takes.

    redis://[user:password@]host[:port][/database]                    one server
    redis+sentinel://[user:password@]host[:port],.../master[/database]  the master that these Sentinels know
    redis+cluster://[user:password@]host[:port],...                   the Redis Cluster of which these are nodes

`rediss`, `rediss+sentinel` and `rediss+cluster` are the same through TLS. An IPv6 address stands in brackets. User and
password are percent-encoded where a URL wants it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

PORTS = {"single": 6379, "sentinel": 26379, "cluster": 6379}
"""The port of a host that names none."""

HIGHEST_PORT = 65_535

_SCHEME = re.compile(r"redis(?P<tls>s?)(\+(?P<kind>sentinel|cluster))?")
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(:(?P<port>[0-9]{1,5}))?")
_LOGIN = re.compile(r"[!-~]*")
_RESERVED = set("/?#[]")
_MASTER = re.compile(r"[A-Za-z0-9._-]+")
_DATABASE = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """What a URL says; its `repr` and `str` leave the password out."""

    kind: Literal["single", "sentinel", "cluster"]
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    user: str = ""
    password: str = field(default="", repr=False)
    master: str = ""
    database: int = 0

    def __str__(self) -> str:
        """Where it is, for logs and errors."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        kind = "" if self.kind == "single" else f"+{self.kind}"
        master = f"/{self.master}" if self.master else ""
        database = f"/{self.database}" if self.database else ""
        return f"redis{'s' if self.tls else ''}{kind}://{hosts}{master}{database}"


def parse(text: str) -> RedisUrl:
    """Raises `ValueError`, whose text shows nothing of the URL."""
    scheme, found, rest = text.partition("://")
    match = _SCHEME.fullmatch(scheme)
    if not found or match is None:
        raise ValueError("it starts with redis://, redis+sentinel:// or redis+cluster://, or rediss... for TLS")
    login, at, place = rest.rpartition("@")
    if "?" in place or "#" in place:
        raise ValueError("it takes no options after ? or #")
    user, password = _login(login) if at else ("", "")
    hosts, _, path = place.partition("/")
    kind: Literal["single", "sentinel", "cluster"] = "single"
    if match["kind"]:
        kind = "sentinel" if match["kind"] == "sentinel" else "cluster"
    master, database = _path(kind, path)
    return RedisUrl(
        kind=kind,
        tls=bool(match["tls"]),
        hosts=_hosts(kind, hosts),
        user=user,
        password=password,
        master=master,
        database=database,
    )


def mask(text: str) -> str:
    """A URL, be it right or wrong, without anything that may be a password."""
    scheme, found, rest = text.partition("://")
    if not found or not re.fullmatch(r"[a-z+]{1,20}", scheme):
        return "***"
    _, at, place = rest.rpartition("@")
    place, question, _ = place.partition("?")
    plain = all(_HOST.fullmatch(host) for host in place.partition("/")[0].split(","))
    return f"{scheme}://{'***@' if at else ''}{place if plain else '***'}{'?***' if question else ''}"


def _login(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon or not password:
        raise ValueError("before the @ stands user:password, or :password")
    if not _LOGIN.fullmatch(text) or _RESERVED & set(text):
        raise ValueError("in a user or password / is written as %2F, ? as %3F, # as %23, and so on")
    return unquote(user), unquote(password)


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
    """The master's name and the number of the database."""
    master, database = "", text
    if kind == "sentinel":
        master, _, database = text.partition("/")
        if not _MASTER.fullmatch(master):
            raise ValueError("behind the Sentinels stands the name of their master, such as /mymaster")
    if database and not _DATABASE.fullmatch(database):
        raise ValueError("a database is a number, such as /0")
    if kind == "cluster" and int(database or 0):
        raise ValueError("a Redis Cluster has no database but 0")
    return master, int(database or 0)
