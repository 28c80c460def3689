"""The simulated Redis server: RESP over connections of the simulated network, and how it fails."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import hiredis

from tests.simulation.redis import commands
from tests.simulation.redis.commands import OK, CommandError, Keyspace, Status
from tests.simulation.redis.scripts import Scripts

if TYPE_CHECKING:
    from asyncio import Handle
    from collections.abc import Callable
    from random import Random

    from tests.simulation.loop import Process, SimulationLoop
    from tests.simulation.network import End

EPOCH = 1_750_000_000.0
"""Seconds since 1970 when the clock of the world shows 0."""

_scripts: list[Scripts] = []


def shared_scripts() -> Scripts:
    """One Lua state for all servers of this interpreter, as it takes long to make."""
    if not _scripts:
        _scripts.append(Scripts())
    return _scripts[0]


class Unblock:
    """A client that waits for entries of a stream."""

    def __init__(self, key: bytes, after: bytes, count: int | None) -> None:
        self.key = key
        self.after = after
        self.count = count
        self.timer: Handle | None = None


class RedisServer:
    """One run of a server. `full`: its memory is. `refused`: commands that its user may not run."""

    def __init__(self, loop: SimulationLoop, process: Process, rng: Random, keyspace: Keyspace | None = None) -> None:
        self.loop = loop
        self.process = process
        self.full = False
        self.refused: set[str] = set()
        self.ahead = 0.0
        """Seconds by which its clock is ahead of the world's."""
        self.run_id = f"{rng.getrandbits(160):040x}"
        self.keyspace = keyspace or Keyspace(self.micros, rng.choice((1, 7, 100)))
        self.keyspace.clock = self.micros
        self.scripts = shared_scripts()
        self.scripts.flush()
        self.clients: dict[_Client, None] = {}
        self.numbers = count(1)
        """The numbers of the connections."""
        self.calls = 0
        self.on_script: Callable[[bytes, list[bytes], list[bytes], Any], None] = lambda *_: None
        """Called with the digest, keys, arguments and reply of each script that was run."""

    def micros(self) -> int:
        """The clock, in microseconds since 1970."""
        return int((EPOCH + self.loop.now + self.ahead) * 1_000_000)

    def accept(self, end: End) -> None:
        """Serve a connection."""
        client = _Client(self, end)
        self.clients[client] = None
        end.receiver = client

    def execute(self, name: str, arguments: list[bytes]) -> Any:
        """Run a command that every client may send. Raises `CommandError`."""
        self.calls += 1
        if name.lower() in self.refused:
            raise CommandError(f"NOPERM User default has no permissions to run the '{name.lower()}' command")
        match name:
            case "EVALSHA":
                count = int(arguments[1])
                keys, rest = arguments[2 : 2 + count], arguments[2 + count :]
                reply = self.scripts.run(self.keyspace, arguments[0], keys, rest, full=self.full)
                self.on_script(arguments[0], keys, rest, reply)
                return reply
            case "SCRIPT" if arguments[0].upper() == b"LOAD":
                return self.scripts.load(arguments[1])
            case "SCRIPT":
                self.scripts.flush()
                return OK
            case "INFO":
                return b"redis_version:7.2.5\r\nrun_id:%s\r\nmaxmemory_policy:noeviction\r\n" % self.run_id.encode()
            case "ROLE":
                return [b"master", 0, []]
            case "SELECT" | "AUTH":
                return OK
            case "CLIENT":
                return self._about_clients(arguments)
        if self.full and name in commands.DENIED_WHEN_FULL:
            raise CommandError(commands.OUT_OF_MEMORY)
        return commands.call(self.keyspace, name, arguments)

    def _about_clients(self, arguments: list[bytes]) -> Any:
        if arguments[0].upper() == b"LIST":
            return b"".join(b"id=%d name=%s\n" % (one.number, one.name) for one in self.clients)
        if arguments[0].upper() == b"KILL":
            return self._end_client(int(arguments[2]))
        raise CommandError("ERR unknown subcommand of CLIENT")

    def _end_client(self, number: int) -> int:
        """Read nothing more from a connection; return how many there were."""
        found = [one for one in self.clients if one.number == number]
        for client in found:
            client.end()
        return len(found)

    def wake(self) -> None:
        """Answer the clients that wait for what was just written."""
        touched = self.keyspace.touched
        if not touched:
            return
        keys = set(touched)
        touched.clear()
        for client in list(self.clients):
            if client.blocked is not None and client.blocked.key in keys:
                client.unblock()


class _Client:
    """One connection."""

    def __init__(self, server: RedisServer, end: End) -> None:
        self.name = b""
        self.number = next(server.numbers)
        self.blocked: Unblock | None = None
        self._server = server
        self._end = end
        self._reader = hiredis.Reader()
        self._out: list[bytes] = []
        self._waiting: list[list[bytes]] = []

    def arrived(self, item: bytes) -> None:
        """See `Receiver`."""
        self._reader.feed(item)
        while (request := self._reader.gets()) is not False:
            self._waiting.append(request)
        self._go_on()

    def end(self) -> None:
        """Read nothing more, and close the connection."""
        end, self._end.receiver = self._end, None
        self.ended(None)
        self._waiting.clear()
        end.close()

    def ended(self, _error: Exception | None) -> None:
        """See `Receiver`."""
        self._server.clients.pop(self, None)
        if self.blocked is not None and self.blocked.timer is not None:
            self.blocked.timer.cancel()
        self.blocked = None

    def _go_on(self) -> None:
        while self._waiting and self.blocked is None:
            name, *arguments = self._waiting.pop(0)
            self._handle(name.decode().upper(), arguments)
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._end.send(data, len(data))
        self._server.wake()

    def _handle(self, name: str, arguments: list[bytes]) -> None:
        try:
            if name == "XREAD":
                self._read(arguments)
                return
            if name == "CLIENT" and arguments[0].upper() == b"SETNAME":
                self.name = arguments[1]
                self._answer(OK)
                return
            if name == "CLIENT" and arguments[0].upper() == b"ID" and "client" not in self._server.refused:
                self._answer(self.number)
                return
            reply = self._server.execute(name, arguments)
        except CommandError as error:
            self._out.append(b"-%s\r\n" % str(error).encode())
            return
        self._answer(reply)

    def _answer(self, reply: Any) -> None:
        encode(reply, self._out)

    def _read(self, arguments: list[bytes]) -> None:
        options = [one.upper() for one in arguments]
        at = options.index(b"STREAMS")
        count = int(arguments[options.index(b"COUNT") + 1]) if b"COUNT" in options[:at] else None
        block = int(arguments[options.index(b"BLOCK") + 1]) if b"BLOCK" in options[:at] else None
        key, after = arguments[at + 1 : at + 3]
        if "xread" in self._server.refused:
            raise CommandError("NOPERM User default has no permissions to run the 'xread' command")
        found = self._server.keyspace.read(key, after, count)
        if found is not None or block is None:
            self._out.append(b"*-1\r\n") if found is None else self._answer(found)
            return
        self.blocked = Unblock(key, after, count)
        server = self._server
        self.blocked.timer = server.loop.at(server.loop.now + block / 1000, server.process, self._timeout, self.blocked)

    def _timeout(self, blocked: Unblock) -> None:
        if self.blocked is blocked:
            self.blocked = None
            self._out.append(b"*-1\r\n")
            self._go_on()

    def unblock(self) -> None:
        """Answer what it waits for, if it is there."""
        blocked = self.blocked
        assert blocked is not None
        try:
            found = self._server.keyspace.read(blocked.key, blocked.after, blocked.count)
        except CommandError:
            found = None
        if found is None:
            return
        self.blocked = None
        if blocked.timer is not None:
            blocked.timer.cancel()
        self._answer(found)
        self._go_on()


def encode(reply: Any, out: list[bytes]) -> None:
    """Append a reply as RESP 2."""
    kind = type(reply)
    if kind is bytes:
        out.append(b"$%d\r\n%b\r\n" % (len(reply), reply))
    elif kind is int:
        out.append(b":%d\r\n" % reply)
    elif reply is None:
        out.append(b"$-1\r\n")
    elif kind is Status:
        out.append(b"+%b\r\n" % bytes(reply))
    else:
        out.append(b"*%d\r\n" % len(reply))
        for one in reply:
            encode(one, out)
