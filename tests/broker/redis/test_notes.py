from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from redis.exceptions import ResponseError

from mcp_actors.broker import Note, Taken
from mcp_actors.broker.redis.keys import Keys
from mcp_actors.broker.redis.notes import REWRITTEN_AT_ONCE, Notes
from mcp_actors.broker.redis.scripts import FORGET, NOTE, TAKE
from mcp_actors.protocol.errors import Unavailable
from tests.broker.redis.lua import A, B
from tests.support.loop import turns, until

if TYPE_CHECKING:
    from mcp_actors.broker.redis.outgoing import Call
    from mcp_actors.protocol.identifiers import NodeId
    from tests.broker.redis.lua import Store

KEYS = Keys("test", 0, 1)
LIFE = 600.0
ROOMS = [("room123", "ana", "s.1", True), ("other", "ana", "s.2", False)]


def note(generation: int = 1, session: str = "s", *, proved: bool = False, left: bytes = b"") -> Note:
    return Note(session, generation, generation if proved else generation - 1, "peer:", ROOMS, left)


class Desk:
    """The notes of one node, and what they ask of Redis, which answers when told to."""

    def __init__(self, *, up: bool = True) -> None:
        self.now = 1000.0
        self.calls: list[Call] = []
        self.notes = Notes(KEYS, A, self.calls.append, lambda: self.now, LIFE)
        if up:
            self.notes.attached(anew=False)

    def asked(self) -> list[tuple[str, str]]:
        """The scripts that were called since the last look, and for which session."""
        names = {NOTE.digest: "note", FORGET.digest: "forget", TAKE.digest: "take"}
        calls, self.calls[:] = list(self.calls), []
        return [(names[call.command[1]], str(_keys(call)[-1]).rpartition(":")[2]) for call in calls]

    def answer(self, reply: Any) -> Call:
        """Answer the oldest call."""
        call = self.calls.pop(0)
        call.answered(reply)
        return call


def _keys(call: Call) -> tuple[Any, ...]:
    return call.command[3 : 3 + int(call.command[2])]


def test_a_note_is_written_at_once_and_known_when_that_is_answered() -> None:
    desk = Desk()
    desk.notes.note(note())
    assert not desk.notes.all_written
    desk.answer([b"OK"])
    assert desk.notes.all_written


def test_what_is_noted_while_redis_is_away_is_written_when_it_is_back_and_only_the_latest_of_it() -> None:
    desk = Desk(up=False)
    desk.notes.note(note(1))
    desk.notes.note(note(2))
    desk.notes.note(note(session="t"))
    desk.notes.forget("t")
    assert desk.asked() == []
    desk.notes.attached(anew=False)
    assert sorted(call.command[5] for call in desk.calls if call.command[1] == NOTE.digest) == [2]
    assert sorted(desk.asked()) == [("forget", "t"), ("note", "s")]


def test_what_was_not_answered_is_written_again_over_the_next_link() -> None:
    desk = Desk()
    desk.notes.note(note())
    desk.notes.note(note(session="t"))
    desk.answer([b"OK"])
    desk.calls.clear()
    desk.notes.detached()
    desk.notes.attached(anew=False)
    assert desk.asked() == [("note", "t")]


def test_all_notes_are_written_again_to_a_redis_that_lost_them() -> None:
    desk = Desk()
    for name in ("s", "t"):
        desk.notes.note(note(session=name))
        desk.answer([b"OK"])
    desk.notes.detached()
    desk.notes.attached(anew=True)
    assert sorted(desk.asked()) == [("note", "s"), ("note", "t")]


def test_the_answer_to_an_earlier_note_does_not_count_for_a_later_one() -> None:
    desk = Desk()
    desk.notes.note(note(1))
    desk.notes.note(note(2))
    desk.answer([b"OK"])
    assert not desk.notes.all_written
    desk.answer([b"OK"])
    assert desk.notes.all_written


def test_a_session_that_was_not_noted_is_not_forgotten_either() -> None:
    desk = Desk()
    desk.notes.forget("s")
    assert desk.asked() == []


def test_of_a_session_that_another_node_has_nothing_more_is_said() -> None:
    desk = Desk()
    desk.notes.note(note())
    desk.calls.clear()
    desk.notes.drop("s")
    assert desk.notes.all_written
    desk.notes.forget("s")
    desk.notes.detached()
    desk.notes.attached(anew=True)
    assert desk.asked() == []


def test_a_note_is_written_again_before_redis_forgets_it_and_not_sooner() -> None:
    desk = Desk()
    desk.notes.note(note())
    desk.answer([b"OK"])
    desk.now += 0.4 * LIFE
    desk.notes.note(note(session="t"))
    desk.answer([b"OK"])
    desk.notes.tend()
    assert desk.asked() == []
    desk.now += 0.2 * LIFE
    desk.notes.tend()
    assert desk.asked() == [("note", "s")]
    desk.now += 0.4 * LIFE
    desk.notes.tend()
    assert desk.asked() == [("note", "t")]


def test_many_notes_are_written_again_in_bounded_steps() -> None:
    desk = Desk()
    for number in range(2 * REWRITTEN_AT_ONCE):
        desk.notes.note(note(session=f"s{number}"))
    desk.calls.clear()
    desk.now += LIFE
    steps = []
    for _ in range(3):
        desk.notes.tend()
        steps.append(len(desk.asked()))
    assert steps == [REWRITTEN_AT_ONCE, REWRITTEN_AT_ONCE, 0]


def test_nothing_is_forgotten_for_a_dead_node_while_redis_is_away() -> None:
    desk = Desk(up=False)
    desk.notes.bury("s", B)
    assert desk.asked() == []
    desk.notes.attached(anew=False)
    desk.notes.bury("s", B)
    (call,) = desk.calls
    assert call.command[-1] == B


async def _taking(desk: Desk, patience: float = 5.0) -> asyncio.Task[Taken | None]:
    task = asyncio.ensure_future(desk.notes.take("s", 1, "peer:", patience))
    await until(lambda: desk.calls or task.done(), "that it is asked for")
    return task


@pytest.mark.parametrize(
    "reply", [[b"NONE"], [b"FENCED"], ResponseError("WRONGTYPE")], ids=["none", "fenced", "impossible"]
)
async def test_a_session_that_cannot_be_had_is_not_taken(reply: Any) -> None:
    desk = Desk()
    task = await _taking(desk)
    desk.answer(reply)
    assert await task is None


async def test_a_session_that_another_node_is_taking_is_asked_for_until_that_is_done() -> None:
    desk = Desk()
    task = await _taking(desk)
    desk.answer([b"LATER"])
    await until(lambda: desk.calls, "that it is asked for again")
    desk.answer([b"OK", b"4", b"2", b'[["room123","ana","s.1",true]]', b"left", b'{"room9":"kicked"}'])
    assert await task == Taken(4, 2, [("room123", "ana", "s.1", True)], b"left", {"room9": "kicked"})


async def test_a_session_that_another_node_is_taking_for_too_long_may_be_tried_again() -> None:
    desk = Desk()
    task = await _taking(desk, patience=-1.0)
    desk.answer([b"LATER"])
    with pytest.raises(Unavailable):
        await task


async def test_a_session_cannot_be_had_now_while_redis_is_away() -> None:
    with pytest.raises(Unavailable):
        await Desk(up=False).notes.take("s", 1, "peer:", 5.0)


async def test_who_waits_for_a_session_when_the_link_breaks_is_told_so() -> None:
    desk = Desk()
    task = await _taking(desk)
    desk.notes.detached()
    with pytest.raises(Unavailable):
        await task


async def test_a_late_answer_about_a_session_that_nobody_waits_for_is_dropped() -> None:
    desk = Desk()
    task = await _taking(desk)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    desk.notes.detached()
    desk.answer([b"OK", b"4", b"2", b"[]", b""])
    await turns(2)


# ---------------------------------------------------------------------------------------------- against a real server


def _node(store: Store, node: NodeId) -> Notes:
    store.attach(node)
    client = store.redis

    def call(one: Call) -> None:
        with client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command(*one.command)
            (reply,) = pipeline.execute(raise_on_error=False)
        one.answered(reply)

    notes = Notes(store.keys, node, call, lambda: 0.0, LIFE)
    notes.attached(anew=False)
    return notes


async def test_what_one_node_notes_another_can_take_and_then_the_first_can_say_no_more_of_it(store: Store) -> None:
    a, b = _node(store, A), _node(store, B)
    a.note(note(1, left=b"\x00\xff"))
    assert await b.take("s", 1, "peer:", 5.0) == Taken(2, 0, ROOMS, b"\x00\xff")
    a.note(note(1))
    a.forget("s")
    b.note(note(2))
    assert await a.take("s", 2, "peer:", 5.0) == Taken(3, 1, ROOMS)


async def test_a_session_of_a_dead_node_is_buried_unless_another_has_gone_on_with_it(store: Store) -> None:
    a, b = _node(store, A), _node(store, B)
    a.note(note(1))
    a.note(note(1, "t"))
    await b.take("t", 1, "peer:", 5.0)
    for session in ("s", "t"):
        b.bury(session, A)
    assert store.redis.exists(store.keys.session("t"))
    assert not store.redis.exists(store.keys.session("s"))
