"""What each layer of the server takes by itself, so that a slow scenario can be blamed on one.

Everything runs in this process, without a load: CPU time per operation, the median of some repetitions with the span.
The layers of one relayed message add up: reading its frame, limits, decoding, the room actor (which holds mailbox,
rules and stamp), writing the frame; the rest of what `relay` shows is the event loop and the kernel.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from bench.dialects import DIALECTS
from bench.loud import masked
from bench.report import aligned
from bench.rooms import Nobody
from mcp_actors import logs
from mcp_actors.actors.loop import LoopActor
from mcp_actors.actors.mail import Greeting
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.node import Node
from mcp_actors.protocol.codec import Limits, encode, peer_decoder, sender_stamp, stamp
from mcp_actors.protocol.events import Kind, Member, MemberJoined
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.protocol.messages import PeerEntry, PeerJoined
from mcp_actors.room.room import Entry, Room
from mcp_actors.transports.addresses import Addresses, AddressRates
from mcp_actors.transports.frames import FrameReader, write_frame
from mcp_actors.transports.meter import ConnectionRates
from mcp_actors.transports.rates import Rate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mcp_actors.protocol.messages import Targeted

ROOM, ADA, GRACE = RoomId("room-000001"), PeerId("peer-000001"), PeerId("peer-000002")
SAMPLES, SAMPLES_QUICK = 9, 3
SPAN, SPAN_QUICK = 0.1, 0.02
"""Seconds that one sample should take."""

BATCH = 64
"""Messages at once, where a layer treats many in one turn."""

TEXT = 1
LIMITS = Limits(65_536, 1024, 128)


class Micro(NamedTuple):
    """One thing measured: `work(times)` does it so many times, `each` operations at a time."""

    layer: str
    what: str
    work: Callable[[int], Awaitable[None] | None]
    each: int = 1


def frame_of(kind: str) -> bytes:
    """A message as it arrives, from Ada to Grace."""
    return DIALECTS["peers"].signal(kind, ROOM, 1, GRACE).at(0)


def _repeated(action: Callable[[], object]) -> Callable[[int], None]:
    def work(times: int) -> None:
        for _ in range(times):
            action()

    return work


def codec() -> Iterator[Micro]:
    """Text to message, and back."""
    decoder, sender = peer_decoder(LIMITS), sender_stamp(ADA)
    for kind in ("candidate", "offer"):
        frame = frame_of(kind)
        yield Micro("codec", f"decode {kind}, {len(frame)} bytes", _repeated(partial(decoder.decode, frame)))
        yield Micro("codec", f"stamp {kind}", _repeated(partial(stamp, sender, frame)))
    joined = PeerJoined(room=ROOM, payload=PeerEntry(ADA, {}, 1))
    yield Micro("codec", "encode peer-joined", _repeated(lambda: encode(joined)))


def room() -> Iterator[Micro]:
    """The rules alone."""
    rules = Room(ROOM, 500, 100)
    for number, peer_id in enumerate((ADA, GRACE), 1):
        member = Member(Kind.PEER, peer_id, Incarnation(peer_id), NodeId("bench"), {}, number)
        rules.enter(Entry(member, Greeting()))
        rules.heard(MemberJoined(number, member))
    frame = frame_of("candidate")
    message: Any = peer_decoder(LIMITS).decode(frame)
    yield Micro("room", "relay candidate", _repeated(lambda: rules.relay(Incarnation(ADA), message, frame)))


class Deaf(LoopActor):
    """An actor that does nothing."""

    def on_receive(self, message: object) -> None:
        """Drop it."""


def mailbox() -> Iterator[Micro]:
    """One mail: told, and handled."""
    actor = Deaf.start()
    yield Micro("mailbox", "tell one, and its turn", _told(actor.tell, 1))
    yield Micro("mailbox", f"tell {BATCH}, and their turn", _told(actor.tell, BATCH), BATCH)


def _told(tell: Callable[[object], object], count: int) -> Callable[[int], Awaitable[None]]:
    async def work(times: int) -> None:
        for _ in range(times):
            for _ in range(count):
                tell("mail")
            await asyncio.sleep(0)

    return work


async def room_actor() -> list[Micro]:
    """Node, mailbox, rules and outlet together."""
    node = Node(NodeId("bench"), MemoryBroker(), room_capacity=500, max_rooms=10, max_inbox=4096, max_unanswered=100)
    members = [node.membership(ROOM, Kind.PEER, peer_id, session="s") for peer_id in (ADA, GRACE)]
    for member in members:
        await member.enter(Nobody(), Greeting())
    frame = frame_of("candidate")
    message: Targeted = peer_decoder(LIMITS).decode(frame)  # type: ignore[assignment]
    work = _told(lambda _mail: members[0].relay(message, frame), BATCH)
    return [Micro("room actor", f"relay candidate, {BATCH} in a turn", work, BATCH)]


class Drain:
    """Where frames that were read end."""

    reader: FrameReader

    def on_text(self, payload: bytes) -> None:
        """See `Sink`."""

    on_binary = on_ping = on_pong = on_text

    def on_close(self, code: int | None, reason: str) -> None:
        """See `Sink`."""

    def on_fragment(self) -> None:
        """See `Sink`."""

    def on_turn(self) -> None:
        """See `Sink`."""
        self.reader.resume()


def frame_loop() -> Iterator[Micro]:
    """Bytes to frames, and back."""
    drain = Drain()
    drain.reader = reader = FrameReader(drain, 65_536)
    for kind in ("candidate", "offer"):
        frame = frame_of(kind)
        data = masked(frame)
        block = data * BATCH
        read_one, read_all = _reading(reader, data), _reading(reader, block)
        yield Micro("frame loop", f"read {kind}, one at a time", read_one)
        yield Micro("frame loop", f"read {kind}, {BATCH} in a read", read_all, BATCH)
        yield Micro("frame loop", f"write {kind}", _repeated(partial(write_frame, TEXT, frame)))


def _reading(reader: FrameReader, data: bytes) -> Callable[[int], None]:
    return _repeated(partial(reader.receive, data))


def limits() -> Iterator[Micro]:
    """What it costs to keep to the rates of a connection and its address, for who does."""
    each = ConnectionRates(Rate(1e6, 1e6), Rate(1e9, 1e9), Rate(5, 100), Rate(1, 64), patience=10)
    rates = AddressRates(Rate(50, 1000), Rate(1e6, 1e6), Rate(1e9, 1e9), Rate(100, 2000), most_connections=2000)
    meter = Addresses(rates, each, most=10).open("192.0.2.1")
    size = len(frame_of("candidate"))

    def measure(times: int) -> None:
        for _ in range(times):  # as SocketHandler.on_frame
            meter.messages -= 1
            meter.bytes -= size
            if meter.messages < 0 or meter.bytes < 0:
                meter.settle(time.monotonic())

    yield Micro("limits", "measure a candidate", measure)


def kernel() -> Iterator[Micro]:
    """What no server avoids: the system calls for one message."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = frame_of("candidate")

    def pass_one() -> None:
        sender.send(data)
        receiver.recv(65_536)

    yield Micro("kernel", f"send and receive {len(data)} bytes by TCP", _repeated(pass_one))
    sender.close()
    receiver.close()


async def _cpu_us(micro: Micro, times: int) -> float:
    began = time.process_time_ns()
    pending = micro.work(times)
    if pending is not None:
        await pending
    return (time.process_time_ns() - began) / 1000 / times / micro.each


async def _samples(micro: Micro, count: int, span: float) -> list[float]:
    times = 10
    while (took := await _cpu_us(micro, times) * times * micro.each / 1e6) < span / 10:
        times *= 4
    times = max(times, int(times * span / took))
    return [await _cpu_us(micro, times) for _ in range(count)]


async def _rows(*, quick: bool) -> list[list[str]]:
    count, span = (SAMPLES_QUICK, SPAN_QUICK) if quick else (SAMPLES, SPAN)
    rows = [["", "us", "min-max"]]
    actors = await room_actor()
    for layer in (frame_loop(), limits(), codec(), room(), mailbox(), iter(actors), kernel()):
        for micro in layer:
            samples = await _samples(micro, count, span)
            name = f"{micro.layer}: {micro.what}"
            rows.append([name, f"{median(samples):.2f}", f"{min(samples):.2f}-{max(samples):.2f}"])
    return rows


def micro_lines(*, quick: bool) -> list[str]:
    """Measure all layers; a table."""
    logs.set_up("warning", "text")  # as the server that is measured
    rows = uvloop.run(_rows(quick=quick))
    return ["CPU per operation", *aligned(rows)]
