"""The judge of members that come back: every test but the first breaks one promise in a record, and must be told."""

from __future__ import annotations

import pytest

from bench.chaos.judge import CHECKS, told
from bench.chaos.record import Event, Link, News, Record, Stay
from bench.chaos.returns import count
from bench.chaos.verdict import sum_up
from tests.support.records import breaches, calm, hear, member

BROKE, BACK = 30.0, 31.0


@pytest.fixture
def record() -> Record:
    """As `calm`; meanwhile Bob has lost its connection to node 1, and come back at node 0."""
    record = calm()
    record.window = 10.0
    for stay in record.stays:
        stay.links = [link(stay, 0.5, runs=[[1, 40]], entered_at=stay.joined_at)]
    bob = member(record, "bob")
    bob.links[0].ended_at, bob.links[0].closed, bob.links[0].expected = BROKE, "cut", True
    bob.links.append(link(bob, BROKE, node=0, received=40, runs=[[41, 90]], entered_at=BACK, resumed=True))
    for other in record.stays[:3]:
        other.learn(News(BROKE, away=True, peer="bob"))
        other.learn(News(BACK, away=False, peer="bob"))
    return record


def link(stay: Stay, since: float, **more: object) -> Link:
    made = Link(stay.node, since, since=since, order=stay.first_roster[stay.member])
    for name, value in more.items():
        setattr(made, name, value)
    return made


def last(record: Record) -> Link:
    return member(record, "bob").links[-1]


def test_a_member_that_came_back_and_missed_nothing_is_no_breach(record: Record) -> None:
    assert breaches(record) == {}
    counted = sum_up("moves", 1, record, 0.0).returns
    assert (counted.times, counted.elsewhere, counted.incomplete, counted.slowest) == (1, 1, 0, BACK - BROKE)


def test_what_was_lost_though_the_member_was_told_that_all_is_there_is_found(record: Record) -> None:
    del member(record, "bob").arrived[7]
    assert breaches(record) == {"lost": 1}
    assert list(told(record)) == []


def test_what_was_lost_as_the_member_was_told_is_counted_apart(record: Record) -> None:
    del member(record, "bob").arrived[7]
    last(record).complete = False
    assert breaches(record) == {}
    assert "message 8 of ada" in next(told(record))
    assert count(record, 1).incomplete == 1


def test_what_was_lost_after_the_member_was_told_of_a_loss_is_found(record: Record) -> None:
    del member(record, "bob").arrived[40]
    last(record).complete = False
    assert breaches(record) == {"lost": 1}


def test_what_never_was_refused_nor_arrived_is_lost_even_without_an_answer(record: Record) -> None:
    ada = member(record, "ada")
    ada.links.append(link(ada, BROKE, received=40, runs=[[41, 41]], entered_at=BACK, resumed=True))
    ada.links[0].ended_at = BROKE
    del member(record, "bob").arrived[7]
    ada.acknowledged["bob"].discard(8)
    assert breaches(record) == {"lost": 1, "unanswered": 1}


def test_a_message_that_comes_again_after_the_return_is_found(record: Record) -> None:
    bob = member(record, "bob")
    bob.arrived.insert(25, bob.arrived[24])
    assert breaches(record) == {"duplicated": 1}


def test_messages_that_change_places_over_a_return_are_found(record: Record) -> None:
    arrived = member(record, "bob").arrived
    arrived[19], arrived[20] = arrived[20], arrived[19]
    assert breaches(record) == {"reordered": 1}


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        pytest.param([[40, 90]], 1, id="the last again"),
        pytest.param([[42, 90]], 1, id="a gap at the beginning"),
        pytest.param([[41, 50], [52, 90]], 1, id="a gap"),
        pytest.param([[41, 50], [50, 90]], 1, id="one twice"),
        pytest.param([[41, 41], [43, 43], [42, 42], [44, 90]], 3, id="two that changed places"),
        pytest.param([[1, 50]], 1, id="all from the beginning"),
    ],
)
def test_deliveries_that_are_not_dense_are_found(record: Record, runs: list[list[int]], found: int) -> None:
    last(record).runs = runs
    assert breaches(record) == {"numbers": found}


def test_a_gap_that_the_member_was_told_of_is_no_breach_but_a_second_is(record: Record) -> None:
    last(record).complete = False
    last(record).runs = [[60, 90]]
    assert breaches(record) == {}
    last(record).runs = [[60, 70], [72, 90]]
    assert breaches(record) == {"numbers": 1}


def test_a_member_that_was_not_let_back_in_time_is_found(record: Record) -> None:
    bob = member(record, "bob")
    bob.gave_up, bob.ended_at = "resumed is false", BACK
    hear(record, Event(BACK + 1, joined=False, peer="bob"), "o0", "o1", "ada")
    assert breaches(record).keys() == {"unresumed", "idle"}
    last(record).since = BACK - record.window
    assert "unresumed" not in breaches(record), "it came too late"


def test_a_leave_of_a_member_that_came_back_is_false(record: Record) -> None:
    hear(record, Event(BROKE, joined=False, peer="bob"), "ada")
    assert breaches(record)["false_leaves"] == 1


def test_a_second_join_of_a_member_that_came_back_is_found(record: Record) -> None:
    hear(record, Event(BACK, joined=True, peer="bob", order=4), "ada")
    assert breaches(record)["joined_again"] == 1


def test_another_order_after_the_return_is_found(record: Record) -> None:
    last(record).order = 5
    assert breaches(record) == {"orders": 1}


def test_another_roster_after_the_return_is_found(record: Record) -> None:
    last(record).differs = "less [('ada', 3)], more []"
    assert breaches(record) == {"resumed_rosters": 1}


def test_a_member_that_is_there_and_seen_as_away_is_found_with_whoever_sees_it(record: Record) -> None:
    for name in ("o0", "ada"):
        member(record, name).learn(News(50.0, away=True, peer="bob"))
    assert breaches(record) == {"absent": 2}
    member(record, "ada").role = "user"
    assert len(list(CHECKS["absent"](record))) == 1, "users are not told of connections"


def test_two_connections_of_one_session_are_found(record: Record) -> None:
    member(record, "bob").links[0].ended_at = None
    assert breaches(record) == {"doubled": 1}


def test_a_connection_that_a_living_node_closed_is_found_though_the_member_came_back(record: Record) -> None:
    first = member(record, "bob").links[0]
    first.closed, first.expected = "closed with 4000 slow-peer", False
    assert breaches(record) == {"closed": 1}


def test_who_missed_something_is_compared_by_its_last_roster(record: Record) -> None:
    member(record, "o1").links.append(
        link(member(record, "o1"), BROKE, received=40, runs=[[50, 60]], entered_at=BACK, resumed=True, complete=False)
    )
    member(record, "o1").links[0].ended_at = BROKE
    member(record, "o1").events.pop()
    assert breaches(record) == {}
    member(record, "o1").roster.pop("bob")
    assert breaches(record) == {"mismatches": 1, "ghosts": 1}


def test_news_behind_a_gap_may_be_of_who_is_not_known_until_the_reply_says_who_is_there(record: Record) -> None:
    last(record).complete, last(record).runs = False, [[60, 90]]
    bob = member(record, "bob")
    bob.events.append(Event(BACK, joined=False, peer="unknown"))
    assert "mismatches" not in breaches(record)
    bob.events[-1] = Event(BACK + 1, joined=False, peer="unknown")
    assert breaches(record)["mismatches"] == 1, "after that reply all are known"
    bob.events[-1] = Event(BACK, joined=False, peer="unknown")
    last(record).runs = [[41, 90]]
    assert breaches(record)["mismatches"] == 1, "there is no gap"


def test_every_check_of_members_that_come_back_is_asked() -> None:
    assert {"unresumed", "numbers", "orders", "resumed_rosters", "joined_again", "absent", "doubled"} <= CHECKS.keys()
