"""The simulated network: connections between processes that keep order, take time, and break as told.

A path is what lies between two processes in one direction. It delays what it carries; blocked, it carries nothing until
it is open again, as TCP sends again what was lost. Nobody is told that a path is blocked.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.simulation.loop import Process, SimulationLoop


class Delay(NamedTuple):
    """Seconds that a packet takes: between `least` and `most`, and `stall` more with the chance `loss`."""

    least: float = 0.0001
    most: float = 0.001
    loss: float = 0.0
    stall: float = 0.2


class Receiver(Protocol):
    """Whoever uses one end of a connection."""

    def arrived(self, item: Any) -> None:
        """Something came from the other end."""

    def ended(self, error: Exception | None) -> None:
        """The connection is gone; nothing comes after that."""


class Path:
    """One direction between two processes."""

    def __init__(self, delay: Delay) -> None:
        self.delay = delay
        self.blocked = False
        self.blocked_at = 0.0
        self.pipes: dict[Pipe, None] = {}

    def block(self, now: float) -> None:
        """Carry nothing until `open`."""
        self.blocked, self.blocked_at = True, now

    def open(self) -> None:
        """Carry everything again, with what was sent meanwhile."""
        self.blocked = False
        for pipe in list(self.pipes):
            pipe.release()


class Pipe:
    """One direction of a connection."""

    def __init__(self, network: Network, path: Path, to: Process) -> None:
        self.unread = 0
        """Bytes that the receiver has not taken."""
        self.taken = 0
        """Bytes that it has taken."""
        self.end: End | None = None
        """The receiving end."""
        self.on_taken: Callable[[], None] | None = None
        self._network = network
        self._path = path
        self._to = to
        self._due = 0.0
        self._held: list[tuple[Any, int]] = []
        self._cut = False
        path.pipes[self] = None

    def send(self, item: Any, size: int) -> None:
        """Carry an item to the receiving end."""
        if self._cut:
            return
        self.unread += size
        if self._path.blocked or self._held:
            self._held.append((item, size))
        else:
            self._carry(item, size)

    def _carry(self, item: Any, size: int) -> None:
        network, delay = self._network, self._path.delay
        random = network.rng.random
        takes = delay.least + random() * (delay.most - delay.least)
        while delay.loss and random() < delay.loss:
            takes += delay.stall
        self._due = max(self._due, network.loop.now + takes)
        network.loop.at(self._due, self._to, self._deliver, item, size)

    def release(self) -> None:
        """Carry what was held while the path was blocked."""
        if not self._held:
            return
        network = self._network
        now = network.loop.now
        pause = max(1.0, now - self._path.blocked_at) if network.backs_off else 1.0
        self._due = max(self._due, now + network.rng.random() * pause)  # until it is sent again
        held, self._held = self._held, []
        for item, size in held:
            self._carry(item, size)

    def drop_held(self) -> None:
        """Drop what was not sent yet."""
        self._held.clear()

    def cut(self) -> None:
        """Carry nothing more, and drop what is under way."""
        self._cut = True
        self._held.clear()
        self.forget()

    def forget(self) -> None:
        """Leave the path."""
        self._path.pipes.pop(self, None)

    def after(self, process: Process, work: Callable[..., None], *args: Any) -> None:
        """Call back in the next turn of a process."""
        self._network.loop.at(self._network.loop.now, process, work, *args)

    def _deliver(self, item: Any, size: int) -> None:
        if self._cut or self.end is None:
            return
        self.end.take(item, size)

    def took(self, size: int) -> None:
        """Note that the receiver has taken bytes."""
        self.unread -= size
        self.taken += size
        if self.on_taken is not None:
            self.on_taken()


class _Fin(NamedTuple):
    """The last item of a pipe."""

    error: Exception | None


class End:
    """One end of a connection. `peer`: the name of the process at the other end."""

    def __init__(self, process: Process, peer: Process, out: Pipe, back: Pipe) -> None:
        self.process = process
        self.peer = peer
        self.out = out
        self.back = back
        self.receiver: Receiver | None = None
        self.over = False
        self._sent_fin = False
        self._reading = True
        self._unread: list[tuple[Any, int]] = []
        back.end = self

    @property
    def closing(self) -> bool:
        """Whether this end is closed, or about to be."""
        return self._sent_fin or self.over

    def send(self, item: Any, size: int = 0) -> None:
        """Send an item, which counts as so many bytes."""
        if not self.closing:
            self.out.send(item, size)

    def close(self, error: Exception | None = None) -> None:
        """Close this end: the other learns it behind what was sent, and this one at once."""
        if self.closing:
            return
        self.out.send(_Fin(error), 0)
        self._sent_fin = True
        self.out.after(self.process, self._finish, None)

    def break_off(self, error: Exception | None) -> None:
        """Learn that the connection is gone, though the other end did not close it."""
        self._sent_fin = True
        self._finish(error)

    def pause(self) -> None:
        """Take nothing until `resume`."""
        self._reading = False

    def resume(self) -> None:
        """Take what came meanwhile, and more."""
        self._reading = True
        while self._unread and self._reading and not self.closing:
            self._hand_on(*self._unread.pop(0))

    def take(self, item: Any, size: int) -> None:
        """Take what the pipe brings."""
        if self.closing:
            return
        if self._reading and not self._unread:
            self._hand_on(item, size)
        else:
            self._unread.append((item, size))

    def _hand_on(self, item: Any, size: int) -> None:
        if isinstance(item, _Fin):
            if not self._sent_fin:
                self.out.send(_Fin(item.error), 0)
                self._sent_fin = True
            self._finish(item.error)
            return
        self.back.took(size)
        if self.receiver is not None:
            self.receiver.arrived(item)

    def _finish(self, error: Exception | None) -> None:
        if self.over:
            return
        self.over = True
        self._unread.clear()
        self.back.forget()
        self.process_ended(error)

    def process_ended(self, error: Exception | None) -> None:
        """Tell the receiver."""
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.ended(error)


class Wire:
    """A connection: both ends, and how it is cut."""

    def __init__(self, network: Network, client: Process, server: Process) -> None:
        there = Pipe(network, network.path(client, server), server)
        back = Pipe(network, network.path(server, client), client)
        self.client = End(client, server, there, back)
        self.server = End(server, client, back, there)
        self._network = network

    @property
    def over(self) -> bool:
        """Whether both ends know that it is gone."""
        return self.client.over and self.server.over

    def cut(self, *, last_bytes: bool) -> None:
        """Break it: both ends learn that, each after a while. `last_bytes`: what is under way still arrives."""
        for end in (self.client, self.server):
            if not last_bytes:
                end.out.cut()
            delay = self._network.rng.uniform(0.0, 0.05) + (0.05 if last_bytes else 0.0)
            error = ConnectionResetError("the connection was cut")
            self._network.loop.at(self._network.loop.now + delay, end.process, end.break_off, error)

    def vanish(self) -> None:
        """Carry nothing more; nobody is told."""
        self.client.out.cut()
        self.server.out.cut()


Accept = Any
"""A server's function that takes the `End` of a new connection."""


class Network:
    """All paths and connections. Servers listen under the name of a host."""

    def __init__(self, loop: SimulationLoop, rng: Random) -> None:
        self.loop = loop
        self.rng = rng
        self.usual = self._delay = Delay()
        self.wires: list[Wire] = []
        self.backs_off = False
        """Whether data that a blocked path held is delayed longer, the longer the path was blocked."""
        self._paths: dict[tuple[str, str], Path] = {}
        self._listening: dict[str, tuple[Process, Accept]] = {}
        loop.connect = self.connect

    def path(self, source: Process | str, target: Process | str) -> Path:
        """The path from one process to another, by their names without the number of their incarnation."""
        key = _site(source), _site(target)
        found = self._paths.get(key)
        if found is None:
            found = self._paths[key] = Path(self._delay)
        return found

    def slow(self, delay: Delay) -> None:
        """Let all paths be like this from now on."""
        self._delay = delay
        for path in self._paths.values():
            path.delay = delay

    def listen(self, host: str, process: Process, accept: Accept) -> None:
        """Accept connections to a host."""
        self._listening[host] = process, accept

    def close(self, host: str) -> None:
        """Refuse connections to a host."""
        self._listening.pop(host, None)

    async def dial(self, client: Process, host: str) -> Wire:
        """Connect to a host, which may be paused. Raises `ConnectionRefusedError`, or waits while a path is blocked."""
        there, back = self.path(client, host), self.path(host, client)
        await self._travel(there)
        found = self._listening.get(host)
        await self._travel(back)
        if found is None or found[0].dead or self._listening.get(host) != found:
            raise ConnectionRefusedError(f"{host} refuses the connection")
        process, accept = found
        wire = Wire(self, client, process)
        self.wires.append(wire)
        if len(self.wires) > 64:
            self.wires = [one for one in self.wires if not one.over]
        self.loop.at(self.loop.now, process, accept, wire.server)
        return wire

    async def _travel(self, path: Path) -> None:
        while True:
            await asyncio.sleep(path.delay.least + self.rng.random() * (path.delay.most - path.delay.least))
            if not path.blocked:
                return
            await asyncio.sleep(0.2 + self.rng.random())

    async def connect(self, client: Process, protocol_factory: Any, host: str, _port: int) -> Any:
        """Open a connection for an asyncio protocol, as `loop.create_connection` does."""
        wire = await self.dial(client, host)
        protocol = protocol_factory()
        transport = StreamTransport(wire.client, protocol)
        protocol.connection_made(transport)
        return transport, protocol

    def kill(self, process: Process, *, silent: bool) -> None:
        """Kill a process. Its connections are reset, or if the machine is gone with it, `silent`."""
        process.kill()
        for wire in self.wires:
            for end, other in ((wire.client, wire.server), (wire.server, wire.client)):
                if end.process is process and not end.over:
                    end.over = True
                    end.receiver = None
                    if silent:
                        end.out.cut()
                    else:
                        end.out.send(_Fin(ConnectionResetError("the process was killed")), 0)
                    other.out.cut()


def _site(process: Process | str) -> str:
    name = process if isinstance(process, str) else process.name
    return name.partition(".")[0]


class _Socket:
    """The options of a socket."""

    def __init__(self) -> None:
        self.resets = False

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Set an option, of which the only one that matters is to drop what is not sent."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.resets = value == struct.pack("ii", 1, 0)


class StreamTransport(asyncio.Transport):
    """An asyncio transport on one end of a connection; what it sends are bytes."""

    def __init__(self, end: End, protocol: asyncio.Protocol) -> None:
        self._socket = _Socket()
        super().__init__({"socket": self._socket})
        self._end = end
        self._protocol = protocol
        end.receiver = self

    def arrived(self, item: bytes) -> None:
        """See `Receiver`."""
        self._protocol.data_received(item)

    def ended(self, error: Exception | None) -> None:
        """See `Receiver`."""
        self._protocol.connection_lost(error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See asyncio."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See asyncio."""
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See asyncio."""
        self._end.send(bytes(data), len(data))

    def is_closing(self) -> bool:
        """See asyncio."""
        return self._end.closing

    def close(self) -> None:
        """See asyncio."""
        self._end.close()

    def abort(self) -> None:
        """See asyncio. Data that a blocked path holds is still sent later, unless the socket is reset."""
        if self._socket.resets:
            self._end.out.drop_held()
        self._end.close(ConnectionResetError("the other end aborted"))

    def pause_reading(self) -> None:
        """See asyncio."""
        self._end.pause()

    def resume_reading(self) -> None:
        """See asyncio."""
        self._end.resume()

    def get_write_buffer_size(self) -> int:
        """See asyncio."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See asyncio."""
