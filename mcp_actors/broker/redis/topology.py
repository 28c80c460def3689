"""Finding the primary of a bucket: a single server, behind Sentinel, or in a Redis Cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from redis.exceptions import NoPermissionError, ResponseError

from mcp_actors.broker.redis.connection import Access, Address, LinkLost, RedisConnection, Tls, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp_actors.redis_url import RedisUrl

SINGLE_BUCKETS = 1
CLUSTER_BUCKETS = 16
"""Buckets if the operator sets none: each needs two connections per node, and moves within a cluster as a whole."""


NO_FILES = Tls()


class Topology(Protocol):
    """Finds the server of a bucket."""

    access: Access
    buckets: int

    async def primary(self, slot: int) -> Address:
        """The address of the primary of a slot now. Raises `LinkLost`, or `Unusable` if there can be none."""


class Single:
    """One server."""

    buckets = SINGLE_BUCKETS

    def __init__(self, address: Address, access: Access) -> None:
        self.access = access
        self._address = address

    async def primary(self, slot: int) -> Address:
        """See `Topology`."""
        return self._address


class Sentinel:
    """A primary that Sentinels watch and replace by a replica when it fails; they have an access of their own."""

    buckets = SINGLE_BUCKETS

    def __init__(self, sentinels: Sequence[Address], name: str, access: Access, sentinel_access: Access) -> None:
        self.access = access
        self._sentinels = list(sentinels)
        self._name = name
        self._sentinel_access = sentinel_access._replace(what="The Sentinel")

    async def primary(self, slot: int) -> Address:
        """See `Topology`. The Sentinel that answered is asked first the next time."""
        problem: LinkLost | Unusable = LinkLost("none is known")
        for address in list(self._sentinels):
            try:
                found = await self._ask(address)
            except Unusable as error:
                problem = error
                continue
            except LinkLost as error:
                problem = problem if isinstance(problem, Unusable) else error
                continue
            self._sentinels.remove(address)
            self._sentinels.insert(0, address)
            return found
        if isinstance(problem, Unusable):
            raise problem
        raise LinkLost(f"No Sentinel names the primary {self._name!r}: {problem}")

    async def _ask(self, address: Address) -> Address:
        connection = await RedisConnection.open(address, self._sentinel_access)
        try:
            (found,) = await connection.send([("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name)])
        finally:
            connection.close()
        if found is None:
            raise LinkLost(f"{connection} knows no primary named {self._name!r}")
        if isinstance(found, NoPermissionError):
            rule = f"ACL SETUSER {connection.user} +sentinel|get-master-addr-by-name"
            raise Unusable(f"{connection} does not name the primary to the user {connection.user!r}. Allow it: {rule}")
        if isinstance(found, ResponseError):
            raise LinkLost(f"{connection} does not name the primary: {found}")
        try:
            host, port = found
            return Address(host.decode(), int(port))
        except (AttributeError, TypeError, ValueError):
            raise LinkLost(f"{connection} gave an unexpected reply for the primary: {found!r}") from None


class Cluster:
    """A Redis Cluster, where each slot has a primary."""

    buckets = CLUSTER_BUCKETS

    def __init__(self, seeds: Sequence[Address], access: Access) -> None:
        self.access = access
        self._seeds = list(seeds)
        self._known = list(seeds)

    async def primary(self, slot: int) -> Address:
        """See `Topology`. Known servers are asked until one answers."""
        why = ""
        for address in list(self._known):
            try:
                ranges = await self._ask(address)
            except LinkLost as error:
                why = str(error)
                continue
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
            (slots,) = await connection.send([("CLUSTER", "SLOTS")])
        finally:
            connection.close()
        if isinstance(slots, NoPermissionError):
            rule = f"ACL SETUSER {connection.user} +cluster|slots"
            raise Unusable(
                f"{connection} does not let the user {connection.user!r} run CLUSTER SLOTS. Allow it: {rule}"
            )
        if isinstance(slots, ResponseError):
            raise Unusable(f"{connection} is no cluster: {slots}. Name it with redis:// instead.")
        try:
            return [
                (int(first), int(last), Address(primary[0].decode() or address.host, int(primary[1])))
                for first, last, primary, *_ in slots
            ]
        except (AttributeError, LookupError, TypeError, ValueError):
            raise LinkLost(f"{connection} gave an unexpected reply to CLUSTER SLOTS: {slots!r}") from None


def topology_of(url: RedisUrl, timeout: float, files: Tls = NO_FILES) -> Topology:
    """The topology that a URL describes; `timeout` is as in `Access`, `files` those that the URL does not name."""
    tls = Tls(
        url.ca_file or files.ca_file,
        url.cert_file or files.cert_file,
        url.key_file or ("" if url.cert_file else files.key_file),
        verify=url.verify,
        check_hostname=url.check_hostname,
    )
    access = Access(url.user or None, url.password or None, url.database, tls if url.tls else None, timeout)
    addresses = [Address(*host) for host in url.hosts]
    match url.kind:
        case "single":
            return Single(addresses[0], access)
        case "sentinel":
            has_tls = url.tls if url.sentinel_tls is None else url.sentinel_tls
            own = Access(url.sentinel_user or None, url.sentinel_password or None, 0, tls if has_tls else None, timeout)
            return Sentinel(addresses, url.master, access, own)
        case "cluster":
            return Cluster(addresses, access)
