"""The transport on a double of an ASGI server: order, back-pressure in both directions, and the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.adapters.asgi import transport as module
from mcp_actors.adapters.asgi.transport import HIGH_WATER, AsgiTransport
from mcp_actors.ws.fair_scheduler import FairScheduler
from mcp_actors.ws.frames import BATCH
from tests.support.loop import DEADLINE, scheduler, until

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from mcp_actors.protocol.errors import CloseCode
    from tests.conftest import ExpectedLogs

MAX_MESSAGE = 1000


class AsgiServer:
    """A server whose client sends what is put into `sent_by_client`, and takes messages while it is `reading`."""

    def __init__(self) -> None:
        self.sent_by_client: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.taken: list[MutableMapping[str, Any]] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.failure: Exception | None = None

    def put(self, text: str | bytes) -> None:
        kind = "text" if isinstance(text, str) else "bytes"
        self.sent_by_client.put_nowait({"type": "websocket.receive", kind: text})

    def hang_up(self, **fields: Any) -> None:
        self.sent_by_client.put_nowait({"type": "websocket.disconnect", **fields})

    async def send(self, message: MutableMapping[str, Any]) -> None:
        await self.reading.wait()
        if self.failure is not None:
            raise self.failure
        self.taken.append(message)


class Recorder:
    """A connection that records what its transport tells."""

    id = 7

    def __init__(self, transport: AsgiTransport) -> None:
        self.transport = transport
        self.told: list[object] = []

    def frame_received(self, frame: bytes) -> None:
        self.told.append(frame)

    def binary_received(self, data: bytes) -> None:
        self.told.append(("binary", data))

    def writable(self, writable: bool) -> None:
        self.told.append(("writable", writable))

    def close(self, code: CloseCode) -> None:
        self.transport.close(code, code.reason)

    def closing(self, code: int | None) -> None:
        self.told.append(("closing", code))

    def lost(self, code: int | None) -> None:
        self.told.append(("lost", code))


class Link:
    """A transport between the server and the connection, while it is served."""

    def __init__(self) -> None:
        self.server = AsgiServer()
        self.transport = AsgiTransport(self.server.sent_by_client.get, self.server.send, FairScheduler(8), MAX_MESSAGE)
        self.connection = Recorder(self.transport)
        self.serving = asyncio.ensure_future(self.transport.serve(self.connection))

    @property
    def told(self) -> list[object]:
        return self.connection.told

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.serving


async def linked() -> Link:
    link = Link()
    await asyncio.sleep(0)
    return link


async def finish(link: Link) -> None:
    """End what a test leaves open."""
    link.server.reading.set()
    link.transport.abort()
    await link.ended()


async def test_messages_arrive_in_order_as_text_or_binary() -> None:
    link = await linked()
    for text in ("a", b"b", "é"):
        link.server.put(text)
    await until(lambda: len(link.told) == 3, "three messages")
    assert link.told == [b"a", ("binary", b"b"), "é".encode()]
    assert link.transport.received == 4
    await finish(link)


async def test_messages_are_sent_in_order_as_text() -> None:
    link = await linked()
    link.transport.send(b'{"a":', b"1}")
    link.transport.send(b"", "é".encode())
    await until(lambda: len(link.server.taken) == 2, "two messages")
    assert [message["text"] for message in link.server.taken] == ['{"a":1}', "é"]
    assert link.transport.state().taken == 9
    assert not link.transport.state().waiting
    await finish(link)


async def test_nothing_is_received_while_the_connection_has_paused() -> None:
    link = await linked()
    link.transport.pause()
    link.server.put("behind the pause")
    link.server.put("still in the server")
    await scheduler(20)
    assert link.told == []
    assert link.server.sent_by_client.qsize() == 1
    link.transport.resume()
    await until(lambda: len(link.told) == 2, "both messages")
    await finish(link)


async def test_the_connection_holds_back_while_the_client_does_not_read() -> None:
    link = await linked()
    link.server.reading.clear()
    half = b"x" * (HIGH_WATER // 2)
    link.transport.send(half, b"")
    link.transport.send(half, b"")
    assert link.told == []
    link.transport.send(b"y", b"")
    assert link.told == [("writable", False)]
    assert link.transport.state() == (HIGH_WATER + 1, True, 0)
    link.server.reading.set()
    await until(lambda: ("writable", True) in link.told, "the connection may go on")
    await until(lambda: not link.transport.state().waiting, "all is sent")
    assert len(link.server.taken) == 3
    await finish(link)


async def test_a_close_frame_follows_what_was_sent_before_and_ends_the_connection() -> None:
    link = await linked()
    link.transport.send(b"last", b"")
    link.transport.close(4000, "slow-peer")
    link.transport.send(b"too late", b"")
    await link.ended()
    assert [message["type"] for message in link.server.taken] == ["websocket.send", "websocket.close"]
    assert (link.server.taken[1]["code"], link.server.taken[1]["reason"]) == (4000, "slow-peer")
    assert link.told == [("lost", None)]


async def test_a_close_frame_is_sent_although_the_connection_reads_nothing_more() -> None:
    link = await linked()
    link.transport.pause()
    link.transport.close(4004, "rate-limited")
    await link.ended()
    assert link.server.taken[-1]["code"] == 4004


async def test_a_client_that_does_not_take_the_close_frame_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.01)
    link = await linked()
    link.server.reading.clear()
    link.transport.send(b"unread", b"")
    link.transport.close(4000, "slow-peer")
    await link.ended()
    assert link.told == [("lost", None)]


async def test_a_drop_ends_the_connection_at_once() -> None:
    link = await linked()
    link.server.reading.clear()
    link.transport.send(b"unread", b"")
    link.transport.abort()
    await link.ended()
    assert link.told == [("lost", None)]
    assert link.server.taken == []


async def test_a_drop_while_a_message_is_handled_ends_the_connection_behind_it() -> None:
    link = await linked()
    link.server.put("a")
    link.server.put("b")
    link.connection.frame_received = lambda frame: link.transport.abort()  # type: ignore[method-assign]  # noqa: ARG005
    await link.ended()
    assert link.told == [("lost", None)]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"code": 1000, "reason": ""}, [("closing", 1000), ("lost", 1000)]),
        ({"code": 1005, "reason": ""}, [("closing", None), ("lost", None)]),
        ({"code": 1005}, [("lost", None)]),
        ({"code": 1006, "reason": ""}, [("lost", None)]),
        ({}, [("lost", None)]),
    ],
)
async def test_a_client_that_closes_is_told_from_one_that_is_lost(fields: dict[str, Any], told: list[object]) -> None:
    link = await linked()
    link.server.hang_up(**fields)
    await link.ended()
    assert link.told == told


async def test_a_message_far_beyond_the_limit_closes_with_1009() -> None:
    link = await linked()
    link.server.put("x" * MAX_MESSAGE)
    link.server.put("x" * (MAX_MESSAGE + 1))
    await link.ended()
    assert link.told == [b"x" * MAX_MESSAGE, ("lost", None)]
    assert link.server.taken[-1]["code"] == 1009


@pytest.mark.parametrize("failure", [OSError(), RuntimeError("after close")])
async def test_a_server_that_takes_nothing_more_ends_the_connection(failure: Exception) -> None:
    link = await linked()
    link.server.failure = failure
    link.transport.send(b"a", b"")
    await link.ended()
    assert link.told == [("lost", None)]


async def test_a_bug_of_the_server_is_logged_and_ends_the_connection(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.connection", "sending failed")
    link = await linked()
    link.server.failure = ValueError("a bug")
    link.transport.send(b"a", b"")
    await link.ended()


async def test_a_server_that_stops_cancels_the_connection() -> None:
    link = await linked()
    link.serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await link.serving
    assert link.told == [("lost", None)]


async def test_a_client_that_floods_lets_others_go_first() -> None:
    flooding, quiet = await linked(), await linked()
    for number in range(20 * BATCH):
        flooding.server.put(str(number))
    await until(lambda: flooding.told, "the flood has begun")
    quiet.server.put("hello")
    await until(lambda: quiet.told, "the quiet client is heard")
    assert len(flooding.told) <= 4 * BATCH
    await until(lambda: len(flooding.told) == 20 * BATCH, "the flood arrives")
    assert flooding.told == [str(number).encode() for number in range(20 * BATCH)]
    for link in (flooding, quiet):
        await finish(link)
