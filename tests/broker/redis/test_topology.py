from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.engine_sets import NAME, SLOTS, ClusterSet, SentinelSet, ask
from bench.ports import free_ports
from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Unusable
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.topology import (
    CLUSTER_BUCKETS,
    SINGLE_BUCKETS,
    Cluster,
    Sentinel,
    Single,
    topology_of,
)
from mcp_actors.redis_url import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.engine import Engine

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
    assert topology.access == Access("ana", "secret", 3, tls=True, timeout=4.0)


def test_a_url_without_a_user_names_none() -> None:
    assert topology_of(parse("redis://example.org"), 1.0).access == Access(None, None, 0, tls=False, timeout=1.0)


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


# ------------------------------------------------------------------------------------------------------------ Sentinel


async def test_a_sentinel_names_the_primary(watched: SentinelSet) -> None:
    topology = topology_of(parse(watched.url), 2.0)
    assert await topology.primary(0) == _address(watched.engines[0])


async def test_a_sentinel_that_does_not_answer_is_passed_over(watched: SentinelSet) -> None:
    dead, alive = Address("127.0.0.1", free_ports()), _address(watched.sentinels[0])
    topology = Sentinel([dead, alive], NAME, ACCESS)
    assert await topology.primary(0) == _address(watched.engines[0])
    assert topology._sentinels == [alive, dead]


async def test_a_server_that_is_no_sentinel_is_passed_over(watched: SentinelSet) -> None:
    topology = Sentinel([_address(watched.engines[0]), _address(watched.sentinels[0])], NAME, ACCESS)
    assert await topology.primary(0) == _address(watched.engines[0])


async def test_a_primary_that_no_sentinel_knows_is_a_lost_link(watched: SentinelSet) -> None:
    topology = Sentinel([_address(watched.sentinels[0])], "another", ACCESS)
    with pytest.raises(LinkLost, match=r"knows no primary named 'another'"):
        await topology.primary(0)


async def test_sentinels_that_are_all_gone_are_a_lost_link() -> None:
    topology = Sentinel([Address("127.0.0.1", free_ports())], NAME, ACCESS)
    with pytest.raises(LinkLost, match=f"No sentinel names the primary '{NAME}': .*cannot be reached"):
        await topology.primary(0)


async def test_a_sentinel_is_not_told_the_password_of_the_primary(watched: SentinelSet) -> None:
    secret = Access("nobody", "secret", 5, timeout=2)
    topology = Sentinel([_address(watched.sentinels[0])], NAME, secret)
    assert await topology.primary(0) == _address(watched.engines[0])


# ------------------------------------------------------------------------------------------------------------- Cluster


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


async def test_seeds_that_are_gone_are_passed_over(cluster: ClusterSet) -> None:
    topology = Cluster([Address("127.0.0.1", free_ports()), _address(cluster.members[0])], ACCESS)
    first = await topology.primary(0)
    assert first == _address(cluster.members[0])


async def test_a_cluster_is_found_by_those_who_were_seen_in_it_when_the_seed_is_gone(cluster: ClusterSet) -> None:
    topology = Cluster([_address(cluster.members[0])], ACCESS)
    found = await topology.primary(SLOTS - 1)
    cluster.members[0].pause()
    try:
        topology.access = Access(timeout=0.2)
        assert await topology.primary(SLOTS - 1) == found
    finally:
        cluster.members[0].resume()


async def test_a_server_that_is_no_cluster_will_never_do(either: Engine) -> None:
    with pytest.raises(Unusable, match=r"is no cluster: .*Name it with redis:// instead"):
        await Cluster([_address(either)], ACCESS).primary(0)


async def test_a_cluster_that_is_gone_is_a_lost_link() -> None:
    with pytest.raises(LinkLost, match="No server of the cluster can serve"):
        await Cluster([Address("127.0.0.1", free_ports())], ACCESS).primary(0)
