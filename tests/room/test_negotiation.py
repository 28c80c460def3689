from __future__ import annotations

import gc
import tracemalloc
from itertools import combinations
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.events import NegotiationStep
from mcp_actors.protocol.identifiers import Incarnation
from mcp_actors.room.negotiation import Negotiations

ANA, BEN, CEM = Incarnation("ana"), Incarnation("ben"), Incarnation("cem")
NAMES = [ANA, BEN, CEM, Incarnation("dan")]

names = st.sampled_from(NAMES)
belonging = st.sampled_from(["answer", "ice-candidate"])


def _offer(negotiations: Negotiations, sender: Incarnation, target: Incarnation) -> int:
    return negotiations.offered(sender, target, remote=False)


def _answer(negotiations: Negotiations, sender: Incarnation, target: Incarnation, number: int) -> int:
    return negotiations.superseded(sender, target, NegotiationStep("answer", number))


def _candidate(negotiations: Negotiations, sender: Incarnation, target: Incarnation, number: int) -> int:
    return negotiations.superseded(sender, target, NegotiationStep("ice-candidate", number))


def test_numbers_rise_by_one_with_each_offer_of_either_side() -> None:
    negotiations = Negotiations()
    numbers = [_offer(negotiations, *way) for way in ((ANA, BEN), (BEN, ANA), (BEN, ANA), (ANA, BEN))]
    assert numbers == [1, 2, 3, 4]


def test_each_pair_counts_for_itself() -> None:
    negotiations = Negotiations()
    assert [_offer(negotiations, ANA, BEN), _offer(negotiations, ANA, BEN)] == [1, 2]
    assert [_offer(negotiations, ANA, CEM), _offer(negotiations, CEM, BEN), _offer(negotiations, BEN, CEM)] == [1, 1, 2]


def test_an_answer_to_the_latest_offer_passes() -> None:
    negotiations = Negotiations()
    _offer(negotiations, ANA, BEN)
    assert not _answer(negotiations, BEN, ANA, _offer(negotiations, ANA, BEN))


def test_an_answer_to_a_superseded_offer_is_stale() -> None:
    negotiations = Negotiations()
    first = _offer(negotiations, ANA, BEN)
    second = _offer(negotiations, ANA, BEN)
    assert _answer(negotiations, BEN, ANA, first) == second


def test_an_answer_with_the_number_of_its_senders_own_offer_is_judged_by_the_targets_offers() -> None:
    negotiations = Negotiations()
    first, _ = _offer(negotiations, BEN, ANA), _offer(negotiations, BEN, ANA)
    assert not _answer(negotiations, BEN, ANA, first)
    assert _candidate(negotiations, BEN, ANA, first)
    third = _offer(negotiations, ANA, BEN)
    assert _answer(negotiations, BEN, ANA, first) == third


def test_in_glare_the_answer_to_the_lower_number_passes() -> None:
    """The impolite peer offered first and ignores the other's offer; its own is the one that is answered."""
    negotiations = Negotiations()
    impolite, polite = _offer(negotiations, ANA, BEN), _offer(negotiations, BEN, ANA)
    assert impolite < polite
    assert not _answer(negotiations, BEN, ANA, impolite)
    assert not _candidate(negotiations, ANA, BEN, impolite)
    assert not _candidate(negotiations, BEN, ANA, impolite)
    assert not _candidate(negotiations, BEN, ANA, polite)


def test_in_glare_the_answer_to_the_higher_number_passes() -> None:
    negotiations = Negotiations()
    polite, impolite = _offer(negotiations, BEN, ANA), _offer(negotiations, ANA, BEN)
    assert not _answer(negotiations, BEN, ANA, impolite)
    assert not _candidate(negotiations, ANA, BEN, impolite)
    assert not _candidate(negotiations, BEN, ANA, polite)


@pytest.mark.parametrize("sender", [ANA, BEN])
def test_a_candidate_of_a_superseded_offer_is_stale_from_either_peer(sender: Incarnation) -> None:
    negotiations = Negotiations()
    first, second = _offer(negotiations, ANA, BEN), _offer(negotiations, ANA, BEN)
    target = BEN if sender is ANA else ANA
    assert _candidate(negotiations, sender, target, first) == second
    assert not _candidate(negotiations, sender, target, second)


def test_the_newest_number_of_either_peer_is_returned() -> None:
    negotiations = Negotiations()
    first, _, third = _offer(negotiations, ANA, BEN), _offer(negotiations, ANA, BEN), _offer(negotiations, BEN, ANA)
    assert _answer(negotiations, BEN, ANA, first) == third


def test_a_number_that_was_never_given_is_not_superseded() -> None:
    negotiations = Negotiations()
    assert not _answer(negotiations, BEN, ANA, 7)
    assert not _candidate(negotiations, BEN, ANA, 7)
    _offer(negotiations, ANA, BEN)
    assert not _answer(negotiations, BEN, ANA, 7)
    assert not _candidate(negotiations, BEN, ANA, 7)


def test_a_peer_that_joins_again_starts_at_one() -> None:
    negotiations = Negotiations()
    for way in ((ANA, BEN), (BEN, ANA), (ANA, CEM), (CEM, ANA), (BEN, CEM)):
        _offer(negotiations, *way)
    negotiations.forget(ANA, [BEN, CEM])
    assert [_offer(negotiations, ANA, BEN), _offer(negotiations, CEM, ANA)] == [1, 1]
    assert _offer(negotiations, CEM, BEN) == 2


def test_nothing_is_kept_when_all_peers_have_left() -> None:
    negotiations = Negotiations()
    for sender in NAMES:
        for target in NAMES:
            if sender != target:
                _offer(negotiations, sender, target)
    assert len(negotiations)
    left = list(NAMES)
    while left:
        negotiations.forget(left.pop(0), left)
    assert not len(negotiations)


class TwoNodes:
    """Two nodes with a peer each, and the offers between them that have not arrived."""

    def __init__(self) -> None:
        self.offset = {ANA: Negotiations(), BEN: Negotiations()}
        self.under_way: dict[Incarnation, list[int]] = {ANA: [], BEN: []}

    def offer(self, sender: Incarnation) -> int:
        number = self.offset[sender].offered(sender, _other(sender), remote=True)
        self.under_way[sender].append(number)
        return number

    def arrive(self, sender: Incarnation) -> int:
        number = self.under_way[sender].pop(0)
        self.offset[_other(sender)].learned(sender, _other(sender), number)
        return number


def _other(name: Incarnation) -> Incarnation:
    return BEN if name == ANA else ANA


@given(st.lists(st.tuples(st.sampled_from([ANA, BEN]), st.booleans()), max_size=40))
def test_between_nodes_numbers_are_unique_and_rise_above_all_that_were_seen(epoch: list[tuple[Any, bool]]) -> None:
    far = TwoNodes()
    given_out: set[int] = set()
    seen = {ANA: 0, BEN: 0}
    for name, offers in epoch:
        if offers:
            number = far.offer(name)
            assert number not in given_out
            assert number > seen[name]
            given_out.add(number)
            seen[name] = number
        elif far.under_way[name]:
            seen[_other(name)] = max(seen[_other(name)], far.arrive(name))


@pytest.mark.parametrize(("impolite", "polite"), [(ANA, BEN), (BEN, ANA)])
def test_in_glare_between_nodes_the_accepted_offer_can_be_answered(impolite: Incarnation, polite: Incarnation) -> None:
    far = TwoNodes()
    taken, ignored = far.offer(impolite), far.offer(polite)
    far.arrive(impolite)
    far.arrive(polite)
    for node in far.offset.values():
        assert not _answer(node, polite, impolite, taken)
        assert not _candidate(node, polite, impolite, taken)
        assert not _candidate(node, impolite, polite, taken)
        assert not _candidate(node, polite, impolite, ignored)


def test_between_nodes_an_answer_to_a_superseded_offer_is_stale_at_the_node_of_the_offer() -> None:
    far = TwoNodes()
    first = far.offer(ANA)
    far.arrive(ANA)
    second = far.offer(ANA)
    assert not _answer(far.offset[BEN], BEN, ANA, first)
    assert _answer(far.offset[ANA], BEN, ANA, first) == second


@given(st.lists(st.tuples(names, names).filter(lambda way: way[0] != way[1]), max_size=60), belonging)
def test_only_the_latest_offer_of_each_peer_is_not_superseded(
    ways: list[tuple[Any, Any]], kind: Literal["answer", "ice-candidate"]
) -> None:
    negotiations = Negotiations()
    made: list[tuple[Incarnation, Incarnation, int]] = []
    for sender, target in ways:
        made.append((sender, target, _offer(negotiations, sender, target)))
    latest = {(sender, target): number for sender, target, number in made}
    for sender, target, number in made:
        newest = max(latest.get((sender, target), 0), latest.get((target, sender), 0))
        stale = newest if number < latest[sender, target] else 0
        assert negotiations.superseded(target, sender, NegotiationStep(kind, number)) == stale


@pytest.mark.parametrize(("peers", "budget"), [(2, 500), (4, 250), (30, 250)])
def test_a_negotiating_pair_takes_a_few_hundred_bytes(peers: int, budget: int) -> None:
    names = [Incarnation(f"incarnation-{number}") for number in range(peers)]
    ways = list(combinations(names, 2))
    rooms: list[Negotiations | None] = [None] * 50
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for place in range(len(rooms)):
        negotiations = rooms[place] = Negotiations()
        for way in ways:
            _offer(negotiations, *way)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown / len(rooms) / len(ways) < budget
