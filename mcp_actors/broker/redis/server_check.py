"""A check that a server lets this node do all that it will need: every command, on the keys of the deployment.

Each command is sent to a scratch key that holds a string, so that most of them are refused as the wrong type, which
Redis says after it has looked at the permissions. Nothing else is read or written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import NoPermissionError, OutOfMemoryError, ResponseError

from mcp_actors.broker.redis.connection import LinkLost, Unusable
from mcp_actors.broker.redis.scripts import CHECK, SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.broker.redis.connection import Command, RedisConnection, Reply

OLDEST = (6, 2)
"""The first version with all the commands in use."""

SCRATCH_MS = 60_000
"""How long a scratch key can outlive a check that was interrupted."""

ARGUMENTS: dict[str, tuple[str | int, ...]] = {
    "set": ("1", "PX", SCRATCH_MS),  # first: it gives the scratch key its type
    "exists": (),
    "hdel": ("field",),
    "hget": ("field",),
    "hgetall": (),
    "hkeys": (),
    "hlen": (),
    "hincrby": ("field", 1),
    "hmget": ("field",),
    "hset": ("field", "value"),
    "hsetnx": ("field", "value"),
    "hvals": (),
    "sadd": ("member",),
    "sismember": ("member",),
    "smembers": (),
    "srem": ("member",),
    "sscan": (0,),
    "type": (),
    "xdel": ("0-0",),
    "xadd": ("NOMKSTREAM", "MAXLEN", "~", 1, "*", "field", "value"),
    "xlen": (),
    "xrange": ("-", "+", "COUNT", 1),
    "xrevrange": ("+", "-", "COUNT", 1),
    "xtrim": ("MINID", "~", 0),
    "zadd": (1, "member"),
    "zcard": (),
    "zcount": ("-inf", 0),
    "zrange": (0, -1),
    "zrangebyscore": ("-inf", 0, "WITHSCORES", "LIMIT", 0, 1),
    "zrem": ("member",),
    "zscore": ("member",),
    "pexpire": (SCRATCH_MS,),
    "del": (),  # last
}
"""The commands that name one key, and the arguments behind it."""

PERMISSIONS = ("info", "role", "select", "cluster|slots", "script|load", "evalsha", "time", "xread", *ARGUMENTS)
"""The permissions that a user of this server needs, as an ACL writes them."""

ADVISED = ("client|id", "client|kill", "client|list", "client|setname")
"""Permissions without which sessions wait longer for a node that was killed (see `ConnectedNodes`), and requests may be
carried out late (see `FormerConnections`).
"""


def acl(user: str, pattern: str) -> str:
    """The command that gives a user what this server needs, for keys that match a pattern."""
    return f"ACL SETUSER {user} ~{pattern} {' '.join(f'+{name}' for name in sorted(PERMISSIONS + ADVISED))}"


class Server(NamedTuple):
    """Facts about a server. `run_id` is new at each start; `policy` is its `maxmemory-policy`."""

    run_id: str
    name: str
    policy: str


async def identify(connection: RedisConnection, pattern: str) -> Server:
    """Identify a server. Raises `LinkLost` if it is no primary, `Unusable` if it cannot be used.

    `pattern` matches all keys of the deployment.
    """
    role, server, memory = await connection.send([("ROLE",), ("INFO", "server"), ("INFO", "memory")])
    _judge(connection, pattern, [("role", role), ("info", server), ("info", memory)])
    if not (isinstance(role, list) and role):
        raise _unsupported(connection, f"it answers ROLE with {role!r}")
    if role[0] == b"sentinel":
        raise Unusable(f"{connection} is a Sentinel. Name it with redis+sentinel://, and its primary behind a slash.")
    if role[0] != b"master":
        raise LinkLost(f"{connection} is a replica")
    found = _fields(server) | _fields(memory)
    for name in ("redis_version", "run_id"):
        if not found.get(name):
            raise _unsupported(connection, f"its INFO has no {name}")
    version = re.match(r"(\d+)\.(\d+)", found["redis_version"])
    if version is None:
        raise _unsupported(connection, f"its INFO has the redis_version {found['redis_version']!r}")
    if (int(version[1]), int(version[2])) < OLDEST:
        raise Unusable(f"{connection} is version {version[0]}; 6.2 or newer is needed.")
    valkey = found.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {found['redis_version']}"
    return Server(found["run_id"], name, found.get("maxmemory_policy", ""))


async def prepare(connection: RedisConnection, scratch: str, pattern: str, *, known: bool) -> None:
    """Load the scripts, and try all commands unless the server is `known`. Raises `LinkLost` and `Unusable`.

    `scratch` is a key that nobody else uses.
    """
    commands: list[tuple[str, Command]] = [("script load", ("SCRIPT", "LOAD", script.text)) for script in SCRIPTS]
    if not known:
        commands += [("time", ("TIME",)), ("xread", ("XREAD", "COUNT", 1, "STREAMS", scratch, "0-0"))]
        commands += [(name, (name.upper(), scratch, *arguments)) for name, arguments in ARGUMENTS.items()]
    replies = await connection.send([command for _, command in commands])
    _judge(connection, pattern, [(name, reply) for (name, _), reply in zip(commands, replies, strict=True)])
    if not known:
        (reply,) = await connection.send([CHECK.call([scratch], [])])
        _judge(connection, pattern, [("evalsha", reply)])


def _judge(connection: RedisConnection, pattern: str, tried: Sequence[tuple[str, Reply]]) -> None:
    """Raise `Unusable` for replies that say that a command cannot be used."""
    errors = {name: reply for name, reply in tried if isinstance(reply, ResponseError)}
    denied = {name: str(error) for name, error in errors.items() if isinstance(error, NoPermissionError)}
    if denied:
        commands = [name.upper() for name, text in denied.items() if "to run the" in text]
        what = f"run {', '.join(commands)}" if commands else f"use the keys {pattern}"
        allow = f"Allow what this server needs: {acl(connection.user, pattern)}"
        raise Unusable(f"{connection} does not let the user {connection.user!r} {what}. {allow}")
    for name, error in errors.items():
        if not isinstance(error, OutOfMemoryError) and not str(error).startswith("WRONGTYPE"):
            raise _unsupported(connection, f"it refuses {name.upper()}: {error}")


def _unsupported(connection: RedisConnection, why: str) -> Unusable:
    return Unusable(f"{connection} is not supported: {why}. Use Redis 6.2 or newer, or Valkey.")


def _fields(info: Reply) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)
