"""Redis servers with failover: a primary watched by Sentinels, and a Redis Cluster."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import redis

from bench.engine import Engine, EngineError, Flavor
from bench.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

NAME = "mymaster"
SLOTS = 16_384
TIMEOUT = 60.0
PAUSE = 0.05
DOWN_AFTER_MS = 500
"""Milliseconds of silence after which a server counts as dead."""


class EngineSet(ABC):
    """Redis servers that are started and stopped together."""

    scheme: str

    def __init__(self, members: Sequence[Engine]) -> None:
        self.members = list(members)
        self._killed: Engine | None = None

    @property
    def running(self) -> list[Engine]:
        """The servers that are running."""
        return [member for member in self.members if member.running]

    def start(self) -> None:
        """Start all servers and wait until they form the set. Raises `EngineError`."""
        for member in self.members:
            member.start()
        self._set_up()

    def close(self) -> None:
        """Stop all servers and remove their data."""
        with ExitStack() as stack:
            for member in self.members:
                stack.callback(member.close)

    def kill_primary(self) -> Engine:
        """Kill a primary with SIGKILL. Return it; it can be started again."""
        self._killed = self.primary()
        self._killed.kill()
        return self._killed

    def wait_for_failover(self) -> None:
        """Wait until the killed primary has been replaced. Raises `EngineError`."""
        _until("there is a new primary", lambda: self.primary() is not self._killed and self._whole())

    @abstractmethod
    def primary(self) -> Engine:
        """Return a primary."""

    @abstractmethod
    def _set_up(self) -> None:
        """Make the started servers a set."""

    @abstractmethod
    def _whole(self) -> bool:
        """Return whether the set is complete and works."""

    def _at(self, port: int) -> Engine:
        return next(member for member in self.members if member.port == port)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


class Sentinel(Engine):
    """A Sentinel that watches the primary at a port."""

    def __init__(self, flavor: Flavor, *, port: int, watched: int, quorum: int) -> None:
        super().__init__(flavor, port=port)
        self._watched = f"127.0.0.1 {watched} {quorum}"

    def _file(self) -> Sequence[str]:
        path = self.directory / "sentinel.conf"
        if not path.exists():
            path.write_text(
                f"sentinel monitor {NAME} {self._watched}\n"
                f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
                f"sentinel failover-timeout {NAME} 5000\n"
            )
        return (str(path), "--sentinel")

    def _persistence(self) -> Sequence[str]:
        return ()


class SentinelSet(EngineSet):
    """A primary, its replicas, and the Sentinels that watch it."""

    def __init__(
        self, flavor: Flavor = "valkey", *, replicas: int = 1, sentinels: int = 3, options: Sequence[str] = ()
    ) -> None:
        first = free_ports(1 + replicas + sentinels)
        follow = ("--replicaof", f"127.0.0.1 {first}", "--repl-diskless-sync-delay", "0")
        self.engines = [Engine(flavor, port=first, options=("--repl-diskless-sync-delay", "0", *options))]
        self.engines += [
            Engine(flavor, port=first + 1 + index, options=(*options, *follow)) for index in range(replicas)
        ]
        watch = range(first + 1 + replicas, first + 1 + replicas + sentinels)
        quorum = sentinels // 2 + 1
        self.sentinels = [Sentinel(flavor, port=port, watched=first, quorum=quorum) for port in watch]
        super().__init__([*self.engines, *self.sentinels])

    @property
    def url(self) -> str:
        """The value for REDIS_URL."""
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{NAME}"

    def primary(self) -> Engine:
        """Return the primary that the Sentinels name."""
        _host, port = ask(self.sentinels[0], "SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)
        return self._at(int(port))

    def _set_up(self) -> None:
        _until("the Sentinels know each other", self._acquainted)

    def _acquainted(self) -> bool:
        others, replicas = len(self.sentinels) - 1, len(self.engines) - 1
        for sentinel in self.sentinels:
            found = ask(sentinel, "SENTINEL MASTER", NAME)
            if (int(found["num-other-sentinels"]), int(found["num-slaves"])) != (others, replicas):
                return False
        return all(ask(replica, "INFO", "replication")["master_link_status"] == "up" for replica in self.engines[1:])

    def _whole(self) -> bool:
        named = {ask(sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME", NAME)[1] for sentinel in self.sentinels}
        return len(named) == 1 and ask(self.primary(), "ROLE")[0] == "master"


class ClusterSet(EngineSet):
    """A Redis Cluster whose primaries have one replica each."""

    def __init__(self, flavor: Flavor = "valkey", *, primaries: int = 3, options: Sequence[str] = ()) -> None:
        first = free_ports(2 * primaries)
        cluster: tuple[str, ...] = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(2 * DOWN_AFTER_MS))
        cluster += ("--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0")
        ports = range(first, first + 2 * primaries)
        super().__init__([Engine(flavor, port=port, options=(*cluster, *options)) for port in ports])
        self._count = primaries

    @property
    def url(self) -> str:
        """The value for REDIS_URL."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    def primary(self) -> Engine:
        """Return the primary with the most keys."""
        return max(self.primaries(), key=lambda member: int(ask(member, "INFO", "stats")["instantaneous_ops_per_sec"]))

    def primaries(self) -> list[Engine]:
        """Return the running servers that own slots."""
        owners = _owners(self.running[0]).values()
        return [member for member in self.running if member.port in owners]

    def _set_up(self) -> None:
        primaries, replicas = self.members[: self._count], self.members[self._count :]
        bounds = [SLOTS * index // self._count for index in range(self._count + 1)]
        for index, primary in enumerate(primaries):
            ask(primary, "CLUSTER ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
        for index, member in enumerate(self.members):
            ask(member, "CLUSTER SET-CONFIG-EPOCH", index + 1)
            ask(member, "CLUSTER MEET", "127.0.0.1", self.members[0].port)
        _until("all know each other", lambda: all(self._known(one) == len(self.members) for one in self.members))
        for primary, replica in zip(primaries, replicas, strict=True):
            _until("a replica knows its primary", partial(_replicates, replica, ask(primary, "CLUSTER MYID")))
        _until("the cluster is up", self._replicated)

    def _known(self, member: Engine) -> int:
        return int(ask(member, "CLUSTER INFO")["cluster_known_nodes"])

    def _replicated(self) -> bool:
        linked = [ask(replica, "INFO", "replication") for replica in self.members[self._count :]]
        return self._whole() and all(info.get("master_link_status") == "up" for info in linked)

    def _whole(self) -> bool:
        ok = all(ask(member, "CLUSTER INFO")["cluster_state"] == "ok" for member in self.running)
        return ok and all(self._owned_by_the_living(member) for member in self.running)

    def _owned_by_the_living(self, member: Engine) -> bool:
        owners = _owners(member)
        owned = sum(last - first + 1 for first, last in owners)
        return owned == SLOTS and set(owners.values()) <= {one.port for one in self.running}


def ask(engine: Engine, command: str, *arguments: str | int) -> Any:
    """Run a command and return its reply. Raises what redis-py raises."""
    with redis.Redis(port=engine.port, socket_timeout=2, decode_responses=True) as connection:
        return connection.execute_command(command, *arguments)


def _owners(member: Engine) -> dict[tuple[int, int], int]:
    """Return the port of the primary of each range of slots."""
    found = ask(member, "CLUSTER SLOTS")
    return {(first, last): primary[1] for first, last, primary, *_replicas in found}


def _replicates(replica: Engine, primary: str) -> bool:
    try:
        ask(replica, "CLUSTER REPLICATE", primary)
    except redis.ResponseError:  # it does not know that primary yet
        return False
    return True


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except (redis.RedisError, KeyError, IndexError):
            pass
        time.sleep(PAUSE)
    raise EngineError(f"waited {TIMEOUT:.0f} s, but not yet: {what}")
