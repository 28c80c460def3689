"""One connection to Redis: no pool, no hidden retries, nothing sent twice.

What goes wrong closes it and raises `LinkLost`; whoever uses it decides what to send again.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

Reply = Any
Command = tuple[Any, ...]

ELSEWHERE = (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
"""Errors that say: not here, or not now; some others have no class of their own."""

NOT_NOW = ("UNBLOCKED", "NOREPLICAS", "MISCONF", "BUSY")
"""What the others begin with."""

OLDEST = (6, 2)
"""The first version that has all we use."""


class LinkLost(Exception):
    """The connection is gone, or leads to a server that cannot serve; a later one may do."""


class Unusable(Exception):
    """The server will never do; `str(error)` names what to change."""


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Access(NamedTuple):
    """How to be let in.

    `timeout`: seconds to connect, and to answer. `ca_file`: who signed the server's certificate, as PEM; empty: one of
    those this machine trusts.
    """

    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: bool = False
    timeout: float = 2.0
    ca_file: str = ""


class Server(NamedTuple):
    """What a server says of itself. `run_id` is new at each start; `policy` is its `maxmemory-policy`."""

    run_id: str
    name: str
    policy: str


class RedisConnection:
    """An open connection. One task writes commands and reads their replies; no other touches it."""

    def __init__(self, connection: Connection, address: Address, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._closed = False
        self.address = address

    @classmethod
    async def open(cls, address: Address, access: Access) -> RedisConnection:
        """Connect and authenticate. Raises `LinkLost`, or `Unusable` for a wrong password."""
        kind = partial(SSLConnection, ssl_ca_certs=access.ca_file or None) if access.tls else Connection
        connection = kind(
            host=address.host,
            port=address.port,
            username=access.username,
            password=access.password,
            db=access.database,
            socket_timeout=None,
            socket_connect_timeout=access.timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        try:
            async with asyncio.timeout(access.timeout):
                await connection.connect()  # type: ignore[no-untyped-call]
        except AuthenticationError as error:
            raise Unusable(f"Redis at {address} refuses the user or password of its URL: {_reason(error)}.") from None
        except (RedisError, OSError) as error:
            await connection.disconnect(nowait=True)
            raise LinkLost(f"Redis at {address} cannot be reached: {_reason(error)}") from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return cls(connection, address, access.timeout)

    async def send(self, commands: Sequence[Command], wait: float = 0.0) -> list[Reply]:
        """Send commands in one go, and return their replies; one that Redis refuses is a `ResponseError` among them.

        `wait`: seconds the commands may take by themselves. Raises `LinkLost`.
        """
        connection = self._connection
        if self._closed:
            raise LinkLost(f"The connection to Redis at {self.address} is closed")
        try:
            async with asyncio.timeout(self._timeout + wait):
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                replies = [await self._reply() for _ in commands]
        except AuthenticationError:
            self.close()
            raise Unusable(f"Redis at {self.address} needs a password: put it into its URL.") from None
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self.close()
            raise LinkLost(f"Redis at {self.address} is gone: {_reason(error)}") from None
        except BaseException:
            self.close()
            raise
        return replies

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except ResponseError as error:
            if isinstance(error, ELSEWHERE) or str(error).startswith(NOT_NOW):
                raise
            return error

    async def one(self, *command: Any) -> Reply:
        """Send one command. Raises `LinkLost`, or `ResponseError` if Redis refuses it."""
        (reply,) = await self.send([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def server(self) -> Server:
        """Ask the server what it is. Raises `LinkLost` if it is no primary, `Unusable` if it is too old."""
        info, memory, role = await self.send([("INFO", "server"), ("INFO", "memory"), ("ROLE",)])
        for reply in (info, memory, role):
            if isinstance(reply, ResponseError):
                raise Unusable(
                    f"Redis at {self.address} refuses INFO or ROLE, which this server needs: {_reason(reply)}."
                )
        if role[0] != b"master":
            raise LinkLost(f"Redis at {self.address} is a replica")
        found = _fields(info) | _fields(memory)
        major, minor = (int(part) for part in found["redis_version"].split(".")[:2])
        if (major, minor) < OLDEST:
            raise Unusable(f"Redis at {self.address} is version {major}.{minor}; 6.2 or newer is needed.")
        valkey = found.get("valkey_version")
        name = f"Valkey {valkey}" if valkey else f"Redis {found['redis_version']}"
        return Server(found["run_id"], name, found.get("maxmemory_policy", ""))

    def close(self) -> None:
        """Hang up at once."""
        self._closed = True
        connection = self._connection
        connection._parser.on_disconnect()  # type: ignore[no-untyped-call]  # noqa: SLF001 - `disconnect` would wait
        connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001


def _fields(info: bytes) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    return str(error).rstrip(".") or type(error).__name__
