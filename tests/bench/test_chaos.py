from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import main
from bench.chaos.judge import CHECKS
from bench.chaos.record import EVERYBODY, Arrival, Event, Kill, Record, Stay
from bench.chaos.roster_checks import announced_after
from bench.chaos.verdict import summarize
from tests.support.records import MESSAGES, ORDERS, breaches, calm, hear, member, send

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def record() -> Record:
    return calm()


def test_a_run_without_faults_has_no_breaches(record: Record) -> None:
    assert breaches(record) == {}
    verdict = summarize("none", 1, record, 0.0)
    assert verdict.kept
    assert (verdict.sent, verdict.judged, verdict.latency.p50) == (MESSAGES, MESSAGES, 500_000)


def test_a_lost_message_is_found(record: Record) -> None:
    del member(record, "bob").arrived[7]
    assert breaches(record) == {"lost": 1}
    assert "message 8 of ada" in next(CHECKS["lost"](record))


def test_a_message_that_was_refused_is_not_lost(record: Record) -> None:
    del member(record, "bob").arrived[7]
    member(record, "ada").refused["bob"] = {8: "unavailable"}
    assert breaches(record) == {}


def test_a_valid_message_that_the_server_rejects_as_bad_is_found(record: Record) -> None:
    del member(record, "bob").arrived[7]
    member(record, "ada").refused["bob"] = {8: "bad-message"}
    assert breaches(record) == {"misunderstood": 1}


def test_a_message_answered_as_if_its_sender_were_not_in_the_room_is_found(record: Record) -> None:
    del member(record, "bob").arrived[7]
    member(record, "ada").refused["bob"] = {8: "not-in-room"}
    assert breaches(record) == {"disowned": 1}


def test_messages_of_a_removed_sender_may_be_answered_with_not_in_room(record: Record) -> None:
    del member(record, "bob").arrived[7]
    ada = member(record, "ada")
    ada.refused["bob"] = {8: "not-in-room"}
    ada.kicked_at, ada.ended_at = 17.5, 100.0
    hear(record, Event(18.0, joined=False, peer="ada"), "o0", "o1", "bob")
    assert breaches(record) == {}


def test_a_member_may_leave_once_a_moderator_has_asked_for_it(record: Record) -> None:
    hear(record, Event(50.0, joined=False, peer="bob"), "o0", "o1", "ada")
    bob = member(record, "bob")
    bob.kicked_at, bob.ended_at = 49.9, 50.1
    assert breaches(record) == {"idle": 1}
    bob.kicked_at = 50.05
    assert breaches(record) == {"idle": 1, "false_leaves": 3}


def test_a_message_neither_answered_nor_delivered_breaks_two_promises(record: Record) -> None:
    del member(record, "bob").arrived[7]
    member(record, "ada").acknowledged["bob"].pop(8)
    assert breaches(record) == {"lost": 1, "unanswered": 1}


def test_an_unanswered_message_of_a_peer_that_left_may_be_lost(record: Record) -> None:
    del member(record, "bob").arrived[7]
    member(record, "ada").acknowledged["bob"].pop(8)
    member(record, "ada").ended_at = 100.0
    hear(record, Event(100.1, joined=False, peer="ada"), "o0", "o1", "bob")
    assert breaches(record) == {}


def test_an_acknowledged_message_of_a_peer_that_left_may_not_be_lost(record: Record) -> None:
    del member(record, "bob").arrived[7]
    member(record, "ada").ended_at = 100.0
    hear(record, Event(100.1, joined=False, peer="ada"), "o0", "o1", "bob")
    assert breaches(record) == {"lost": 1}


@pytest.mark.parametrize("struck", ["ada", "bob"])
def test_messages_of_and_to_a_struck_node_may_be_lost(record: Record, struck: str) -> None:
    del member(record, "bob").arrived[7]
    member(record, struck).struck_at = 50.0
    assert breaches(record).keys() <= {"idle"}


def test_a_duplicate_is_found_even_on_a_struck_node(record: Record) -> None:
    send(member(record, "ada"), member(record, "bob"), 3)
    member(record, "bob").struck_at = 50.0
    assert breaches(record) == {"duplicated": 1, "idle": 1}


def test_messages_out_of_order_are_found(record: Record) -> None:
    arrived = member(record, "bob").arrived
    arrived[4], arrived[5] = arrived[5], arrived[4]
    assert breaches(record) == {"reordered": 1}


def test_a_message_of_an_unknown_sender_is_found(record: Record) -> None:
    member(record, "bob").arrived[4] = Arrival(15.5, "ada", "bob", 5, 15.0, known=False)
    assert breaches(record) == {"strays": 1}


def test_a_lost_broadcast_is_found() -> None:
    users = [Stay(name, "room", node, "user", joined_at=1.0) for node, name in enumerate(("u0", "u1", "u2"))]
    for number in range(1, MESSAGES + 1):
        for user in users[1:]:
            send(users[0], user, number, EVERYBODY)
    del users[2].arrived[5]
    late = Stay("u3", "room", 1, "user", joined_at=10.0 + MESSAGES)
    record = Record(stays=[*users, late])
    assert len(list(CHECKS["lost"](record))) == 1


def test_a_connection_closed_by_a_running_node_is_found(record: Record) -> None:
    member(record, "bob").closed = "closed with 4001 room-lost"
    assert breaches(record) == {"closed": 1}
    member(record, "bob").struck_at = 50.0
    assert "closed" not in breaches(record)


def test_a_false_leave_counts_once_for_each_member_that_was_told(record: Record) -> None:
    hear(record, Event(50.0, joined=False, peer="bob"), "o0", "o1", "ada")
    hear(record, Event(50.1, joined=True, peer="bob", order=5), "o0", "o1", "ada")
    assert breaches(record) == {"false_leaves": 3, "mismatches": 1}, "Bob was not told"


def test_a_leave_before_the_peer_asked_for_it_is_false(record: Record) -> None:
    hear(record, Event(50.0, joined=False, peer="bob"), "o0", "o1", "ada")
    member(record, "bob").ended_at = 50.1
    assert breaches(record) == {"false_leaves": 3, "idle": 1}


def test_each_leave_of_a_mover_may_be_told_once(record: Record) -> None:
    for order in (5, 6):
        stay = Stay(
            "m", "room", 0, "mover", joined_at=10.0 * order, ended_at=10.0 * order + 1, left_at=10.0 * order + 2
        )
        stay.first_roster = ORDERS | {"m": order}
        record.stays.append(stay)
        hear(record, Event(10.0 * order, joined=True, peer="m", order=order), *ORDERS)
        hear(record, Event(10.0 * order + 1.5, joined=False, peer="m"), *ORDERS)
    assert breaches(record) == {}


def test_an_id_that_is_not_released_is_found(record: Record) -> None:
    record.stays.append(Stay("bob", "room", 0, "mover", asked_at=70.0, ended_at=71.0, join_error="peer-id-taken"))
    assert breaches(record) == {}
    member(record, "bob").ended_at, member(record, "bob").left_at = 60.0, 61.0
    hear(record, Event(61.0, joined=False, peer="bob"), "o0", "o1", "ada")
    assert breaches(record) == {"taken": 1, "idle": 1}


def test_a_different_order_of_events_is_found(record: Record) -> None:
    events = member(record, "o1").events
    events[0], events[1] = events[1], events[0]
    assert breaches(record) == {"mismatches": 1}


def test_a_missing_event_is_found(record: Record) -> None:
    member(record, "ada").events.pop()
    assert breaches(record) == {"mismatches": 1}


def test_a_different_roster_in_a_join_reply_is_found(record: Record) -> None:
    member(record, "ada").first_roster.pop("o1")
    assert breaches(record) == {"mismatches": 1}


def test_a_repeated_event_is_found(record: Record) -> None:
    hear(record, Event(50.0, joined=True, peer="bob", order=4), "o1")
    assert breaches(record) == {"mismatches": 2}


def test_a_frozen_observer_is_compared_by_its_last_roster(record: Record) -> None:
    frozen = member(record, "o1")
    frozen.struck_at = 30.0
    hear(record, Event(51.0, joined=False, peer="o1"), "o0", "ada", "bob")
    hear(record, Event(52.0, joined=True, peer="o1", order=2), "o0", "ada", "bob")
    assert breaches(record) == {}
    frozen.roster.pop("bob")
    assert breaches(record) == {"mismatches": 1, "ghosts": 1}


def test_members_are_compared_with_each_other_if_no_observer_survived(record: Record) -> None:
    for name in ("o0", "o1"):
        member(record, name).struck_at = 50.0
    assert breaches(record) == {}
    hear(record, Event(60.0, joined=True, peer="eve", order=5), "bob")
    assert "mismatches" in breaches(record)


def test_the_present_members_are_compared_if_all_were_struck(record: Record) -> None:
    for name in ORDERS:
        member(record, name).struck_at = 50.0
    assert breaches(record) == {"idle": 1}
    member(record, "bob").roster.pop("ada")
    assert "mismatches" in breaches(record)


def test_a_room_in_which_nobody_is_left_is_found(record: Record) -> None:
    for name in ORDERS:
        member(record, name).struck_at = member(record, name).ended_at = 50.0
    assert "mismatches" in breaches(record)


def test_a_ghost_counts_once_for_each_member_that_sees_it(record: Record) -> None:
    member(record, "bob").ended_at = 100.0
    hear(record, Event(100.1, joined=False, peer="bob"), "o0", "o1")
    assert breaches(record) == {"ghosts": 1, "mismatches": 1, "idle": 1}


def test_a_peer_that_nobody_sees_is_found(record: Record) -> None:
    record.stays.append(Stay("eve", "room", 0, joined_at=60.0, first_roster=ORDERS | {"eve": 5}))
    found = list(CHECKS["ghosts"](record))
    assert sum("does not see eve" in line for line in found) == 5


def test_a_roster_without_the_last_update_of_a_member_is_found(record: Record) -> None:
    ada, bob = member(record, "ada"), member(record, "bob")
    ada.updates, ada.updated = 3, 2
    bob.metadata["ada"] = 3
    assert breaches(record) == {}, "the third was carried out, and its answer is on its way"
    bob.metadata["ada"] = 1
    assert breaches(record) == {"stale": 1}
    ada.ended_at = 100.0
    assert "stale" not in breaches(record)


def test_peers_of_a_killed_node_must_be_announced_in_time(record: Record) -> None:
    bob = member(record, "bob")
    bob.struck_at = bob.ended_at = 100.0
    member(record, "o1").struck_at = member(record, "o1").ended_at = 100.0
    record.kills, record.announce_within = [Kill(100.0, 1, {"bob", "o1"})], 3.0
    hear(record, Event(101.0, joined=False, peer="bob"), "o0", "ada")
    assert breaches(record)["late"] == 1, "o1 was not announced"
    hear(record, Event(103.5, joined=False, peer="o1"), "o0", "ada")
    hear(record, Event(104.0, joined=True, peer="bob", order=5), "o0", "ada")
    hear(record, Event(120.0, joined=False, peer="bob"), "o0", "ada")
    assert announced_after(record, {"bob", "o1"}, 100.0) == 3.5, "the first leave counts"
    assert breaches(record)["late"] == 1
    record.announce_within = 4.0
    assert "late" not in breaches(record)


def test_leaked_keys_and_errors_in_logs_are_breaches(record: Record) -> None:
    record.leaked, record.bugs = ["{sg:0}:r:room (hash)"], ["node 0: Traceback"]
    assert breaches(record) == {"leaked": 1, "bugs": 1}
    assert not summarize("none", 1, record, 0.0).kept


def test_a_run_without_messages_is_inconclusive(record: Record) -> None:
    member(record, "ada").sent.clear()
    member(record, "bob").arrived.clear()
    assert breaches(record) == {"idle": 1}


@pytest.mark.heavy
def test_promises_hold_while_connections_to_redis_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["chaos", "--quick", "--fault", "links", "--out", str(tmp_path)])
    assert status == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "chaos" / "results.json").read_bytes())
    (verdict,) = results["verdicts"]
    assert verdict["judged"] > 0
    assert not any(verdict["breaches"].values())
    assert "kept" in (tmp_path / "chaos" / "report.txt").read_text()


@pytest.mark.heavy
@pytest.mark.parametrize("fault", ["slow-owner", "partition"])
def test_sessions_move_away_from_a_node_that_stands_still_or_is_cut_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    status = main(["chaos", "--quick", "--fault", fault, "--processes", "3", "--out", str(tmp_path)])
    assert status == 0, capsys.readouterr().out
    results = json.loads((tmp_path / "chaos" / "results.json").read_bytes())
    (verdict,) = results["verdicts"]
    assert verdict["judged"] > 0
    assert verdict["returns"]["elsewhere"] > 0


@pytest.mark.heavy
def test_the_control_loses_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["chaos", "--against", "control", "--quick", "--fault", "links", "--rate", "1500", "--out", str(tmp_path)]
    assert main(asked) == 0, capsys.readouterr().out
    assert "failed, as expected" in (tmp_path / "chaos-control" / "report.txt").read_text()
