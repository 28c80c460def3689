"""Where the primary of a bucket is: on a single server, behind Sentinel, or in a Redis Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from redis.exceptions import ResponseError

from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.redis_url import RedisUrl

SINGLE_BUCKETS = 1
CLUSTER_BUCKETS = 16
"""Buckets when the operator sets none: each is two connections per node, and the part of a cluster that can move."""


class Topology(Protocol):
    """How to find the server of a bucket."""

    access: Access
    buckets: int

    async def primary(self, slot: int) -> Address:
        """Where the primary of a slot listens now. Raises `LinkLost`, or `Unusable` if there can be none."""


class Single:
    """One server, at one address."""

    buckets = SINGLE_BUCKETS

    def __init__(self, address: Address, access: Access) -> None:
        self.access = access
        self._address = address

    async def primary(self, slot: int) -> Address:
        """See `Topology`."""
        return self._address


class Sentinel:
    """A primary that sentinels watch, and replace by a replica when it fails."""

    buckets = SINGLE_BUCKETS

    def __init__(self, sentinels: Sequence[Address], name: str, access: Access) -> None:
        self.access = access
        self._sentinels = list(sentinels)
        self._name = name

    async def primary(self, slot: int) -> Address:
        """See `Topology`. The sentinel that answered is asked first the next time."""
        why = ""
        for address in list(self._sentinels):
            try:
                found = await self._ask(address)
            except (LinkLost, ResponseError) as error:
                why = str(error)
                continue
            if found is None:
                why = f"the sentinel at {address} knows no primary named {self._name!r}"
                continue
            self._sentinels.remove(address)
            self._sentinels.insert(0, address)
            return found
        raise LinkLost(f"No sentinel names the primary {self._name!r}: {why}")

    async def _ask(self, address: Address) -> Address | None:
        connection = await RedisConnection.open(address, self.access._replace(username=None, password=None, database=0))
        try:
            found = await connection.one("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)
        finally:
            connection.close()
        return None if found is None else Address(found[0].decode(), int(found[1]))


class Cluster:
    """A Redis Cluster: each slot has a primary."""

    buckets = CLUSTER_BUCKETS

    def __init__(self, seeds: Sequence[Address], access: Access) -> None:
        self.access = access
        self._seeds = list(seeds)
        self._known = list(seeds)

    async def primary(self, slot: int) -> Address:
        """See `Topology`. Every server that was ever seen is asked until one knows."""
        why = ""
        for address in list(self._known):
            try:
                ranges = await self._ask(address)
            except LinkLost as error:
                why = str(error)
                continue
            except ResponseError as error:
                raise Unusable(f"Redis at {address} is no cluster: {error}. Name it with redis:// instead.") from None
            owners = [owner for first, last, owner in ranges if first <= slot <= last]
            if owners:
                known = [owner for _, _, owner in ranges]
                self._known = list(dict.fromkeys([address, *known, *self._seeds]))
                return owners[0]
            why = f"{address} knows no server for slot {slot}"
        raise LinkLost(f"No server of the cluster can serve: {why}")

    async def _ask(self, address: Address) -> list[tuple[int, int, Address]]:
        connection = await RedisConnection.open(address, self.access)
        try:
            slots = await connection.one("CLUSTER", "SLOTS")
        finally:
            connection.close()
        return [
            (int(first), int(last), Address(primary[0].decode() or address.host, int(primary[1])))
            for first, last, primary, *_ in slots
        ]


def topology_of(url: RedisUrl, timeout: float, ca_file: str = "") -> Topology:
    """What a URL describes; `timeout` and `ca_file` as in `Access`."""
    access = Access(url.user or None, url.password or None, url.database, url.tls, timeout, ca_file)
    addresses = [Address(*host) for host in url.hosts]
    match url.kind:
        case "single":
            return Single(addresses[0], access)
        case "sentinel":
            return Sentinel(addresses, url.master, access)
        case "cluster":
            return Cluster(addresses, access)
