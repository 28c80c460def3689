"""The queue that serves all addresses in turn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.adapters.tornado.fair_queue import FairQueue


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_addresses_are_served_in_turn_and_their_entries_in_order() -> None:
    queue = FairQueue[str]()
    for entry in ("a1", "a2", "a3", "b1", "c1", "c2"):
        queue.push(entry[0], entry)
    assert len(queue) == 6
    assert drained(queue) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert not queue


def test_an_address_that_comes_again_goes_behind_the_others() -> None:
    queue = FairQueue[str]()
    for entry in ("a1", "a2", "b1"):
        queue.push(entry[0], entry)
    assert queue.pop() == "a1"
    queue.push("c", "c1")
    assert drained(queue) == ["b1", "a2", "c1"]


@given(st.lists(st.sampled_from("abcd")))
def test_an_entry_waits_for_at_most_one_of_each_other_address_for_each_before_it(addresses: list[str]) -> None:
    queue = FairQueue[str]()
    entries = [f"{address}{addresses[:index].count(address)}" for index, address in enumerate(addresses)]
    for entry in entries:
        queue.push(entry[0], entry)
    order = drained(queue)
    assert sorted(order) == sorted(entries)
    for place, entry in enumerate(order):
        assert place < (int(entry[1:]) + 1) * len(set(addresses))
