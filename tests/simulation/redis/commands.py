"""The commands that the product sends to Redis or calls in its scripts, on a keyspace in memory."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tests.simulation.redis.values import LAST, NODE, EntryId, Hash, Set, SortedSet, Stream, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Arguments = list[bytes]


class CommandError(Exception):
    """An error reply."""


class Status(bytes):
    """A status reply."""


OK = Status(b"OK")
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"


class Keyspace:
    """All keys. `clock` tells microseconds."""

    def __init__(self, clock: Callable[[], int], node: int = NODE) -> None:
        self.clock = clock
        self.values: dict[bytes, Any] = {}
        self.expires: dict[bytes, int] = {}
        self.touched: list[bytes] = []
        """Streams that have new entries."""
        self.on_entry: Callable[[list[bytes]], None] | None = None
        """Called with the fields of each new entry."""
        self._node = node

    def copy(self) -> Keyspace:
        """A copy, as a replica has it."""
        other = Keyspace(self.clock, self._node)
        other.values, other.expires = deepcopy(self.values), dict(self.expires)
        return other

    @property
    def _ms(self) -> int:
        return self.clock() // 1000

    def find(self, key: bytes) -> Any:
        """The value of a key; None if there is none, or not any more."""
        end = self.expires.get(key)
        if end is not None and end <= self._ms:
            self.drop(key)
        return self.values.get(key)

    def drop(self, key: bytes) -> bool:
        """Delete a key."""
        self.expires.pop(key, None)
        return self.values.pop(key, None) is not None

    def _get(self, key: bytes, kind: type[T]) -> T | None:
        value = self.find(key)
        if value is not None and type(value) is not kind:
            raise CommandError(WRONG_TYPE)
        return value

    def _open(self, key: bytes, kind: type[T]) -> T:
        value = self._get(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def _close(self, key: bytes) -> None:
        if not self.values[key]:
            self.drop(key)

    # strings and keys

    def set(self, key: bytes, value: bytes, *how: bytes) -> Any:
        """SET key value [PX ms]."""
        self.drop(key)
        self.values[key] = value
        if how:
            if how[0].upper() != b"PX" or len(how) != 2:
                raise CommandError(SYNTAX)
            self.expires[key] = self._ms + _integer(how[1])
        return OK

    def exists(self, *keys: bytes) -> int:
        """EXISTS key..."""
        return sum(self.find(key) is not None for key in keys)

    def delete(self, *keys: bytes) -> int:
        """DEL key..."""
        return sum(self.find(key) is not None and self.drop(key) for key in keys)

    def kind(self, key: bytes) -> Status:
        """TYPE key."""
        return Status(kind_of(self.find(key)).encode())

    def pexpire(self, key: bytes, ms: bytes) -> int:
        """PEXPIRE key ms."""
        life = _integer(ms)
        if self.find(key) is None:
            return 0
        if life <= 0:
            self.drop(key)
        else:
            self.expires[key] = self._ms + life
        return 1

    def time(self) -> list[bytes]:
        """TIME."""
        micros = self.clock()
        return [b"%d" % (micros // 1_000_000), b"%d" % (micros % 1_000_000)]

    # hashes

    def hset(self, key: bytes, *pairs: bytes) -> int:
        """HSET key field value..."""
        if not pairs or len(pairs) % 2:
            raise CommandError("ERR wrong number of arguments for 'hset' command")
        found = self._open(key, Hash)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def hsetnx(self, key: bytes, field: bytes, value: bytes) -> int:
        """HSETNX key field value."""
        found = self._open(key, Hash)
        if field in found:
            return 0
        found[field] = value
        return 1

    def hget(self, key: bytes, field: bytes) -> bytes | None:
        """HGET key field."""
        found = self._get(key, Hash)
        return None if found is None else found.get(field)

    def hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        """HMGET key field..."""
        found = self._get(key, Hash) or Hash()
        return [found.get(field) for field in fields]

    def hgetall(self, key: bytes) -> list[bytes]:
        """HGETALL key."""
        found = self._get(key, Hash) or Hash()
        return [part for pair in found.items() for part in pair]

    def hkeys(self, key: bytes) -> list[bytes]:
        """HKEYS key."""
        return list(self._get(key, Hash) or ())

    def hvals(self, key: bytes) -> list[bytes]:
        """HVALS key."""
        return list((self._get(key, Hash) or Hash()).values())

    def hlen(self, key: bytes) -> int:
        """HLEN key."""
        return len(self._get(key, Hash) or ())

    def hdel(self, key: bytes, *fields: bytes) -> int:
        """HDEL key field..."""
        return self._remove(key, Hash, fields)

    def hincrby(self, key: bytes, field: bytes, by: bytes) -> int:
        """HINCRBY key field increment."""
        step = _integer(by)
        found = self._open(key, Hash)
        try:
            value = int(found.get(field, b"0"))
        except ValueError:
            raise CommandError("ERR hash value is not an integer") from None
        found[field] = b"%d" % (value + step)
        return value + step

    def _remove(self, key: bytes, kind: type[Any], members: tuple[bytes, ...]) -> int:
        found = self._get(key, kind)
        if found is None:
            return 0
        before = len(found)
        for member in members:
            found.pop(member, None)
        removed: int = before - len(found)
        self._close(key)
        return removed

    # sets

    def sadd(self, key: bytes, *members: bytes) -> int:
        """SADD key member..."""
        found = self._open(key, Set)
        before = len(found)
        found.update(dict.fromkeys(members))
        return len(found) - before

    def srem(self, key: bytes, *members: bytes) -> int:
        """SREM key member..."""
        return self._remove(key, Set, members)

    def sismember(self, key: bytes, member: bytes) -> int:
        """SISMEMBER key member."""
        return int(member in (self._get(key, Set) or ()))

    def smembers(self, key: bytes) -> list[bytes]:
        """SMEMBERS key."""
        return list(self._get(key, Set) or ())

    def sscan(self, key: bytes, _cursor: bytes) -> list[Any]:
        """SSCAN key cursor, which returns all at once."""
        return [b"0", self.smembers(key)]

    # sorted sets

    def zadd(self, key: bytes, *how: bytes) -> int:
        """ZADD key [NX] score member."""
        only_new = how[0].upper() == b"NX"
        rest = how[1:] if only_new else how
        if len(rest) != 2:
            raise CommandError(SYNTAX)
        score = _score(rest[0])
        found = self._open(key, SortedSet)
        is_new = rest[1] not in found
        if is_new or not only_new:
            found[rest[1]] = score
        return int(is_new)

    def zrem(self, key: bytes, *members: bytes) -> int:
        """ZREM key member..."""
        return self._remove(key, SortedSet, members)

    def zscore(self, key: bytes, member: bytes) -> bytes | None:
        """ZSCORE key member."""
        score = (self._get(key, SortedSet) or SortedSet()).get(member)
        return None if score is None else _text(score)

    def zcard(self, key: bytes) -> int:
        """ZCARD key."""
        return len(self._get(key, SortedSet) or ())

    def zcount(self, key: bytes, least: bytes, most: bytes) -> int:
        """ZCOUNT key min max."""
        low, high = _score(least), _score(most)
        return sum(low <= score <= high for score in (self._get(key, SortedSet) or SortedSet()).values())

    def zrange(self, key: bytes, first: bytes, last: bytes, *how: bytes) -> list[bytes]:
        """ZRANGE key start stop [WITHSCORES]."""
        begin, end = _integer(first), _integer(last)
        found = self._get(key, SortedSet)
        items = found.ordered() if found else []
        begin = max(0, begin + len(items)) if begin < 0 else begin
        end = end + len(items) if end < 0 else end
        return _members(items[begin : end + 1], how)

    def zrangebyscore(self, key: bytes, least: bytes, most: bytes, *how: bytes) -> list[bytes]:
        """ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]."""
        low, high = _score(least), _score(most)
        found = self._get(key, SortedSet)
        items = [item for item in (found.ordered() if found else []) if low <= item[1] <= high]
        options = [one.upper() for one in how]
        if b"LIMIT" in options:
            at = options.index(b"LIMIT")
            offset, count = _integer(how[at + 1]), _integer(how[at + 2])
            items = items[offset:] if count < 0 else items[offset : offset + count]
        return _members(items, how)

    # streams

    def xadd(self, key: bytes, *how: bytes) -> bytes | None:
        """XADD key [NOMKSTREAM] [MAXLEN ~ n] * field value..."""
        rest, create, limit = list(how), True, None
        if rest[0].upper() == b"NOMKSTREAM":
            create, rest = False, rest[1:]
        if rest[0].upper() == b"MAXLEN":
            if rest[1] != b"~":
                raise CommandError(SYNTAX)
            limit, rest = _integer(rest[2]), rest[3:]
        if rest[0] != b"*" or len(rest) < 3 or not len(rest) % 2:
            raise CommandError("ERR wrong number of arguments for 'xadd' command")
        stream = self._get(key, Stream)
        if stream is None:
            if not create:
                return None
            stream = self.values[key] = Stream(self._node)
        new = stream.add(self._ms, rest[1:])
        if limit is not None:
            stream.trim_length(limit)
        self.touched.append(key)
        if self.on_entry is not None:
            self.on_entry(rest[1:])
        return bytes(new)

    def xlen(self, key: bytes) -> int:
        """XLEN key."""
        stream = self._get(key, Stream)
        return 0 if stream is None else len(stream)

    def xdel(self, key: bytes, *ids: bytes) -> int:
        """XDEL key id..."""
        stream = self._get(key, Stream)
        if stream is None:
            return 0
        return sum(stream.delete(one) for one in [_entry_id(one, 0) for one in ids])

    def xtrim(self, key: bytes, how: bytes, about: bytes, first: bytes) -> int:
        """XTRIM key MINID ~ id."""
        if how.upper() != b"MINID" or about != b"~":
            raise CommandError(SYNTAX)
        before = _entry_id(first, 0)
        stream = self._get(key, Stream)
        return 0 if stream is None else stream.trim_before(before)

    def xrange(self, key: bytes, first: bytes, last: bytes, *how: bytes) -> list[Any]:
        """XRANGE key start end [COUNT n]."""
        return self._between(key, first, last, how)

    def xrevrange(self, key: bytes, last: bytes, first: bytes, *how: bytes) -> list[Any]:
        """XREVRANGE key end start [COUNT n]."""
        found = self._between(key, first, last, ())[::-1]
        return found[: _integer(how[1])] if how else found

    def _between(self, key: bytes, first: bytes, last: bytes, how: tuple[bytes, ...]) -> list[Any]:
        begin, end = _bound(first, after=True), _bound(last, after=False)
        stream = self._get(key, Stream)
        found = [] if stream is None else [[bytes(one.id), one.fields] for one in stream.between(begin, end)]
        return found[: _integer(how[1])] if how else found

    def read(self, key: bytes, after: bytes, count: int | None) -> list[Any] | None:
        """The reply of XREAD for one stream; None if there is nothing."""
        last = _entry_id(after, 0)
        stream = self._get(key, Stream)
        found = stream.after(last, count) if stream is not None else []
        return [[key, [[bytes(one.id), one.fields] for one in found]]] if found else None


def _integer(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise CommandError(NOT_INTEGER) from None


def _score(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise CommandError(NOT_FLOAT) from None


def _text(score: float) -> bytes:
    return b"%d" % score if score == int(score) else repr(score).encode()


def _members(items: list[tuple[bytes, float]], how: tuple[bytes, ...]) -> list[bytes]:
    if any(one.upper() == b"WITHSCORES" for one in how):
        return [part for member, score in items for part in (member, _text(score))]
    return [member for member, _ in items]


def _entry_id(text: bytes, sequence: int) -> EntryId:
    ms, dash, number = text.partition(b"-")
    try:
        return EntryId(int(ms), int(number) if dash else sequence)
    except ValueError:
        raise CommandError("ERR Invalid stream ID specified as stream command argument") from None


def _bound(text: bytes, *, after: bool) -> EntryId:
    if text == b"-":
        return EntryId(0, 0)
    if text == b"+":
        return EntryId(LAST, LAST)
    exclusive = text.startswith(b"(")
    found = _entry_id(text.removeprefix(b"("), 0 if after else LAST)
    if not exclusive:
        return found
    return EntryId(found.ms, found.sequence + 1) if after else EntryId(found.ms, found.sequence - 1)


COMMANDS: dict[str, tuple[str, int, int | None]] = {
    "SET": ("set", 2, 4),
    "EXISTS": ("exists", 1, None),
    "DEL": ("delete", 1, None),
    "TYPE": ("kind", 1, 1),
    "PEXPIRE": ("pexpire", 2, 2),
    "TIME": ("time", 0, 0),
    "HSET": ("hset", 3, None),
    "HSETNX": ("hsetnx", 3, 3),
    "HGET": ("hget", 2, 2),
    "HMGET": ("hmget", 2, None),
    "HGETALL": ("hgetall", 1, 1),
    "HKEYS": ("hkeys", 1, 1),
    "HVALS": ("hvals", 1, 1),
    "HLEN": ("hlen", 1, 1),
    "HDEL": ("hdel", 2, None),
    "HINCRBY": ("hincrby", 3, 3),
    "SADD": ("sadd", 2, None),
    "SREM": ("srem", 2, None),
    "SISMEMBER": ("sismember", 2, 2),
    "SMEMBERS": ("smembers", 1, 1),
    "SSCAN": ("sscan", 2, 2),
    "ZADD": ("zadd", 3, None),
    "ZREM": ("zrem", 2, None),
    "ZSCORE": ("zscore", 2, 2),
    "ZCARD": ("zcard", 1, 1),
    "ZCOUNT": ("zcount", 3, 3),
    "ZRANGE": ("zrange", 3, None),
    "ZRANGEBYSCORE": ("zrangebyscore", 3, None),
    "XADD": ("xadd", 4, None),
    "XDEL": ("xdel", 2, None),
    "XLEN": ("xlen", 1, 1),
    "XTRIM": ("xtrim", 4, 4),
    "XRANGE": ("xrange", 3, 5),
    "XREVRANGE": ("xrevrange", 3, 5),
}
"""The method of each command, and how many arguments it takes, at least and at most."""

DENIED_WHEN_FULL = {"SET", "HSET", "HSETNX", "HINCRBY", "SADD", "ZADD", "XADD"}
"""Commands that Redis refuses when its memory is full."""

WRITES = DENIED_WHEN_FULL | {"DEL", "PEXPIRE", "HDEL", "SREM", "ZREM", "XDEL", "XTRIM"}

OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."


class Command(NamedTuple):
    """A command: its method of a keyspace, and how many arguments it takes, at least and at most.

    `limited`: whether it is refused when the memory is full.
    """

    name: str
    method: Callable[..., Any]
    least: int
    most: float
    limited: bool
    writes: bool

    def call(self, keyspace: Keyspace, arguments: Arguments) -> Any:
        """Run it. Raises `CommandError`."""
        if not self.least <= len(arguments) <= self.most:
            raise CommandError(f"ERR wrong number of arguments for '{self.name.lower()}' command")
        return self.method(keyspace, *arguments)


@cache
def find(name: str) -> Command:
    """The command of a name. Raises `CommandError`."""
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(f"ERR unknown command '{name}'")
    method, least, most = found
    limit = inf if most is None else most
    return Command(name, getattr(Keyspace, method), least, limit, name in DENIED_WHEN_FULL, name in WRITES)


def call(keyspace: Keyspace, name: str, arguments: Arguments) -> Any:
    """Run a command. Raises `CommandError`."""
    return find(name).call(keyspace, arguments)
