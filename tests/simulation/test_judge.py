from __future__ import annotations

from dataclasses import replace

import pytest

from bench.chaos.record import LOCK, Event, Link, News, Record
from tests.simulation.judge import CHECKS
from tests.support.records import calm, hear, member


@pytest.fixture
def record() -> Record:
    return calm()


def found(record: Record, check: str) -> int:
    return len(list(CHECKS[check](record)))


def test_a_join_while_the_room_is_locked_is_found(record: Record) -> None:
    hear(record, Event(60.0, joined=True, peer=LOCK), "o0")
    hear(record, Event(61.0, joined=False, peer=LOCK), "o0")
    hear(record, Event(62.0, joined=True, peer="eve", order=5), "o0")
    assert found(record, "intruders") == 0
    hear(record, Event(63.0, joined=True, peer=LOCK), "o0")
    hear(record, Event(64.0, joined=True, peer="eva", order=6), "o0")
    assert found(record, "intruders") == 1
    member(record, "ada").role = "moderator"
    member(record, "o0").events[-1] = Event(64.0, joined=True, peer="ada", order=6)
    assert found(record, "intruders") == 0, "moderators may"


def test_a_lock_that_is_left_counts_as_a_ghost(record: Record) -> None:
    hear(record, Event(60.0, joined=True, peer=LOCK), "o0")
    assert found(record, "ghosts") == 1


@pytest.mark.parametrize(("attempts", "breaches"), [(1, 1), (2, 0)])
def test_a_needless_gap_is_found_unless_several_attempts_were_made_at_once(
    record: Record, attempts: int, breaches: int
) -> None:
    link = Link(0, 20.1, since=20.0, entered_at=20.2, resumed=True, complete=False)
    member(record, "bob").links = [link, *[Link(1, 20.1, since=20.0)] * (attempts - 1)]
    assert found(record, "incomplete") == 0, "there were faults that may cause it"
    assert found(replace(record, gentle=True), "incomplete") == breaches


def test_a_peer_that_leaves_with_timeout_and_was_never_away_is_found(record: Record) -> None:
    stay = member(record, "o0")
    stay.learn(News(50.0, True, "bob"))
    stay.hear(Event(60.0, joined=False, peer="bob", reason="timeout"))
    assert found(record, "sudden") == 0
    stay.hear(Event(61.0, joined=False, peer="ada", reason="timeout"))
    assert found(record, "sudden") == 1


def test_a_member_whose_kick_was_lost_is_no_ghost(record: Record) -> None:
    member(record, "bob").ended_at = 50.0
    assert found(record, "ghosts") == 3
    record.undone.add("bob")
    assert found(record, "ghosts") == 0
