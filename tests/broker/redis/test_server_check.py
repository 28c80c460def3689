from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis as client

from bench.engine import Engine
from bench.ports import free_ports
from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Unusable
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.server_check import ADVISED, ARGUMENTS, PERMISSIONS, Server, acl, identify, prepare
from mcp_actors.protocol.identifiers import NodeId
from tests.broker.redis.impostor import bulk, impostor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = Keys("checked", 0, 1)
SCRATCH = KEYS.scratch(NodeId("a"))
REDIS = Path(__file__).parents[3] / "mcp_actors" / "broker" / "redis"
ONLY_SOMETIMES = {"cluster|slots", "select"}
"""Permissions that a single server with database 0 does not need."""


@pytest.fixture
def admin(either: Engine) -> Iterator[Any]:
    """A client that may do everything."""
    with client.Redis(port=either.port, decode_responses=True) as opened:
        opened.flushall()
        yield opened
        opened.execute_command("ACL", "DELUSER", "app")


async def check(engine: Engine, access: Access | None = None) -> Server:
    connection = await RedisConnection.open(Address("127.0.0.1", engine.port), access or Access(timeout=5))
    try:
        server = await identify(connection, KEYS.pattern)
        await prepare(connection, SCRATCH, KEYS.pattern, known=False)
        return server
    finally:
        connection.close()


def allow(admin: Any, *more: str) -> Access:
    """Create a user as errors advise, then change its rules."""
    admin.execute_command(*acl("app", KEYS.pattern).split(), "on", ">secret", *more)
    return Access("app", "secret", timeout=5)


async def test_a_server_is_identified(either: Engine) -> None:
    found = await check(either)
    with client.Redis(port=either.port, decode_responses=True) as look:
        info = look.info()
    name = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    assert found == Server(info["run_id"], name, "noeviction")


async def test_a_check_leaves_nothing_behind(either: Engine, admin: Any) -> None:
    await check(either)
    assert admin.keys() == []


async def test_a_user_with_the_advised_permissions_passes(either: Engine, admin: Any) -> None:
    await check(either, allow(admin))


@pytest.mark.parametrize("permission", sorted({*PERMISSIONS} - ONLY_SOMETIMES))
async def test_a_missing_permission_is_named_with_its_remedy(either: Engine, admin: Any, permission: str) -> None:
    access = allow(admin, f"-{permission}")
    with pytest.raises(Unusable) as refusal:
        await check(either, access)
    text = str(refusal.value)
    command = permission.upper().replace("|", " ")
    assert f"127.0.0.1:{either.port} does not let the user 'app' run {command}." in text
    advised = re.search("ACL SETUSER .*", text)
    assert advised is not None
    admin.execute_command(*advised[0].split())
    await check(either, access)


async def test_all_missing_permissions_are_named_at_once(either: Engine, admin: Any) -> None:
    access = allow(admin, "-xread", "-hincrby", "-smembers")
    with pytest.raises(Unusable, match="run XREAD, HINCRBY, SMEMBERS"):
        await check(either, access)


async def test_missing_keys_are_named_with_their_remedy(either: Engine, admin: Any) -> None:
    access = allow(admin, "resetkeys", "~other:*")
    with pytest.raises(Unusable, match=r"use the keys checked:\*\..*ACL SETUSER app ~checked:\* "):
        await check(either, access)


async def test_a_server_without_memory_passes(either: Engine, admin: Any) -> None:
    admin.config_set("maxmemory", 1)
    try:
        await check(either)
    finally:
        admin.config_set("maxmemory", 0)


def test_every_command_in_use_is_checked(engine: Engine) -> None:
    with client.Redis(port=engine.port) as look:
        known = {str(name).upper() for name in look.command()}
    lua = "".join(file.read_text() for file in (REDIS / "lua").glob("*.lua"))
    python = "".join(file.read_text() for file in REDIS.glob("*.py") if file.stem != "topology")
    used = set(re.findall(r"redis\.p?call\('(\w+)'", lua)) | set(re.findall(r"\(\"([A-Z]+)\"", python)) & known
    assert used == {name.partition("|")[0].upper() for name in PERMISSIONS + ADVISED} - {"CLUSTER", "SELECT"} | {"DEL"}
    assert {"XREAD", "ZADD", "EVALSHA", "SCRIPT"} < used


def test_the_scratch_key_is_made_first_and_deleted_last() -> None:
    assert next(iter(ARGUMENTS)) == "set"
    assert [*ARGUMENTS][-1] == "del"


async def test_a_replica_is_a_lost_link() -> None:
    nobody = free_ports()
    options = ("--replicaof", f"127.0.0.1 {nobody}")
    with Engine(options=options) as replica, pytest.raises(LinkLost, match="is a replica"):
        await check(replica)


ROLE = b"*1\r\n$6\r\nmaster\r\n"
INFO = bulk("redis_version:7.0.15\r\nrun_id:abc\r\n")


@pytest.mark.parametrize(
    ("version", "usable"), [("6.0.16", False), ("6.2.0", True), ("7.0.15", True), ("10.0.0", True)]
)
async def test_a_server_that_is_too_old_is_unusable(version: str, usable: bool) -> None:
    info = bulk(f"redis_version:{version}\r\nrun_id:abc\r\n")
    async with impostor_of([ROLE + info + info]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        if usable:
            assert (await identify(connection, "*")).run_id == "abc"
        else:
            with pytest.raises(Unusable, match=r"is version 6\.0; 6\.2 or newer is needed"):
                await identify(connection, "*")
        connection.close()


@pytest.mark.parametrize(
    ("replies", "problem"),
    [
        (ROLE + 2 * bulk("redis_version:7.0.15\r\n"), "its INFO has no run_id"),
        (ROLE + 2 * bulk("run_id:abc\r\n"), "its INFO has no redis_version"),
        (ROLE + 2 * bulk("redis_version:unknown\r\nrun_id:abc\r\n"), "its INFO has the redis_version 'unknown'"),
        (ROLE + 2 * b":1\r\n", "its INFO has no redis_version"),
        (b"+master\r\n" + 2 * INFO, "it answers ROLE with b'master'"),
        (b"*0\r\n" + 2 * INFO, r"it answers ROLE with \[\]"),
        (b"-ERR unknown command 'ROLE'\r\n" + 2 * INFO, "it refuses ROLE: unknown command 'ROLE'"),
    ],
)
async def test_a_server_that_only_resembles_redis_is_not_supported(replies: bytes, problem: str) -> None:
    async with impostor_of([replies]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        with pytest.raises(Unusable, match=f"Redis at {impostor.address} is not supported: {problem}"):
            await identify(connection, "*")
        connection.close()


async def test_a_sentinel_is_not_taken_for_a_server() -> None:
    async with impostor_of([b"*1\r\n$8\r\nsentinel\r\n" + 2 * INFO]) as impostor:
        connection = await RedisConnection.open(impostor.address, Access())
        with pytest.raises(Unusable, match=r"is a Sentinel\. Name it with redis\+sentinel://"):
            await identify(connection, "*")
        connection.close()


async def test_a_command_that_a_server_does_not_know_is_named() -> None:
    problem = "is not supported: it refuses XTRIM: unknown command"
    options = ("--rename-command", "XTRIM", "")
    with Engine("redis", options=options) as engine, pytest.raises(Unusable, match=problem):
        await check(engine)
