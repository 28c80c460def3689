"""CPU of a Redis server, as counted by the kernel, and its commands, as counted by INFO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import Redis, RedisError

from bench.accounting import cpu_ns

if TYPE_CHECKING:
    from bench.plan import Process

COMMAND_PREFIX = "cmdstat_"
LEAST_SHARE = 0.001
"""Commands per message below which a command is not listed."""


class RedisMeter:
    """Counts from `begin` to `end`; one INFO is included."""

    def __init__(self, engine: Process) -> None:
        self._pid = engine.pid
        self._client: Any = Redis.from_url(engine.url, decode_responses=True)
        self._calls: dict[str, int] = {}
        self._cpu = 0
        self._client.ping()

    def begin(self) -> None:
        """Start to count."""
        self._calls = self._counted()
        self._cpu = cpu_ns(self._pid)

    def end(self, messages: int) -> dict[str, float]:
        """Return CPU and commands, in total and by name, per message."""
        cpu = cpu_ns(self._pid) - self._cpu
        calls = {name: count - self._calls.get(name, 0) for name, count in self._counted().items()}
        self._client.close()
        if not messages:
            return {}
        shares = {f"redis_{name}": count / messages for name, count in calls.items()}
        return {"redis_cpu_us": cpu / 1000 / messages} | {
            name: share for name, share in shares.items() if share >= LEAST_SHARE or name == "redis_commands"
        }

    def _counted(self) -> dict[str, int]:
        return calls(self._client.info("stats"), self._client.info("commandstats"))


def used_memory(port: int) -> int:
    """Return the bytes that the Redis server on a port has allocated, or 0 if it does not answer."""
    try:
        with Redis(port=port, socket_timeout=1) as client:
            found: Any = client.info("memory")
            return int(found["used_memory"])
    except (RedisError, OSError):
        return 0


def calls(stats: dict[str, Any], commands: dict[str, Any]) -> dict[str, int]:
    """Return the calls in two sections of INFO: `commands` for all, and `calls_<name>` for each command."""
    each = {f"calls_{name.removeprefix(COMMAND_PREFIX)}": int(found["calls"]) for name, found in commands.items()}
    return {"commands": int(stats["total_commands_processed"])} | each
