from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import redis as client
from redis.exceptions import ResponseError

from bench.engine import Engine
from bench.ports import free_ports
from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Server, Unusable
from tests.support.loop import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from mcp_actors.broker.redis.connection import Command

TIMEOUT = 0.3
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


class Impostor:
    """A server that answers what it is told to, and remembers what it was sent. Without an answer it hangs up."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = list(answers)
        self.received = b""
        self.writers: list[asyncio.StreamWriter] = []
        self.address = Address("127.0.0.1", 0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.writers.append(writer)
        while data := await reader.read(65_536):
            if b"SETINFO" in data:  # how the client introduces itself
                writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
                continue
            self.received += data
            if not self.answers:
                break
            writer.write(self.answers.pop(0))
        writer.close()


@asynccontextmanager
async def _impostor(answers: Sequence[bytes]) -> AsyncIterator[Impostor]:
    impostor = Impostor(answers)
    server = await asyncio.start_server(impostor, "127.0.0.1", 0)
    impostor.address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield impostor
    finally:
        server.close()
        for writer in impostor.writers:
            writer.close()
        await turns(5)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Engine]:
    """A server with a password, and users of few rights."""
    with Engine() as engine:
        with client.Redis(port=engine.port) as admin:
            admin.config_set("requirepass", PASSWORD)
            admin.execute_command("ACL", "SETUSER", "ana", "on", ">secret", "~*", "+@all")
            admin.execute_command("ACL", "SETUSER", "ben", "on", ">secret", "~*", "+@all", "-info")
        yield engine


# ------------------------------------------------------------------------------------------------------------ opening


async def test_a_server_is_asked_what_it_is(either: Engine) -> None:
    connection = await RedisConnection.open(_address(either), Access(timeout=5))
    found = await connection.server()
    connection.close()
    with client.Redis(port=either.port, decode_responses=True) as look:
        info = look.info()
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    assert found == Server(info["run_id"], name, "noeviction")


async def test_a_wrong_password_will_never_do(guarded: Engine) -> None:
    for access in (Access(password="wrong"), Access("ana", "wrong"), Access("nobody", "secret")):  # noqa: S106
        with pytest.raises(Unusable, match=r"refuses the user or password of its URL") as refusal:
            await RedisConnection.open(_address(guarded), access)
        assert f"127.0.0.1:{guarded.port}" in str(refusal.value)
        assert "wrong" not in str(refusal.value)


async def test_a_missing_password_does_not_get_in(guarded: Engine) -> None:
    with pytest.raises(Unusable, match="Authentication required"):
        await RedisConnection.open(_address(guarded), Access())


@pytest.mark.parametrize("access", [Access(password=PASSWORD), Access("ana", "secret")], ids=["password", "user"])
async def test_the_right_password_gets_in(guarded: Engine, access: Access) -> None:
    connection = await RedisConnection.open(_address(guarded), access)
    assert await connection.one("SET", "key", "value") == b"OK"
    connection.close()


async def test_a_user_who_may_not_ask_for_info_is_told_so(guarded: Engine) -> None:
    connection = await RedisConnection.open(_address(guarded), Access("ben", "secret"))
    with pytest.raises(Unusable, match="refuses INFO or ROLE"):
        await connection.server()
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


async def test_nobody_at_the_address_is_a_lost_link() -> None:
    address = Address("127.0.0.1", free_ports())
    with pytest.raises(LinkLost, match=f"Redis at {address} cannot be reached"):
        await RedisConnection.open(address, Access(timeout=5))


async def test_a_name_nobody_has_is_a_lost_link() -> None:
    with pytest.raises(LinkLost, match=r"Redis at nowhere\.invalid:6379 cannot be reached"):
        await RedisConnection.open(Address("nowhere.invalid", 6379), Access(timeout=5))


async def test_a_server_that_does_not_talk_tls_is_a_lost_link(engine: Engine) -> None:
    with pytest.raises(LinkLost, match="cannot be reached"):
        await RedisConnection.open(_address(engine), Access(tls=True, timeout=TIMEOUT))


async def test_a_replica_is_a_lost_link() -> None:
    nobody = free_ports()
    with Engine(options=("--replicaof", f"127.0.0.1 {nobody}")) as replica:
        connection = await RedisConnection.open(_address(replica), Access())
        with pytest.raises(LinkLost, match="is a replica"):
            await connection.server()
        with pytest.raises(LinkLost, match=r"(?i)read only"):
            await connection.one("SET", "key", "value")


@pytest.mark.parametrize(
    ("version", "usable"), [("6.0.16", False), ("6.2.0", True), ("7.0.15", True), ("10.0.0", True)]
)
async def test_a_server_that_is_too_old_will_never_do(version: str, usable: bool) -> None:
    info = f"redis_version:{version}\r\nrun_id:abc\r\n"
    bulk = f"${len(info)}\r\n{info}\r\n"
    async with _impostor([f"{bulk}{bulk}*1\r\n$6\r\nmaster\r\n".encode()]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        if usable:
            assert (await connection.server()).run_id == "abc"
        else:
            with pytest.raises(Unusable, match=r"is version 6\.0; 6\.2 or newer is needed"):
                await connection.server()
        connection.close()


# ------------------------------------------------------------------------------------------------------------ sending


async def test_replies_come_in_the_order_of_the_commands_and_refusals_among_them(either: Engine) -> None:
    connection = await RedisConnection.open(_address(either), Access())
    commands: list[Command] = [("SET", "key", "value"), ("XADD", "key", "*", "f", "v"), ("GET", "key"), ("NONSENSE",)]
    first, refusal, value, nonsense = await connection.send(commands)
    assert (first, value) == (b"OK", b"value")
    assert isinstance(refusal, ResponseError)
    assert isinstance(nonsense, ResponseError)
    assert await connection.one("DEL", "key") == 1
    connection.close()


async def test_a_single_refused_command_raises_and_the_connection_lives(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access())
    with pytest.raises(ResponseError):
        await connection.one("NONSENSE")
    assert await connection.one("PING") == b"PONG"
    connection.close()


async def test_many_commands_go_in_one(engine: Engine) -> None:
    connection = await RedisConnection.open(_address(engine), Access(timeout=10))
    payload = bytes(1000)
    replies = await connection.send([("ECHO", payload + str(number).encode()) for number in range(2000)])
    assert replies == [payload + str(number).encode() for number in range(2000)]
    connection.close()


async def test_bytes_and_texts_arrive_as_they_are(engine: Engine) -> None:
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
    async with _impostor([f"-{error}\r\n".encode()]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        with pytest.raises(LinkLost, match="is gone"):
            await connection.send([("PING",)])


@pytest.mark.parametrize("error", ["ERR no such key", "WRONGTYPE Operation against a key", "OOM command not allowed"])
async def test_other_errors_are_replies(error: str) -> None:
    async with _impostor([f"-{error}\r\n+OK\r\n".encode()]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        refusal, following = await connection.send([("ONE",), ("TWO",)])
        assert isinstance(refusal, ResponseError)
        assert following == b"OK"
        connection.close()


async def test_a_server_that_hangs_up_is_a_lost_link_and_nothing_is_sent_twice() -> None:
    async with _impostor([]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        with pytest.raises(LinkLost, match="is gone"):
            await connection.send([("INCR", "counter"), ("INCR", "other")])
        with suppress(LinkLost):
            await connection.send([("INCR", "again")])
        connection.close()
        assert impostor.received.count(b"INCR") == 2
        assert len(impostor.writers) == 1


async def test_a_server_that_hangs_up_within_the_replies_is_a_lost_link() -> None:
    async with _impostor([b"+OK\r\n$5\r\nhal"]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access(timeout=TIMEOUT))
        with pytest.raises(LinkLost):
            await connection.send([("ONE",), ("TWO",)])
        assert impostor.received.count(b"TWO") == 1


async def test_a_server_that_stands_still_is_a_lost_link_in_time() -> None:
    with Engine() as still:
        connection = await RedisConnection.open(_address(still), Access(timeout=TIMEOUT))
        await connection.one("SET", "counter", "0")
        still.pause()
        begun = time.monotonic()
        with pytest.raises(LinkLost, match="does not answer in time"):
            await connection.send([("INCR", "counter")])
        assert TIMEOUT <= time.monotonic() - begun < TIMEOUT + 1
        begun = time.monotonic()
        with pytest.raises(LinkLost, match="cannot be reached: it does not answer in time"):
            await (await RedisConnection.open(_address(still), Access("ana", "secret", timeout=TIMEOUT))).one("PING")
        assert time.monotonic() - begun < TIMEOUT + 1
        still.resume()
        again = await RedisConnection.open(_address(still), Access())
        assert await again.one("GET", "counter") in {b"0", b"1"}
        again.close()


async def test_a_command_may_take_as_long_as_it_says(engine: Engine) -> None:
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


async def test_a_closed_connection_is_closed_for_good(engine: Engine) -> None:
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
