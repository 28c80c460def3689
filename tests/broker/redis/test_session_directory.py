from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs
from redis.exceptions import OutOfMemoryError, ResponseError

from mcp_actors.broker import AcquiredSession, SessionRecord
from mcp_actors.broker.redis.executor import Executor
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.scripts import ACQUIRE_SESSION, DELETE_SESSION, SAVE_SESSION
from mcp_actors.broker.redis.session_directory import RECORD_LIFE, RENEWED_AT_ONCE, RETRY_REFUSED, SessionDirectory
from mcp_actors.broker.redis.settings import RedisSettings
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import LeaveReason, Notice, Removal
from mcp_actors.protocol.identifiers import RoomId
from tests.broker.redis.lua import A, B
from tests.support.loop import scheduler, until

if TYPE_CHECKING:
    from mcp_actors.broker.redis.write_queue import Call
    from mcp_actors.protocol.identifiers import NodeId
    from tests.broker.redis.lua import Store
    from tests.conftest import ExpectedLogs

KEYS = Keys("test", 0, 1)
LIFE = RECORD_LIFE
ROOMS = [("room123", "ana", "s.1", True), ("other", "ana", "s.2", False)]


def record(generation: int = 1, session: str = "s", *, proved: bool = False, left: bytes = b"") -> SessionRecord:
    return SessionRecord(session, generation, generation if proved else generation - 1, "peer:", ROOMS, left)


class Harness:
    """The directory of one node, with a Redis that replies when told to."""

    def __init__(self, *, up: bool = True) -> None:
        self.now = 1000.0
        self.calls: list[Call] = []
        self.executor = Executor(self.calls.append)
        self.sessions = SessionDirectory(KEYS, A, self.executor, lambda: self.now, lambda _at: None, RedisSettings())
        if up:
            self.link_up()

    def link_up(self, *, lost: bool = False) -> None:
        self.executor.up.set()
        self.sessions.link_up(lost=lost)

    def link_down(self) -> None:
        self.executor.up.clear()
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call.dropped()

    def asked(self) -> list[tuple[str, str]]:
        """The scripts that were called since the last look, and for which session."""
        names = {SAVE_SESSION.digest: "save", DELETE_SESSION.digest: "delete", ACQUIRE_SESSION.digest: "acquire"}
        calls, self.calls[:] = list(self.calls), []
        return [(names[call.command[1]], str(_keys(call)[-1]).rpartition(":")[2]) for call in calls]

    def answer(self, reply: Any) -> Call:
        """Answer the oldest call."""
        call = self.calls.pop(0)
        call.answered(reply)
        return call


def _keys(call: Call) -> tuple[Any, ...]:
    return call.command[3 : 3 + int(call.command[2])]


def test_a_record_is_written_at_once_and_done_with_its_reply() -> None:
    harness = Harness()
    harness.sessions.save(record())
    assert harness.sessions.unwritten == 1
    harness.answer([b"OK"])
    assert harness.sessions.unwritten == 0


def test_the_latest_record_is_written_after_an_outage() -> None:
    harness = Harness(up=False)
    harness.sessions.save(record(1))
    harness.sessions.save(record(2))
    harness.sessions.save(record(session="t"))
    harness.sessions.delete("t")
    assert harness.asked() == []
    harness.link_up(lost=False)
    assert sorted(call.command[5] for call in harness.calls if call.command[1] == SAVE_SESSION.digest) == [2]
    assert sorted(harness.asked()) == [("delete", "t"), ("save", "s")]


def test_unacknowledged_records_are_written_over_the_next_link() -> None:
    harness = Harness()
    harness.sessions.save(record())
    harness.sessions.save(record(session="t"))
    harness.answer([b"OK"])
    harness.calls.clear()
    harness.link_down()
    harness.link_up(lost=False)
    assert harness.asked() == [("save", "t")]


def test_all_records_are_written_after_a_data_loss() -> None:
    harness = Harness()
    for name in ("s", "t"):
        harness.sessions.save(record(session=name))
        harness.answer([b"OK"])
    harness.link_down()
    harness.link_up(lost=True)
    assert sorted(harness.asked()) == [("save", "s"), ("save", "t")]


def test_the_reply_to_an_earlier_record_does_not_acknowledge_a_later_one() -> None:
    harness = Harness()
    harness.sessions.save(record(1))
    harness.sessions.save(record(2))
    harness.answer([b"OK"])
    assert harness.sessions.unwritten == 1
    harness.answer([b"OK"])
    assert harness.sessions.unwritten == 0


def test_a_record_that_redis_refuses_is_written_again_until_it_is_accepted(expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "redis refuses session records, no other node can resume these")
    harness = Harness()
    harness.sessions.save(record())
    harness.sessions.save(record(session="t"))
    for _ in range(2):
        harness.answer(OutOfMemoryError("OOM command not allowed"))
    assert (harness.sessions.refused, harness.sessions.unwritten) == (2, 2)
    harness.sessions.disown("t")
    assert harness.sessions.refused == 1
    harness.sessions.refresh()
    assert harness.asked() == []
    harness.now += RETRY_REFUSED
    harness.sessions.refresh()
    harness.answer([b"OK"])
    assert (harness.sessions.refused, harness.sessions.unwritten) == (0, 0)
    assert len(expected_logs.records) == 1


def test_a_session_without_a_record_is_not_deleted() -> None:
    harness = Harness()
    harness.sessions.delete("s")
    assert harness.asked() == []


def test_a_disowned_session_is_not_written() -> None:
    harness = Harness()
    harness.sessions.save(record())
    harness.calls.clear()
    harness.sessions.disown("s")
    assert harness.sessions.unwritten == 0
    harness.sessions.delete("s")
    harness.link_down()
    harness.link_up(lost=True)
    assert harness.asked() == []


def test_a_record_is_renewed_before_redis_forgets_it() -> None:
    harness = Harness()
    harness.sessions.save(record())
    harness.answer([b"OK"])
    harness.now += 0.4 * LIFE
    harness.sessions.save(record(session="t"))
    harness.answer([b"OK"])
    harness.sessions.refresh()
    assert harness.asked() == []
    harness.now += 0.2 * LIFE
    harness.sessions.refresh()
    assert harness.asked() == [("save", "s")]
    harness.now += 0.4 * LIFE
    harness.sessions.refresh()
    assert harness.asked() == [("save", "t")]


def test_many_records_are_renewed_in_batches() -> None:
    harness = Harness()
    for number in range(2 * RENEWED_AT_ONCE):
        harness.sessions.save(record(session=f"s{number}"))
    harness.calls.clear()
    harness.now += LIFE
    steps = []
    for _ in range(3):
        harness.sessions.refresh()
        steps.append(len(harness.asked()))
    assert steps == [RENEWED_AT_ONCE, RENEWED_AT_ONCE, 0]


def test_the_sessions_of_a_dead_node_are_deleted_only_while_the_link_is_up() -> None:
    harness = Harness(up=False)
    harness.sessions.on_node_reaped("s", B)
    assert harness.asked() == []
    harness.link_up(lost=False)
    harness.sessions.on_node_reaped("s", B)
    (call,) = harness.calls
    assert call.command[-1] == B


async def _taking(harness: Harness, patience: float = 5.0) -> asyncio.Task[AcquiredSession | None]:
    task = asyncio.ensure_future(harness.sessions.acquire("s", 1, "peer:", patience))
    await until(lambda: harness.calls or task.done(), "that it is asked for")
    return task


async def test_a_session_that_is_not_available_is_not_acquired() -> None:
    harness = Harness()
    task = await _taking(harness)
    harness.answer([b"NONE"])
    assert await task is None


async def test_a_session_that_another_node_is_acquiring_is_requested_again() -> None:
    harness = Harness()
    task = await _taking(harness)
    harness.answer([b"LATER"])
    await until(lambda: harness.calls, "that it is asked for again")
    harness.answer(
        [
            b"OK",
            b"4",
            b"2",
            b'[["room123","ana","s.1",true]]',
            b"left",
            b'{"room9":{"how":"kicked","notice":{"reason":"spam"}}}',
            b"7",
        ]
    )
    out = {RoomId("room9"): Removal(LeaveReason.KICKED, Notice("spam"))}
    assert await task == AcquiredSession(4, 2, [("room123", "ana", "s.1", True)], b"left", out, 7)


async def test_waiting_for_another_node_ends_with_the_patience() -> None:
    harness = Harness()
    task = await _taking(harness, patience=-1.0)
    harness.answer([b"LATER"])
    with pytest.raises(Unavailable):
        await task


async def test_acquiring_a_session_is_unavailable_while_redis_is_away() -> None:
    with pytest.raises(Unavailable):
        await Harness(up=False).sessions.acquire("s", 1, "peer:", 5.0)


@pytest.mark.parametrize("reply", [ResponseError("WRONGTYPE"), [b"FENCED"], b"OK", None], ids=repr)
async def test_an_unexpected_reply_is_not_taken_for_no_such_session(reply: Any, expected_logs: ExpectedLogs) -> None:
    expected_logs.allow("mcp_actors.redis", "redis refuses to tell where a session is")
    harness = Harness()
    task = await _taking(harness)
    harness.answer(reply)
    with pytest.raises(Unavailable, match="cannot find out where your session is"):
        await task


@pytest.mark.parametrize("rest", [[], [b"4", b"2", b"[", b"", b""], [b"x", b"2", b"[]", b"", b""]], ids=repr)
async def test_an_unreadable_record_is_logged_and_no_session(rest: list[bytes], expected_logs: ExpectedLogs) -> None:
    expected_logs("mcp_actors.redis", "session record unreadable")
    harness = Harness()
    task = await _taking(harness)
    harness.answer([b"OK", *rest])
    assert await task is None


async def test_a_broken_link_ends_the_wait_for_a_session() -> None:
    harness = Harness()
    task = await _taking(harness)
    harness.link_down()
    with pytest.raises(Unavailable):
        await task


async def test_a_late_reply_after_a_cancelled_request_is_ignored() -> None:
    harness = Harness()
    task = await _taking(harness)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    late = harness.calls[0]
    harness.link_down()
    late.answered([b"OK", b"4", b"2", b"[]", b"", b""])
    await scheduler(2)


def _node(store: Store, node: NodeId) -> SessionDirectory:
    store.attach(node)
    client = store.redis

    def call(one: Call) -> None:
        with client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*one.command)
            (reply,) = pipeline.execute(raise_on_error=False)
        one.answered(reply)

    executor = Executor(call)
    executor.up.set()
    return SessionDirectory(store.keys, node, executor, lambda: 0.0, lambda _at: None, RedisSettings())


async def test_an_acquired_session_ignores_its_former_node(store: Store) -> None:
    a, b = _node(store, A), _node(store, B)
    a.save(record(1, left=b"\x00\xff"))
    assert await b.acquire("s", 1, "peer:", 5.0) == AcquiredSession(2, 0, ROOMS, b"\x00\xff", epoch=1)
    a.save(record(9))
    a.delete("s")
    b.save(structs.replace(record(2), epoch=1))
    assert await a.acquire("s", 2, "peer:", 5.0) == AcquiredSession(3, 1, ROOMS, epoch=2)


async def test_a_session_of_a_dead_node_is_deleted_unless_another_node_has_it(store: Store) -> None:
    a, b = _node(store, A), _node(store, B)
    a.save(record(1))
    a.save(record(1, "t"))
    await b.acquire("t", 1, "peer:", 5.0)
    for session in ("s", "t"):
        b.on_node_reaped(session, A)
    assert store.redis.exists(store.keys.session("t"))
    assert not store.redis.exists(store.keys.session("s"))
