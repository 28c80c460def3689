"""A real server and the simulated one, which are given the same commands and must give the same replies."""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING, Any

import msgspec
import redis

from tests.simulation.loop import Process, SimulationLoop
from tests.simulation.redis.commands import CommandError, Keyspace, Status
from tests.simulation.redis.server import RedisServer
from tests.simulation.redis.values import kind_of

if TYPE_CHECKING:
    from bench.engine import Engine

UNORDERED = {"HKEYS", "HVALS", "SMEMBERS"}
TIMES = re.compile(rb"^-?1[67]\d{11}$")
"""Milliseconds since 1970."""

VERSIONS = re.compile(rb"^-?1[67]\d{14}$")
"""Microseconds since 1970."""


LEFT = re.compile(rb"^[45]\d{4}$|^60000$")
"""Milliseconds of a minute that are left."""


class Differs(AssertionError):
    """The two servers gave different replies."""


class Names:
    """Stands in for times and versions, which differ from server to server, with names that do not."""

    def __init__(self) -> None:
        self._versions: dict[int, str] = {}

    def plain(self, value: Any) -> Any:
        """A value with names instead of times and versions."""
        match value:
            case bytes():
                return self._plain_bytes(value)
            case bool():
                return value
            case int() | float():
                return self._plain_bytes(b"%d" % value) if value == int(value) else value
            case list() if value and all(isinstance(one, dict) for one in value):  # members in the order of a hash
                return sorted((self.plain(one) for one in value), key=repr)
            case list() | tuple():
                return [self.plain(one) for one in value]
            case dict():
                return {str(name): self.plain(value[name]) for name in sorted(value, key=str)}
            case _:
                return value

    def _plain_bytes(self, value: bytes) -> Any:
        if TIMES.match(value):
            return "a time"
        if LEFT.match(value):
            return "what is left of a minute"
        if VERSIONS.match(value):
            number = abs(int(value))
            sign = "-" if value.startswith(b"-") else ""
            return sign + self._versions.setdefault(number, f"version {len(self._versions)}")
        if re.match(rb"^1[67]\d{11}-\d+$", value):
            return "an id"
        if re.match(rb"^1[67]\d{8}\.\d+@", value):
            return "an id of data"
        try:
            decoded = msgspec.msgpack.decode(value) if value and value[0] >= 0x80 else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            decoded = None
        return value if decoded is None else self.plain(decoded)


class Pair:
    """Both servers. It stands in for the client of redis-py in a `Store`."""

    def __init__(self, engine: Engine) -> None:
        self.real: Any = redis.Redis(port=engine.port, socket_timeout=10, protocol=2)
        self.real.response_callbacks.clear()
        loop = SimulationLoop(random.Random(1))  # noqa: S311 - reproducible, not secret
        self._loop = loop
        self.simulated = RedisServer(loop, Process(loop, "redis"), random.Random(1))  # noqa: S311
        self.simulated.micros = lambda: time.time_ns() // 1000  # type: ignore[method-assign]
        self.simulated.keyspace = Keyspace(self.simulated.micros)
        self.calls = 0
        self._comparing = False
        self._real_names, self._simulated_names = Names(), Names()

    def close(self) -> None:
        """Close the connection."""
        self.real.close()
        self._loop.close()

    def flushall(self) -> None:
        """Empty both."""
        self.real.execute_command("FLUSHALL")
        self.simulated.keyspace.values.clear()
        self.simulated.keyspace.expires.clear()

    def script_load(self, text: str) -> None:
        """Load a script into both."""
        self.execute_command("SCRIPT LOAD", text)

    def execute_command(self, *command: Any) -> Any:
        """Send a command to both, compare the replies, and return one. Raises `Differs`."""
        self.calls += 1
        name, *arguments = (one if isinstance(one, bytes) else str(one).encode() for one in command)
        words = name.decode().split()
        try:
            real = self.real.execute_command(*command)
        except redis.ResponseError as error:
            real = error
        try:
            ours = self.simulated.execute(words[0], [*(word.encode() for word in words[1:]), *arguments])
        except CommandError as error:
            ours = error
        one, other = self._shown(words[0], real, self._real_names), self._shown(words[0], ours, self._simulated_names)
        if one != other:
            raise Differs(f"{command!r}\n real:      {one!r}\n simulated: {other!r}")
        return real

    def _shown(self, name: str, reply: Any, names: Names) -> Any:
        if isinstance(reply, redis.ResponseError):
            return "error", _reason(str(reply))
        if isinstance(reply, CommandError):
            return "error", _reason(str(reply))
        if name == "TIME":
            return "a time"
        if isinstance(reply, Status):
            reply = bytes(reply)
        if name == "HGETALL" or (self._comparing and name == "ZRANGE"):  # times may be equal at one only
            return sorted(map(repr, zip(names.plain(reply[::2]), names.plain(reply[1::2]), strict=True)))
        plain = names.plain(reply)
        if name == "SSCAN" and isinstance(plain, list):
            return plain[0], sorted(map(repr, plain[1]))
        if (
            self._comparing and name == "XRANGE" and isinstance(plain, list)
        ):  # members that leave together have no order
            return [one for one in plain if not _is_event(one)], sorted(map(repr, filter(_is_event, plain)))
        is_set = name in UNORDERED or (isinstance(plain, list) and (plain[:1] == [b"KEYS"] or _names_members(plain)))
        return sorted(map(repr, plain)) if is_set else plain

    def compare_keys(self) -> None:
        """Compare everything that both hold. Raises `Differs`."""
        self._comparing = True
        try:
            self._compare_keys()
        finally:
            self._comparing = False

    def _compare_keys(self) -> None:
        real, ours = sorted(self.real.execute_command("KEYS", "*")), self.simulated.keyspace
        mine = sorted(key for key in list(ours.values) if ours.find(key) is not None)
        if real != mine:
            raise Differs(f"keys: {set(real) ^ set(mine)!r}")
        for key in real:
            lives = self.real.execute_command("PTTL", key) > 0
            if lives != (key in ours.expires):
                raise Differs(f"{key!r} expires at one only")
            self.execute_command("TYPE", key)
            match kind_of(ours.find(key)):
                case "hash":
                    self.execute_command("HGETALL", key)
                case "set":
                    self.execute_command("SMEMBERS", key)
                case "zset":
                    self.execute_command("ZRANGE", key, 0, -1, "WITHSCORES")
                case "stream":
                    self.execute_command("XRANGE", key, "-", "+", "COUNT", 10_000)


def _is_event(entry: list[Any]) -> bool:
    """Whether an entry of a stream is an event that is to be reported."""
    return bool(entry[1][:1] == [b"event"])


def _names_members(reply: list[Any]) -> bool:
    """Whether a reply names members, in the order of a hash."""
    return len(reply) > 1 and reply[0] == b"OK" and all(isinstance(one, bytes) and b"." in one for one in reply[1:])


def _reason(text: str) -> str:
    """The first word of an error, which is all that the product looks at."""
    text = text.removeprefix("ERR ")
    return "OOM" if "maxmemory" in text else "WRONGTYPE" if "WRONGTYPE" in text or "wrong kind" in text else "refused"
