from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import redis as client
from redis.exceptions import ResponseError

from bench.engine import Engine
from bench.ports import free_ports
from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Tls, Unusable
from tests.broker.redis.impostor import impostor_of
from tests.support.certificate import make_certificate
from tests.support.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcp_actors.broker.redis.connection import Command

TIMEOUT = 0.3
CLOCK = 0.01
"""Seconds by which a timer of the loop may be early."""
PASSWORD = "päss word"  # noqa: S105 - of a server that lives for these tests
LOST = [
    "MOVED 1234 127.0.0.1:7001",
    "ASK 1234 127.0.0.1:7001",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down",
    "UNBLOCKED the stream key no longer exists",
    "NOSCRIPT No matching script.",
    "NOREPLICAS Not enough good replicas to write.",
    "MISCONF Errors writing to the AOF file",
    "BUSY Redis is busy running a script.",
]


def _address(engine: Engine) -> Address:
    return Address("127.0.0.1", engine.port)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Engine]:
    """A server with a password, and users of few rights."""
    with Engine() as engine:
        with client.Redis(port=engine.port) as admin:
            admin.config_set("requirepass", PASSWORD)
            admin.execute_command("ACL", "SETUSER", "ana", "on", ">secret", "~*", "+@all")
            admin.execute_command("ACL", "SETUSER", "ben", "on", ">secret", "~*", "+@all", "-info")
        yield engine


async def test_a_wrong_password_is_unusable(guarded: Engine) -> None:
    for access in (Access(password="wrong"), Access("ana", "wrong"), Access("nobody", "secret")):  # noqa: S106
        with pytest.raises(Unusable, match=r"refuses the user or password of its URL") as refusal:
            await RedisConnection.open(_address(guarded), access)
        assert f"127.0.0.1:{guarded.port}" in str(refusal.value)
        assert "wrong" not in str(refusal.value)


async def test_a_missing_password_is_unusable(guarded: Engine) -> None:
    connection = await RedisConnection.open(_address(guarded), Access())
    with pytest.raises(Unusable, match="needs a password: put it into its URL before its host"):
        await connection.one("PING")


async def test_a_database_that_does_not_exist_is_unusable(engine: Engine) -> None:
    with pytest.raises(Unusable, match="refuses to select database 99: DB index is out of range"):
        await RedisConnection.open(_address(engine), Access(database=99))


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    socket = str(tmp_path / "redis.sock")
    address = Address(socket, 0)
    with pytest.raises(LinkLost, match=f"Redis at {socket} cannot be reached"):
        await RedisConnection.open(address, Access())
    with Engine(options=("--unixsocket", socket)):
        connection = await RedisConnection.open(address, Access())
        assert await connection.one("ECHO", "here") == b"here"
        connection.close()


async def test_nodes_meet_at_a_unix_socket_with_a_password_and_a_database(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    with Engine(options=("--unixsocket", str(socket))) as engine, client.Redis(port=engine.port, db=1) as admin:
        admin.config_set("requirepass", PASSWORD)
        url = f"unix://:{quote(PASSWORD)}@{socket}?db=1"
        nodes = [Server(tmp_path, redis_url=url) for _ in range(2)]
        for node in nodes:
            await node.start()
        one, other = [await node.peer() for node in nodes]
        await one.join("r", "1")
        assert len((await other.join("r", "2"))["peers"]) == 2
        assert admin.dbsize() > 0
        for node in nodes:
            await node.stop()
        admin.config_set("requirepass", "")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a key and a certificate for 127.0.0.1, which signs itself."""
    return str(make_certificate(tmp_path_factory.mktemp("tls") / "redis.pem"))


@pytest.fixture(scope="module")
def strict(certificate: str) -> Iterator[Address]:
    """A server with TLS that wants the certificates of its clients."""
    port = free_ports()
    files = ("--tls-cert-file", certificate, "--tls-key-file", certificate, "--tls-ca-cert-file", certificate)
    with Engine("redis", options=("--tls-port", str(port), *files)):
        yield Address("127.0.0.1", port)


async def _ping(address: Address, tls: Tls | None, **access: Any) -> bytes:
    connection = await RedisConnection.open(address, Access(tls=tls, **access))
    try:
        reply: bytes = await connection.one("PING")
        return reply
    finally:
        connection.close()


async def test_a_client_certificate_is_shown(strict: Address, certificate: str) -> None:
    assert await _ping(strict, Tls(certificate, certificate, certificate)) == b"PONG"
    assert await _ping(strict, Tls(certificate, certificate)) == b"PONG"
    assert await _ping(strict, Tls("", certificate, certificate, verify=False)) == b"PONG"


@pytest.mark.parametrize("access", [{}, {"username": "ana", "password": "secret"}], ids=["plain", "user"])
async def test_a_missing_client_certificate_is_named(strict: Address, certificate: str, access: dict[str, str]) -> None:
    with pytest.raises(LinkLost, match="set MCP_ACTORS_REDIS_CERT_FILE and MCP_ACTORS_REDIS_KEY_FILE"):
        await _ping(strict, Tls(certificate), **access)


async def test_a_missing_authority_is_named(strict: Address, certificate: str) -> None:
    with pytest.raises(LinkLost, match="Set MCP_ACTORS_REDIS_CA_FILE"):
        await _ping(strict, Tls("", certificate, certificate))


async def test_a_host_name_need_not_match_the_certificate(strict: Address, certificate: str) -> None:
    elsewhere = Address("127.1", strict.port)  # another name of 127.0.0.1
    with pytest.raises(LinkLost, match="mismatch"):
        await _ping(elsewhere, Tls(certificate, certificate))
    assert await _ping(elsewhere, Tls(certificate, certificate, check_hostname=False)) == b"PONG"


async def test_tls_files_that_cannot_be_used_are_named(strict: Address, certificate: str, tmp_path: Path) -> None:
    other, key = tmp_path / "other.pem", tmp_path / "other.key"
    make_certificate(other, key)
    with pytest.raises(Unusable, match=r"cannot be used \(KEY_VALUES_MISMATCH\): .*other.pem"):
        await _ping(strict, Tls(certificate, str(other), certificate))
    with pytest.raises(Unusable, match=r"The TLS files for Redis at .* cannot be used .*missing.pem"):
        await _ping(strict, Tls(str(tmp_path / "missing.pem")))


async def test_a_server_that_expects_tls_is_told_apart(strict: Address) -> None:
    with pytest.raises(LinkLost, match="If it expects TLS, begin its URL with rediss"):
        await _ping(strict, None)


@pytest.mark.parametrize("access", [Access(password=PASSWORD), Access("ana", "secret")], ids=["password", "user"])
async def test_the_right_password_is_accepted(guarded: Engine, access: Access) -> None:
    connection = await RedisConnection.open(_address(guarded), access)
    assert await connection.one("SET", "key", "value") == b"OK"
    connection.close()


async def test_the_database_of_the_url_is_used(either: Engine) -> None:
    connection = await RedisConnection.open(_address(either), Access(database=3))
    await connection.one("SET", "where", "three")
    connection.close()
    with client.Redis(port=either.port, db=3) as look:
        assert look.get("where") == b"three"
        look.flushdb()
    with client.Redis(port=either.port, db=0) as look:
        assert look.get("where") is None


async def test_a_closed_port_is_a_lost_link() -> None:
    address = Address("127.0.0.1", free_ports())
    with pytest.raises(LinkLost, match=f"Redis at {address} cannot be reached"):
        await RedisConnection.open(address, Access(timeout=5))


async def test_an_unknown_host_is_a_lost_link() -> None:
    with pytest.raises(LinkLost, match=r"Redis at nowhere\.invalid:6379 cannot be reached"):
        await RedisConnection.open(Address("nowhere.invalid", 6379), Access(timeout=5))


async def test_a_server_without_tls_is_a_lost_link(engine: Engine) -> None:
    with pytest.raises(LinkLost, match=r"cannot be reached.*does not speak TLS"):
        await RedisConnection.open(_address(engine), Access(tls=Tls(), timeout=TIMEOUT))


async def test_replies_and_refusals_come_in_the_order_of_the_commands(either: Engine) -> None:
    connection = await RedisConnection.open(_address(either), Access())
    commands: list[Command] = [("SET", "key", "value"), ("XADD", "key", "*", "f", "v"), ("GET", "key"), ("NONSENSE",)]
    first, refusal, value, nonsense = await connection.send(commands)
    assert (first, value) == (b"OK", b"value")
    assert isinstance(refusal, ResponseError)
    assert isinstance(nonsense, ResponseError)
    assert await connection.one("DEL", "key") == 1
    connection.close()


async def test_a_single_refused_command_raises_and_keeps_the_connection(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access())
    with pytest.raises(ResponseError):
        await connection.one("NONSENSE")
    assert await connection.one("PING") == b"PONG"
    connection.close()


async def test_many_commands_are_sent_at_once(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access(timeout=10))
    payload = bytes(1000)
    replies = await connection.send([("ECHO", payload + str(number).encode()) for number in range(2000)])
    assert replies == [payload + str(number).encode() for number in range(2000)]
    connection.close()


async def test_bytes_and_text_arrive_unchanged(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access())
    assert await connection.one("ECHO", bytes(range(256))) == bytes(range(256))
    assert await connection.one("ECHO", "\U0001f980\n") == "\U0001f980\n".encode()
    connection.close()


async def test_a_script_that_is_not_loaded_is_a_lost_link(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access())
    with pytest.raises(LinkLost):
        await connection.send([("EVALSHA", "0" * 40, 0)])


@pytest.mark.parametrize("error", LOST, ids=[error.split()[0] for error in LOST])
async def test_a_server_that_cannot_serve_now_is_a_lost_link(error: str) -> None:
    async with impostor_of([f"-{error}\r\n".encode()]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        with pytest.raises(LinkLost, match="is gone"):
            await connection.send([("PING",)])


@pytest.mark.parametrize("error", ["ERR no such key", "WRONGTYPE Operation against a key", "OOM command not allowed"])
async def test_other_errors_are_replies(error: str) -> None:
    async with impostor_of([f"-{error}\r\n+OK\r\n".encode()]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        refusal, following = await connection.send([("ONE",), ("TWO",)])
        assert isinstance(refusal, ResponseError)
        assert following == b"OK"
        connection.close()


async def test_a_closed_connection_is_a_lost_link_and_nothing_is_sent_twice() -> None:
    async with impostor_of([]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        with pytest.raises(LinkLost, match="is gone"):
            await connection.send([("INCR", "counter"), ("INCR", "other")])
        with suppress(LinkLost):
            await connection.send([("INCR", "again")])
        connection.close()
        assert impostor.received.count(b"INCR") == 2
        assert len(impostor.writers) == 1


async def test_a_connection_closed_within_the_replies_is_a_lost_link() -> None:
    async with impostor_of([b"+OK\r\n$5\r\nhal"]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access(timeout=TIMEOUT))
        with pytest.raises(LinkLost):
            await connection.send([("ONE",), ("TWO",)])
        assert impostor.received.count(b"TWO") == 1


async def test_an_unresponsive_server_is_a_lost_link_after_the_timeout() -> None:
    with Engine() as still:
        connection = await RedisConnection.open(_address(still), Access(timeout=TIMEOUT))
        await connection.one("SET", "counter", "0")
        still.pause()
        begun = time.monotonic()
        with pytest.raises(LinkLost, match="does not answer in time"):
            await connection.send([("INCR", "counter")])
        assert time.monotonic() - begun > TIMEOUT - CLOCK
        with pytest.raises(LinkLost, match="cannot be reached: it does not answer in time"):
            await (await RedisConnection.open(_address(still), Access("ana", "secret", timeout=TIMEOUT))).one("PING")
        still.resume()
        again = await RedisConnection.open(_address(still), Access())
        assert await again.one("GET", "counter") in {b"0", b"1"}
        again.close()


async def test_a_command_may_take_as_long_as_announced(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access(timeout=TIMEOUT))
    begun = time.monotonic()
    block = ("XREAD", "BLOCK", int(TIMEOUT * 1500), "STREAMS", "nothing", "0-0")
    assert await connection.send([block], wait=2 * TIMEOUT) == [None]
    assert time.monotonic() - begun > TIMEOUT
    with pytest.raises(LinkLost, match="does not answer in time"):
        await connection.send([block])


async def test_a_cancelled_sender_leaves_no_reply_for_the_next(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access())
    sending = asyncio.create_task(connection.send([("XREAD", "BLOCK", 5000, "STREAMS", "nothing", "0-0")], wait=5))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await _is_closed(connection)


async def test_a_closed_connection_stays_closed(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access())
    connection.close()
    connection.close()
    await _is_closed(connection)


async def _is_closed(connection: RedisConnection) -> None:
    """It does not connect anew by itself: nobody would have asked that server what it is."""
    try:
        with pytest.raises(LinkLost):
            await connection.send([("PING",)])
    finally:
        connection.close()


async def test_closing_a_connection_drops_what_was_not_sent() -> None:
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        try:
            await reader.read()
        except ConnectionResetError as error:
            ended.set_result(error)
        else:
            ended.set_result(None)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        connection = await RedisConnection.open(address, Access())
        await begun.wait()
        connection.close()
        assert isinstance(await ended, ConnectionResetError)
