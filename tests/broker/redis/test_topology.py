from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis as client

from bench import engine_sets
from bench.engine import Engine
from bench.engine_sets import NAME, SLOTS, ClusterSet, SentinelSet, ask
from bench.ports import free_ports
from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Tls, Unusable
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.server_check import acl, identify, prepare
from mcp_actors.broker.redis.topology import (
    CLUSTER_BUCKETS,
    SINGLE_BUCKETS,
    Cluster,
    Sentinel,
    Single,
    topology_of,
)
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.redis_url import parse
from tests.broker.redis.impostor import impostor_of
from tests.support.certificate import make_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


ACCESS = Access(timeout=2)


def _address(engine: Engine) -> Address:
    return Address("127.0.0.1", engine.port)


@pytest.fixture(scope="module")
def watched() -> Iterator[SentinelSet]:
    with SentinelSet(sentinels=1) as engines:
        yield engines


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterSet]:
    with ClusterSet() as engines:
        yield engines


def test_a_url_of_one_server_is_that_server() -> None:
    topology = topology_of(parse("rediss://ana:secret@example.org:7000/3"), 4.0)
    assert isinstance(topology, Single)
    assert topology.buckets == SINGLE_BUCKETS
    assert topology.access == Access("ana", "secret", 3, tls=Tls(), timeout=4.0)


def test_a_url_without_a_user_names_none() -> None:
    assert topology_of(parse("redis://example.org"), 1.0).access == Access(None, None, 0, timeout=1.0)


@pytest.mark.parametrize(
    ("url", "kind", "buckets"),
    [
        ("redis+sentinel://one:1,two:2/main/4", Sentinel, SINGLE_BUCKETS),
        ("redis+cluster://one:1,two:2", Cluster, CLUSTER_BUCKETS),
    ],
)
def test_a_url_of_several_servers_is_what_its_scheme_says(url: str, kind: type, buckets: int) -> None:
    topology = topology_of(parse(url), 1.0)
    assert isinstance(topology, kind)
    assert topology.buckets == buckets


async def test_one_server_is_the_primary_of_every_slot() -> None:
    address = Address("example.org", 7000)
    single = Single(address, ACCESS)
    assert await single.primary(0) == await single.primary(SLOTS - 1) == address


async def test_a_sentinel_names_the_primary(watched: SentinelSet) -> None:
    topology = topology_of(parse(watched.url), 2.0)
    assert await topology.primary(0) == _address(watched.engines[0])


async def test_an_unresponsive_sentinel_is_skipped(watched: SentinelSet) -> None:
    dead, alive = Address("127.0.0.1", free_ports()), _address(watched.sentinels[0])
    topology = Sentinel([dead, alive], NAME, ACCESS, ACCESS)
    assert await topology.primary(0) == _address(watched.engines[0])
    assert topology._sentinels == [alive, dead]


async def test_a_server_that_is_no_sentinel_is_skipped(watched: SentinelSet) -> None:
    topology = Sentinel([_address(watched.engines[0]), _address(watched.sentinels[0])], NAME, ACCESS, ACCESS)
    assert await topology.primary(0) == _address(watched.engines[0])


async def test_a_primary_that_no_sentinel_knows_is_a_lost_link(watched: SentinelSet) -> None:
    topology = Sentinel([_address(watched.sentinels[0])], "another", ACCESS, ACCESS)
    with pytest.raises(LinkLost, match=r"knows no primary named 'another'"):
        await topology.primary(0)


async def test_sentinels_that_are_all_gone_are_a_lost_link() -> None:
    topology = Sentinel([Address("127.0.0.1", free_ports())], NAME, ACCESS, ACCESS)
    with pytest.raises(LinkLost, match=f"No Sentinel names the primary '{NAME}': .*cannot be reached"):
        await topology.primary(0)


async def test_a_sentinel_is_not_told_the_password_of_the_primary(watched: SentinelSet) -> None:
    secret = Access("nobody", "secret", 5, timeout=2)
    topology = Sentinel([_address(watched.sentinels[0])], NAME, secret, ACCESS)
    assert await topology.primary(0) == _address(watched.engines[0])


@pytest.mark.parametrize(
    ("url", "primary", "sentinels"),
    [
        ("redis+sentinel://ana:secret@a/m", ("ana", "secret", False), (None, None, False)),
        ("redis+sentinel://a/m?sentinel_password=own&sentinel_tls=yes", (None, None, False), (None, "own", True)),
        ("rediss+sentinel://a/m?sentinel_tls=no", (None, None, True), (None, None, False)),
        ("rediss+sentinel://a/m?sentinel_username=ben", (None, None, True), ("ben", None, True)),
    ],
)
def test_sentinels_have_a_login_and_tls_of_their_own(
    url: str, primary: tuple[object, ...], sentinels: tuple[object, ...]
) -> None:
    topology = topology_of(parse(url), 1.0)
    assert isinstance(topology, Sentinel)
    found: list[tuple[object, ...]] = [
        (one.username, one.password, one.tls is not None) for one in (topology.access, topology._sentinel_access)
    ]
    assert found == [primary, sentinels]


def test_files_of_tls_are_those_of_the_url_or_of_the_settings() -> None:
    files = Tls("ca.pem", "cert.pem", "key.pem")
    for url, expected in [
        ("rediss://a", files),
        ("rediss://a?ssl_ca_certs=other.pem", files._replace(ca_file="other.pem")),
        ("rediss://a?ssl_certfile=both.pem", files._replace(cert_file="both.pem", key_file="")),
        ("rediss://a?ssl_cert_reqs=none", files._replace(verify=False)),
    ]:
        assert topology_of(parse(url), 1.0, files).access.tls == expected
    assert topology_of(parse("redis://a"), 1.0, files).access.tls is None


class TlsSentinel(engine_sets.Sentinel):
    """A Sentinel with further options."""

    def _persistence(self) -> Sequence[str]:
        return self.options


@contextmanager
def _tls_sentinel(watched: int, *options: str) -> Iterator[Engine]:
    sentinel = TlsSentinel("redis", port=free_ports(), watched=watched, quorum=1)
    sentinel.options = options
    with sentinel:
        yield sentinel


def _tls(certificate: str, port: int) -> tuple[str, ...]:
    files = ("--tls-cert-file", certificate, "--tls-key-file", certificate, "--tls-ca-cert-file", certificate)
    return ("--tls-port", str(port), *files)


async def test_sentinels_may_use_tls_before_a_primary_without(watched: SentinelSet, tmp_path: Path) -> None:
    file, port, primary = str(make_certificate(tmp_path / "s.pem")), free_ports(), watched.engines[0].port
    with _tls_sentinel(primary, *_tls(file, port)):
        url = f"redis+sentinel://127.0.0.1:{port}/{NAME}?sentinel_tls=yes"
        topology = topology_of(parse(url), 5.0, Tls(file, file))
        address = await topology.primary(0)
        assert address == Address("127.0.0.1", primary)
        (await RedisConnection.open(address, topology.access)).close()


async def test_sentinels_may_do_without_tls_before_a_primary_with_it(tmp_path: Path) -> None:
    file, port = str(make_certificate(tmp_path / "s.pem")), free_ports()
    with (
        Engine("redis", options=_tls(file, port)),
        _tls_sentinel(port, *_tls(file, 0), "--tls-replication", "yes") as s,
    ):
        url = f"rediss+sentinel://127.0.0.1:{s.port}/{NAME}?sentinel_tls=no&ssl_ca_certs={file}&ssl_certfile={file}"
        topology = topology_of(parse(url), 5.0)
        address = await topology.primary(0)
        assert address == Address("127.0.0.1", port)
        connection = await RedisConnection.open(address, topology.access)
        assert await connection.one("ECHO", "over TLS") == b"over TLS"
        connection.close()


async def test_sentinels_with_a_password_are_asked_with_it(watched: SentinelSet) -> None:
    sentinel = watched.sentinels[0]
    ask(sentinel, "ACL SETUSER", "default", "resetpass", ">own")
    ask_as_default = Access(password="own", timeout=2)  # noqa: S106
    addresses = [_address(sentinel)]
    try:
        with pytest.raises(
            Unusable, match=rf"The Sentinel at 127.0.0.1:{sentinel.port} needs a password.*sentinel_pas"
        ):
            await topology_of(parse(f"redis+sentinel://:other@127.0.0.1:{sentinel.port}/{NAME}"), 2.0).primary(0)
        wrong = f"redis+sentinel://127.0.0.1:{sentinel.port}/{NAME}?sentinel_password=wrong"
        with pytest.raises(Unusable, match=r"The Sentinel at .* refuses the sentinel_username or sentinel_password"):
            await topology_of(parse(wrong), 2.0).primary(0)
        right = wrong.replace("wrong", "own")
        assert await topology_of(parse(right), 2.0).primary(0) == _address(watched.engines[0])
        two = Sentinel([*addresses, *addresses], NAME, ACCESS, ask_as_default)
        assert await two.primary(0) == _address(watched.engines[0])
    finally:
        with client.Redis(port=sentinel.port, password="own") as admin:  # noqa: S106
            admin.execute_command("ACL SETUSER", "default", "nopass")


@pytest.mark.parametrize(
    "reply", [b"+OK\r\n", b"*1\r\n$1\r\na\r\n", b"*2\r\n:1\r\n:2\r\n", b"-ERR unknown command\r\n"]
)
async def test_unexpected_replies_of_sentinels_are_a_lost_link(reply: bytes) -> None:
    async with impostor_of([reply]) as impostor:
        with pytest.raises(LinkLost, match=f"The Sentinel at {impostor.address} "):
            await Sentinel([impostor.address], NAME, ACCESS, ACCESS).primary(0)


@pytest.mark.parametrize("reply", [b"+OK\r\n", b"*1\r\n:1\r\n", b"*1\r\n*3\r\n:0\r\n:9\r\n$1\r\na\r\n"])
async def test_unexpected_replies_of_a_cluster_are_a_lost_link(reply: bytes) -> None:
    async with impostor_of([reply]) as impostor:
        with pytest.raises(LinkLost, match="gave an unexpected reply to CLUSTER SLOTS"):
            await Cluster([impostor.address], ACCESS).primary(0)


async def test_the_documented_permissions_suffice_in_a_cluster(cluster: ClusterSet) -> None:
    keys = [Keys("mcp-actors", bucket, CLUSTER_BUCKETS) for bucket in range(CLUSTER_BUCKETS)]
    rules = acl("app", keys[0].pattern).removeprefix("ACL SETUSER app ").split()
    for member in cluster.members:
        ask(member, "ACL SETUSER", "app", "reset", *rules, "on", ">secret")
    topology = topology_of(parse(cluster.url.replace("//", "//app:secret@")), 2.0)
    for one in keys:
        connection = await RedisConnection.open(await topology.primary(one.slot), topology.access)
        await identify(connection, one.pattern)
        await prepare(connection, one.scratch(NodeId("a")), one.pattern, known=False)
        connection.close()


async def test_a_user_that_may_not_ask_for_the_slots_is_told(cluster: ClusterSet) -> None:
    member = cluster.members[0]
    ask(member, "ACL SETUSER", "app", "on", ">secret", "~*", "+@all", "-cluster|slots")
    with pytest.raises(Unusable, match=r"run CLUSTER SLOTS\. Allow it: ACL SETUSER app \+cluster\|slots"):
        await Cluster([_address(member)], Access("app", "secret")).primary(0)


async def test_a_cluster_names_the_primary_of_each_slot(cluster: ClusterSet) -> None:
    topology = topology_of(parse(cluster.url), 2.0)
    ranges = ask(cluster.members[0], "CLUSTER SLOTS")
    for first, last, (_host, port, *_), *_replicas in ranges:
        assert await topology.primary(first) == await topology.primary(last) == Address("127.0.0.1", port)


async def test_the_keys_of_a_bucket_can_be_written_at_its_primary(cluster: ClusterSet) -> None:
    topology = topology_of(parse(cluster.url), 2.0)
    used = set()
    for bucket in range(CLUSTER_BUCKETS):
        keys = Keys("test", bucket, CLUSTER_BUCKETS)
        address = await topology.primary(keys.slot)
        used.add(address)
        connection = await RedisConnection.open(address, topology.access)
        assert await connection.one("SET", keys.config, "1") == b"OK"
        connection.close()
    assert len(used) == 3


async def test_a_key_at_another_primary_is_a_lost_link(cluster: ClusterSet) -> None:
    topology = topology_of(parse(cluster.url), 2.0)
    keys = Keys("test", 0, CLUSTER_BUCKETS)
    elsewhere = await topology.primary(SLOTS - 1)
    assert elsewhere != await topology.primary(keys.slot)
    connection = await RedisConnection.open(elsewhere, ACCESS)
    with pytest.raises(LinkLost):
        await connection.one("SET", keys.config, "1")


async def test_unreachable_seeds_are_skipped(cluster: ClusterSet) -> None:
    topology = Cluster([Address("127.0.0.1", free_ports()), _address(cluster.members[0])], ACCESS)
    first = await topology.primary(0)
    assert first == _address(cluster.members[0])


async def test_a_cluster_is_found_by_its_known_servers_without_the_seed(cluster: ClusterSet) -> None:
    topology = Cluster([_address(cluster.members[0])], ACCESS)
    found = await topology.primary(SLOTS - 1)
    cluster.members[0].pause()
    try:
        topology.access = Access(timeout=0.2)
        assert await topology.primary(SLOTS - 1) == found
    finally:
        cluster.members[0].resume()


async def test_a_server_that_is_no_cluster_is_unusable(either: Engine) -> None:
    with pytest.raises(Unusable, match=r"is no cluster: .*Name it with redis:// instead"):
        await Cluster([_address(either)], ACCESS).primary(0)


async def test_a_cluster_that_is_gone_is_a_lost_link() -> None:
    with pytest.raises(LinkLost, match="No server of the cluster can serve"):
        await Cluster([Address("127.0.0.1", free_ports())], ACCESS).primary(0)
