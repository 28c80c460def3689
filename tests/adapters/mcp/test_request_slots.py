"""How many requests of agents may be under way."""

from __future__ import annotations

from mcp_actors.adapters.mcp.request_slots import RequestSlots


def test_an_address_has_a_limit_of_its_own() -> None:
    slots = RequestSlots(10, 2)
    assert [slots.take("192.0.2.1") for _ in range(3)] == [True, True, False]
    assert slots.take("192.0.2.2")
    slots.release("192.0.2.1")
    assert slots.take("192.0.2.1")
    assert len(slots) == 3


def test_all_together_have_a_limit() -> None:
    slots = RequestSlots(3, 0)
    assert [slots.take(f"192.0.2.{number}") for number in range(4)] == [True, True, True, False]
    slots.release("192.0.2.0", 1)
    assert slots.take("192.0.2.9")


def test_the_addresses_of_one_network_count_as_one() -> None:
    slots = RequestSlots(10, 1)
    assert slots.take("2001:db8::1")
    assert not slots.take("2001:db8::2")


def test_nothing_is_kept_of_an_address_whose_requests_are_over() -> None:
    slots = RequestSlots(10, 2)
    slots.take("192.0.2.1")
    slots.take("192.0.2.1")
    slots.release("192.0.2.1", 2)
    assert (len(slots), slots._taken) == (0, {})
