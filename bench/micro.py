"""CPU of each layer of the server alone, to find out which one makes a scenario slow.

Everything runs in this process without load. The costs of a relayed message add up: reading its frame, limits,
decoding, the room actor (with mailbox, rules and sender stamp) and writing the frame. The rest of what `relay` measures
is the event loop and the kernel.
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
from bench.rooms import NullClient
from mcp_actors import logs
from mcp_actors.actors.loop import LoopActor
from mcp_actors.adapters.tornado.upgrade import frame_loops
from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.connection.address import AddressRates
from mcp_actors.connection.connection_limits import ConnectionRates
from mcp_actors.connection.ip_limits import IpLimits
from mcp_actors.connection.token_bucket import TokenBucket
from mcp_actors.node import Node
from mcp_actors.protocol.codec import Limits, encode, peer_decoder, relayed, sender_stamp
from mcp_actors.protocol.events import Kind, Member, MemberJoined
from mcp_actors.protocol.identifiers import Incarnation, NodeId, PeerId, RoomId
from mcp_actors.protocol.messages import PeerEntry, PeerJoined
from mcp_actors.room.room import Room
from mcp_actors.ws.frames import FrameReader, write_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mcp_actors.protocol.messages import Targeted

ROOM, ADA, GRACE = RoomId("room-000001"), PeerId("peer-000001"), PeerId("peer-000002")
SAMPLES, SAMPLES_QUICK = 9, 3
SAMPLE_SECONDS, SAMPLE_SECONDS_QUICK = 0.1, 0.02
"""Seconds that one sample should take."""

BATCH = 64
"""Messages per turn, where a layer handles many in one turn of the loop."""

TEXT = 1
LIMITS = Limits(65_536, 1024, 128)


class Micro(NamedTuple):
    """A measured action: `work(times)` repeats it; each time counts as `each` operations."""

    layer: str
    what: str
    work: Callable[[int], Awaitable[None] | None]
    each: int = 1


def frame_of(kind: str) -> bytes:
    """Return a message from Ada to Grace as it arrives."""
    return DIALECTS["peers"].signal(kind, ROOM, 1, GRACE).at(0)


def _repeated(action: Callable[[], object]) -> Callable[[int], None]:
    def work(times: int) -> None:
        for _ in range(times):
            action()

    return work


def codec() -> Iterator[Micro]:
    """Decoding and encoding."""
    decoder, sender = peer_decoder(LIMITS), sender_stamp(ADA)
    for kind in ("candidate", "offer"):
        frame = frame_of(kind)
        yield Micro("codec", f"decode {kind}, {len(frame)} bytes", _repeated(partial(decoder.decode, frame)))
        yield Micro("codec", f"stamp {kind}", _repeated(partial(relayed, sender, frame)))
    joined = PeerJoined(room=ROOM, payload=PeerEntry(ADA, {}, 1))
    yield Micro("codec", "encode peer-joined", _repeated(lambda: encode(joined)))


def room() -> Iterator[Micro]:
    """The rules of a room alone."""
    rules = Room(ROOM, capacity=500, max_pending_acks=100)
    for number, peer_id in enumerate((ADA, GRACE), 1):
        member = Member(Kind.PEER, peer_id, Incarnation(peer_id), NodeId("bench"), {}, number)
        rules.enter(member)
        rules.heard(MemberJoined(number, member))
    frame = frame_of("candidate")
    message: Any = peer_decoder(LIMITS).decode(frame)
    yield Micro("room", "relay candidate", _repeated(lambda: rules.delivery.relay(Incarnation(ADA), message, frame)))


class NullActor(LoopActor):
    """An actor that ignores its mail."""

    def on_receive(self, message: object) -> None:
        """Ignore it."""


def mailbox() -> Iterator[Micro]:
    """Telling an actor, and its handling."""
    actor = NullActor.start()
    yield Micro("mailbox", "tell and handle one", _told(actor.tell, 1))
    yield Micro("mailbox", f"tell and handle {BATCH}", _told(actor.tell, BATCH), BATCH)


def _told(tell: Callable[[object], object], count: int) -> Callable[[int], Awaitable[None]]:
    async def work(times: int) -> None:
        for _ in range(times):
            for _ in range(count):
                tell("mail")
            await asyncio.sleep(0)

    return work


async def room_actor() -> list[Micro]:
    """Node, mailbox, rules and client port together."""
    node = Node(NodeId("bench"), MemoryBroker(), room_capacity=500, max_rooms=10, max_inbox=4096, max_pending_acks=100)
    members = [node.membership(ROOM, Kind.PEER, peer_id, session="s") for peer_id in (ADA, GRACE)]
    for member in members:
        await member.enter(NullClient())
    frame = frame_of("candidate")
    message: Targeted = peer_decoder(LIMITS).decode(frame)  # type: ignore[assignment]
    work = _told(lambda _mail: members[0].relay(message, frame), BATCH)
    return [Micro("room actor", f"relay candidate, {BATCH} in a turn", work, BATCH)]


class NullSink:
    """Where frames that were read end."""

    reader: FrameReader

    def frame_received(self, frame: bytes) -> None:
        """See `Receiver`."""

    def binary_received(self, data: bytes) -> None:
        """See `Receiver`."""

    def ping_received(self, data: bytes) -> None:
        """See `Control`."""

    def pong_received(self, data: bytes) -> None:
        """See `Receiver`."""

    def control_frame_received(self, size: int) -> None:
        """See `Receiver`."""

    def close_received(self, code: int | None) -> None:
        """See `Control`."""

    def batch_ended(self) -> None:
        """See `Control`."""
        self.reader.resume()


def frame_loop() -> Iterator[Micro]:
    """Reading and writing frames."""
    sink = NullSink()
    sink.reader = reader = FrameReader(sink, sink, 65_536, frame_loops().unmask)
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
    """Counting messages against the limits of a connection and its address, without reaching them."""
    each = ConnectionRates(
        TokenBucket(1e6, 1e6),
        TokenBucket(1e9, 1e9),
        TokenBucket(5, 100),
        TokenBucket(5, 20),
        TokenBucket(1, 64),
        patience=10,
        deliveries=TokenBucket(1e6, 1e6),
    )
    rates = AddressRates(
        TokenBucket(50, 1000),
        TokenBucket(1e6, 1e6),
        TokenBucket(1e9, 1e9),
        TokenBucket(100, 2000),
        max_connections=2000,
        deliveries=TokenBucket(1e6, 1e6),
    )
    meter = IpLimits(rates, each, max_addresses=10).open("192.0.2.1")
    size = len(frame_of("candidate"))

    def count(times: int) -> None:
        for _ in range(times):  # as in Connection.frame_received
            meter.messages -= 1
            meter.bytes -= size
            if meter.messages < 0 or meter.bytes < 0:
                meter.charge(time.monotonic())

    yield Micro("limits", "count a candidate", count)


def kernel() -> Iterator[Micro]:
    """The system calls that no server avoids."""
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
    count, span = (SAMPLES_QUICK, SAMPLE_SECONDS_QUICK) if quick else (SAMPLES, SAMPLE_SECONDS)
    rows = [["", "us", "min-max"]]
    actors = await room_actor()
    for layer in (frame_loop(), limits(), codec(), room(), mailbox(), iter(actors), kernel()):
        for micro in layer:
            samples = await _samples(micro, count, span)
            name = f"{micro.layer}: {micro.what}"
            rows.append([name, f"{median(samples):.2f}", f"{min(samples):.2f}-{max(samples):.2f}"])
    return rows


def micro_lines(*, quick: bool) -> list[str]:
    """Measure all layers and return a table."""
    logs.set_up("warning", "text")  # as in the measured server
    rows = uvloop.run(_rows(quick=quick))
    return ["CPU per operation", *aligned(rows)]
