"""The checks of resumed sessions: every test but the first breaks a promise in a record, which must be found."""

from __future__ import annotations

import pytest

from bench.chaos.judge import CHECKS, told
from bench.chaos.record import Cut, Event, Link, News, Record, Stay
from bench.chaos.resume_checks import count
from bench.chaos.verdict import summarize
from tests.support.records import breaches, calm, hear, member

BROKE, BACK = 30.0, 31.0


@pytest.fixture
def record() -> Record:
    """As `calm`, but Bob has lost its connection to node 1 and resumed on node 0."""
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


def test_a_member_that_resumed_without_a_gap_is_no_breach(record: Record) -> None:
    assert breaches(record) == {}
    counted = summarize("moves", 1, record, 0.0).returns
    assert (counted.times, counted.elsewhere, counted.incomplete, counted.slowest) == (1, 1, 0, BACK - BROKE)
    assert counted.median == BACK - BROKE
    last(record).dialed_at = BACK - 0.25
    assert count(record, 0).median == 0.25
    last(record).node = 1
    assert count(record, 0).median == 0.0
    last(record).since = 0.0  # it entered a further room over its first connection
    assert count(record, 0).slowest == 0.0


def test_a_message_lost_without_a_reported_gap_is_found(record: Record) -> None:
    del member(record, "bob").arrived[7]
    assert breaches(record) == {"lost": 1}
    assert list(told(record)) == []


def test_a_message_lost_in_a_reported_gap_is_counted_separately(record: Record) -> None:
    del member(record, "bob").arrived[7]
    last(record).complete = False
    assert breaches(record) == {}
    assert "message 8 of ada" in next(told(record))
    assert count(record, 1).incomplete == 1


def test_a_message_lost_in_a_reported_gap_but_accepted_long_after_it_is_found(record: Record) -> None:
    del member(record, "bob").arrived[7]
    last(record).complete = False
    acknowledged = member(record, "ada").acknowledged["bob"]
    acknowledged[8] = BACK + 0.9
    assert breaches(record) == {}, "the ack was on its way"
    acknowledged[8] = BACK + 1.1
    assert breaches(record) == {"lost": 1}


def test_a_message_accepted_by_a_node_that_was_cut_off_may_be_lost_if_its_sender_leaves(record: Record) -> None:
    ada, bob = member(record, "ada"), member(record, "bob")
    del bob.arrived[30]  # sent at 41 s
    for one in bob.links:
        one.node = 1 - one.node
    record.cuts.append(Cut(ada.node, 40.0, 43.0))
    assert breaches(record) == {"lost": 1}, "its sender is still there"
    ada.ended_at = 43.5
    hear(record, Event(43.6, joined=False, peer="ada"), "o0", "o1", "bob")
    assert "lost" not in breaches(record)
    assert "message 31 of ada" in next(told(record))
    ada.ended_at = 44.1
    assert "lost" in breaches(record), "its node had handed the message over before"
    ada.ended_at = 43.5
    for other in (Cut(bob.node, 40.0, 43.0), Cut(ada.node, 42.0, 43.0), Cut(ada.node, 40.0, 40.9)):
        record.cuts = [other]
        assert "lost" in breaches(record), "its node was not cut off"
    record.cuts = [Cut(ada.node, 40.0, 43.0)]
    last(record).node = ada.node
    assert "lost" in breaches(record), "its receiver was there"


def test_a_message_lost_after_a_reported_gap_is_found(record: Record) -> None:
    del member(record, "bob").arrived[40]
    last(record).complete = False
    assert breaches(record) == {"lost": 1}


def test_a_message_that_was_neither_answered_nor_delivered_over_a_resume_is_lost(record: Record) -> None:
    ada = member(record, "ada")
    ada.links.append(link(ada, BROKE, received=40, runs=[[41, 41]], entered_at=BACK, resumed=True))
    ada.links[0].ended_at = BROKE
    del member(record, "bob").arrived[7]
    ada.acknowledged["bob"].pop(8)
    assert breaches(record) == {"lost": 1, "unanswered": 1}


def test_a_message_delivered_again_after_a_resume_is_found(record: Record) -> None:
    bob = member(record, "bob")
    bob.arrived.insert(25, bob.arrived[24])
    assert breaches(record) == {"duplicated": 1}


def test_messages_reordered_over_a_resume_are_found(record: Record) -> None:
    arrived = member(record, "bob").arrived
    arrived[19], arrived[20] = arrived[20], arrived[19]
    assert breaches(record) == {"reordered": 1}


@pytest.mark.parametrize("told", [True, False])
def test_messages_from_before_a_gap_that_the_receiver_was_told_of_may_come_late(record: Record, told: bool) -> None:
    bob = member(record, "bob")
    bob.arrived[19], bob.arrived[20] = bob.arrived[20], bob.arrived[19]
    link = bob.links[-1]
    link.complete, link.entered_at = not told, 1000.0
    assert ("reordered" in breaches(record)) is not told


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        pytest.param([[40, 90]], 1, id="the last one repeated"),
        pytest.param([[42, 90]], 1, id="a gap at the beginning"),
        pytest.param([[41, 50], [52, 90]], 1, id="a gap"),
        pytest.param([[41, 50], [50, 90]], 1, id="one repeated"),
        pytest.param([[41, 41], [43, 43], [42, 42], [44, 90]], 3, id="two swapped"),
        pytest.param([[1, 50]], 1, id="all from the beginning"),
    ],
)
def test_delivery_numbers_that_do_not_continue_are_found(record: Record, runs: list[list[int]], found: int) -> None:
    last(record).runs = runs
    assert breaches(record) == {"numbers": found}


def test_a_reported_gap_is_no_breach_but_a_second_gap_is(record: Record) -> None:
    last(record).complete = False
    last(record).runs = [[60, 90]]
    assert breaches(record) == {}
    last(record).runs = [[60, 70], [72, 90]]
    assert breaches(record) == {"numbers": 1}


def test_a_member_that_could_not_resume_in_time_is_found(record: Record) -> None:
    bob = member(record, "bob")
    bob.gave_up, bob.ended_at = "resumed is false", BACK
    hear(record, Event(BACK + 1, joined=False, peer="bob"), "o0", "o1", "ada")
    assert breaches(record).keys() == {"unresumed", "idle"}
    last(record).since = BACK - record.window
    assert "unresumed" not in breaches(record), "it came after the window"


@pytest.fixture
def removed(record: Record) -> Stay:
    """Bob, whom a moderator removed after it had resumed."""
    bob = member(record, "bob")
    bob.kicked_at, bob.removed_at, bob.ended_at = 199.0, 200.0, 199.5
    hear(record, Event(199.5, joined=False, peer="bob"), "o0", "o1", "ada")
    return bob


def test_a_removed_member_whose_resume_is_refused_is_no_breach(record: Record, removed: Stay) -> None:
    removed.links.append(Link(0, 201.0, since=200.0, refused="kicked"))
    removed.gave_up = "kicked"
    assert breaches(record) == {"idle": 1}


def test_a_removed_member_that_resumes_is_found(record: Record, removed: Stay) -> None:
    removed.links.append(
        link(removed, 200.5, received=90, runs=[[91, 91]], entered_at=201.0, resumed=True, expected=True)
    )
    assert breaches(record) == {"idle": 1, "returned": 1}
    removed.links[-1].closed = "closed with 4504 kicked"
    assert breaches(record) == {"idle": 1}, "its node had not heard of it"
    removed.links[-1].closed = "closed with 1000"
    removed.links[-1].expected = True
    removed.links[-1].dialed_at = 199.9
    assert breaches(record) == {"idle": 1}, "it may have been there before it was removed"


@pytest.mark.parametrize("dialed_at", [199.5, 201.0], ids=["while it is removed", "afterwards"])
def test_a_removed_member_that_resumes_as_a_newcomer_is_found(record: Record, removed: Stay, dialed_at: float) -> None:
    removed.links.append(Link(0, dialed_at, newcomer=True))
    assert breaches(record) == {"idle": 1, "returned": 1}
    removed.links[-1].ended_at = 199.0 + record.window
    assert breaches(record) == {"idle": 1}, "its session had ended by then"


def test_a_leave_of_a_member_that_resumed_is_false(record: Record) -> None:
    hear(record, Event(BROKE, joined=False, peer="bob"), "ada")
    assert breaches(record)["false_leaves"] == 1


def test_a_second_join_of_a_member_that_resumed_is_found(record: Record) -> None:
    hear(record, Event(BACK, joined=True, peer="bob", order=4), "ada")
    assert breaches(record)["joined_again"] == 1


def test_a_changed_order_after_a_resume_is_found(record: Record) -> None:
    last(record).order = 5
    assert breaches(record) == {"orders": 1}


def test_a_different_roster_after_a_resume_is_found(record: Record) -> None:
    last(record).differs = "less [('ada', 3)], more []"
    assert breaches(record) == {"resumed_rosters": 1}


def test_a_connected_member_seen_as_away_counts_once_for_each_that_sees_it(record: Record) -> None:
    for name in ("o0", "ada"):
        member(record, name).learn(News(50.0, away=True, peer="bob"))
    assert breaches(record) == {"absent": 2}
    member(record, "ada").role = "user"
    assert len(list(CHECKS["absent"](record))) == 1, "users are not told of connections"


def test_two_connections_of_one_session_are_found(record: Record) -> None:
    member(record, "bob").links[0].ended_at = None
    assert breaches(record) == {"doubled": 1}


def test_a_connection_closed_by_a_running_node_is_found_although_the_member_resumed(record: Record) -> None:
    first = member(record, "bob").links[0]
    first.closed, first.expected = "closed with 4000 slow-peer", False
    assert breaches(record) == {"closed": 1}


def test_a_member_with_a_gap_is_compared_by_its_last_roster(record: Record) -> None:
    member(record, "o1").links.append(
        link(member(record, "o1"), BROKE, received=40, runs=[[50, 60]], entered_at=BACK, resumed=True, complete=False)
    )
    member(record, "o1").links[0].ended_at = BROKE
    member(record, "o1").events.pop()
    assert breaches(record) == {}
    member(record, "o1").roster.pop("bob")
    assert breaches(record) == {"mismatches": 1, "ghosts": 1}


def test_after_a_gap_events_may_concern_unknown_peers_until_the_reply_brings_the_roster(record: Record) -> None:
    last(record).complete, last(record).runs = False, [[60, 90]]
    bob = member(record, "bob")
    bob.events.append(Event(BACK, joined=False, peer="unknown"))
    assert "mismatches" not in breaches(record)
    bob.events[-1] = Event(BACK + 1, joined=False, peer="unknown")
    assert breaches(record)["mismatches"] == 1, "after that reply all are known"
    bob.events[-1] = Event(BACK, joined=False, peer="unknown")
    last(record).complete, last(record).runs = True, [[41, 90]]
    assert "mismatches" in breaches(record), "no gap was reported"


def test_all_checks_of_resumed_sessions_are_made() -> None:
    assert {"unresumed", "numbers", "orders", "resumed_rosters", "joined_again", "absent", "doubled"} <= CHECKS.keys()
