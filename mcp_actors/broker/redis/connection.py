"""One connection to Redis: no pool, no hidden retries, nothing sent twice.

Any failure closes it and raises `LinkLost`; the caller decides what to send again.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

Reply = Any
Command = tuple[Any, ...]

NOT_HERE = (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
"""Errors that say: not here, or not now."""

NOT_NOW = ("UNBLOCKED", "NOREPLICAS", "MISCONF", "BUSY")
"""The prefixes of such errors without a class."""


RESET = struct.pack("ii", 1, 0)
"""The value of `SO_LINGER` with which a socket is reset when it is closed, and what it has queued is dropped."""

LOGINS = {
    "Redis": ("user or password", "before its host, as in redis://:password@host"),
    "The Sentinel": (
        "sentinel_username or sentinel_password",
        "as in redis+sentinel://host/name?sentinel_password=...",
    ),
}
"""The credentials of each kind of server, and where they stand in the URL."""


class LinkLost(Exception):
    """The connection is gone, or its server cannot serve; a later attempt may succeed."""


class ConnectionBroken(LinkLost):
    """A connection is gone that had worked."""


class AccessDenied(LinkLost):
    """The user of this server lost a permission; the next attempt to attach finds out what it lacks."""


class Unusable(Exception):
    """The server cannot be used; `str(error)` says what to change."""


class Address(NamedTuple):
    """The address of a server; with port 0, `host` is the path of its Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


class Tls(NamedTuple):
    """How a client and a server prove their identity to each other; files are in PEM format.

    `ca_file`: the authority that signed the server's certificate; empty for those that this machine trusts.
    `cert_file`, `key_file`: the certificate of the client; the key may be in the certificate file. `verify` the
    certificate of the server, and with `check_hostname` that it is for the name in the address.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True
    check_hostname: bool = True


class Access(NamedTuple):
    """Credentials and limits. `timeout`: seconds to connect, and for a reply. `what` is a key of `LOGINS`."""

    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: Tls | None = None
    timeout: float = 2.0
    what: str = "Redis"


class RedisConnection:
    """An open connection, used by one task at a time."""

    def __init__(self, connection: AbstractConnection, address: Address, access: Access) -> None:
        self._connection = connection
        self._access = access
        self._closed = False
        self._has_replied = False
        self.address = address
        self.user = access.username or "default"

    def __str__(self) -> str:
        """Name the server, as errors do."""
        return f"{self._access.what} at {self.address}"

    @classmethod
    async def open(cls, address: Address, access: Access) -> RedisConnection:
        """Connect and authenticate. Raises `LinkLost`, or `Unusable` if the server or a file refuses the access."""
        where = f"{access.what} at {address}"
        connection = _connection(address, access)
        try:
            if isinstance(connection, SSLConnection):
                _load_files(connection, where)
            async with asyncio.timeout(access.timeout):
                await connection.connect()  # type: ignore[no-untyped-call]
        except AuthenticationError as error:
            raise Unusable(_login_problem(where, access, error)) from None
        except ResponseError as error:
            await connection.disconnect(nowait=True)
            if isinstance(error, NOT_HERE):
                raise LinkLost(f"{where} cannot be reached: {_reason(error)}") from None
            raise Unusable(f"{where} refuses to select database {access.database}: {_reason(error)}.") from None
        except (RedisError, OSError) as error:
            await connection.disconnect(nowait=True)
            raise LinkLost(f"{where} cannot be reached: {_reason(error)}{_hint(error, access)}") from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return cls(connection, address, access)

    async def send(self, commands: Sequence[Command], wait: float = 0.0) -> list[Reply]:
        """Send commands at once and return their replies, `ResponseError` for a refused one. Raises `LinkLost`.

        `wait`: seconds that the commands may take by themselves.
        """
        connection = self._connection
        if self._closed:
            raise LinkLost(f"The connection to {self} is closed")
        try:
            async with asyncio.timeout(self._access.timeout + wait):
                await connection.send_packed_command(map(pack_command, commands), check_health=False)
                replies = [await self._reply() for _ in commands]
        except AuthenticationError as error:
            self.close()
            raise Unusable(_login_problem(str(self), self._access, error)) from None
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self.close()
            if self._has_replied:
                raise ConnectionBroken(f"{self} is gone: {_reason(error)}") from None
            raise LinkLost(f"{self} is gone: {_reason(error)}{_hint(error, self._access)}") from None
        except BaseException:
            self.close()
            raise
        self._has_replied = True
        return replies

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except ResponseError as error:
            if isinstance(error, NOT_HERE) or str(error).startswith(NOT_NOW):
                raise
            return error

    async def one(self, *command: Any) -> Reply:
        """Send one command and return its reply. Raises `LinkLost`, or `ResponseError` if Redis refuses it."""
        (reply,) = await self.send([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def close(self) -> None:
        """Close the connection at once: with TLS, waiting for the goodbye of a dead server would take long.

        Bytes that the kernel has not sent yet are dropped. Else they would arrive when the network works again; see
        `FormerConnections` for those that it has sent.
        """
        self._closed = True
        connection = self._connection
        writer: asyncio.StreamWriter | None = connection._writer  # noqa: SLF001
        if writer is not None:
            with suppress(OSError, ValueError, AttributeError):  # there is no socket, or no more
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        connection._parser.on_disconnect()  # type: ignore[no-untyped-call]  # noqa: SLF001 - `disconnect` would wait
        connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001


def words(reply: Reply) -> list[Any]:
    """The reply of a script: a word, and what follows it. Raises `LinkLost` if it is something else."""
    if isinstance(reply, list) and reply and isinstance(reply[0], bytes):
        return reply
    raise unexpected(reply)


def texts(reply: Reply) -> list[bytes]:
    """A reply that is a list of strings. Raises `LinkLost` if it is something else."""
    if isinstance(reply, list) and all(isinstance(one, bytes) for one in reply):
        return reply
    raise unexpected(reply)


def pairs(reply: Reply) -> list[tuple[bytes, list[Any]]]:
    """A reply that is a list of names with lists, such as the entries of a stream; empty for none.

    Raises `LinkLost` if it is something else.
    """
    found = [] if reply is None else reply
    if isinstance(found, list) and all(
        isinstance(one, list) and len(one) == 2 and isinstance(one[0], bytes) and isinstance(one[1], list)  # noqa: PLR2004
        for one in found
    ):
        return [(name, values) for name, values in found]
    raise unexpected(reply)


def unexpected(reply: Reply) -> LinkLost:
    """Return the error for a reply that makes no sense."""
    if isinstance(reply, ResponseError):
        kind = AccessDenied if isinstance(reply, NoPermissionError) else LinkLost
        return kind(f"Redis refused a request: {reply}")
    return LinkLost(f"Redis gave an unexpected reply: {reply!r}")


def _connection(address: Address, access: Access) -> AbstractConnection:
    common: dict[str, Any] = {
        "username": access.username,
        "password": access.password,
        "db": access.database,
        "socket_timeout": None,
        "socket_connect_timeout": access.timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,  # or CLIENT SETINFO is sent, which the user may not be allowed
    }
    if not address.port:
        return UnixDomainSocketConnection(path=address.host, **common)
    if access.tls is None:
        return Connection(host=address.host, port=address.port, **common)
    return SSLConnection(
        host=address.host,
        port=address.port,
        ssl_ca_certs=access.tls.ca_file or None,
        ssl_certfile=access.tls.cert_file or None,
        ssl_keyfile=access.tls.key_file or None,
        ssl_cert_reqs="required" if access.tls.verify else "none",
        ssl_check_hostname=access.tls.check_hostname,
        **common,
    )


def _login_problem(where: str, access: Access, error: AuthenticationError) -> str:
    names, place = LOGINS[access.what]
    if access.username or access.password:
        return f"{where} refuses the {names} of its URL: {_reason(error)}."
    return f"{where} needs a password: put it into its URL {place}."


def _load_files(connection: SSLConnection, where: str) -> None:
    context = connection.ssl_context
    try:
        context.get()
    except (OSError, ValueError) as error:
        files = ", ".join(filter(None, (context.ca_certs, context.certfile, context.keyfile)))
        why = getattr(error, "reason", None) or _reason(error)
        raise Unusable(f"The TLS files for {where} cannot be used ({why}): {files}.") from None


def _hint(error: BaseException, access: Access) -> str:
    """Text about what is probably wrong with TLS, if a server breaks off before its first reply."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return ". Set MCP_ACTORS_REDIS_CA_FILE to the file of the authority that signed it"
    if access.tls is None:
        gone = isinstance(error, ConnectionError | RedisConnectionError) and "connecting to" not in text
        return ". If it expects TLS, begin its URL with rediss" if gone else ""
    if isinstance(error, TimeoutError | RedisTimeoutError) or "WRONG_VERSION" in text:
        return ". If it does not speak TLS, begin its URL with redis"
    if not access.tls.cert_file and "connecting to" not in text:
        files = "MCP_ACTORS_REDIS_CERT_FILE and MCP_ACTORS_REDIS_KEY_FILE"
        return f". If it wants a certificate of its clients, set {files}"
    return ""


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return "it does not answer in time"
    return str(error).rstrip(".") or type(error).__name__
