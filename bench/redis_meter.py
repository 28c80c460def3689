"""What a Redis-protocol server did in a stretch of time: its CPU by the kernel's accounting, its commands by INFO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis import Redis, RedisError

from bench.accounting import cpu_ns

if TYPE_CHECKING:
    from bench.plan import Process

COMMAND = "cmdstat_"
SELDOM = 0.001
"""Commands per message below which a single command is not listed."""


class RedisMeter:
    """Counts from `begin` to `end`; the INFO that reads the counters is one of the commands counted."""

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
        """CPU, commands, and the commands by name, each per message."""
        cpu = cpu_ns(self._pid) - self._cpu
        calls = {name: count - self._calls.get(name, 0) for name, count in self._counted().items()}
        self._client.close()
        if not messages:
            return {}
        shares = {f"redis_{name}": count / messages for name, count in calls.items()}
        return {"redis_cpu_us": cpu / 1000 / messages} | {
            name: share for name, share in shares.items() if share >= SELDOM or name == "redis_commands"
        }

    def _counted(self) -> dict[str, int]:
        return calls(self._client.info("stats"), self._client.info("commandstats"))


def used_memory(port: int) -> int:
    """Bytes that the server at a port of this machine has allocated; 0 if it does not answer."""
    try:
        with Redis(port=port, socket_timeout=1) as client:
            found: Any = client.info("memory")
            return int(found["used_memory"])
    except (RedisError, OSError):
        return 0


def calls(stats: dict[str, Any], commands: dict[str, Any]) -> dict[str, int]:
    """Calls so far from two sections of INFO: of all `commands`, and of each by `calls_<name>`."""
    each = {f"calls_{name.removeprefix(COMMAND)}": int(found["calls"]) for name, found in commands.items()}
    return {"commands": int(stats["total_commands_processed"])} | each
