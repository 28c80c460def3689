"""The memory budget counts what holders keep, and lets the heaviest holder of the heaviest address pay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors.memory_budget import COMMON, CROWD, RELEASE_ABOVE, MemoryBudget, heaviest_first, measure
from tests.support.loop import until

if TYPE_CHECKING:
    from collections.abc import Iterable

MIB = 2**20


class FakeHolder:
    """A holder that keeps bodies until it pays."""

    def __init__(self, budget: MemoryBudget, address: str, *bodies: bytes) -> None:
        self.bodies: list[bytes] = []
        self.paid = 0
        self.kind = "test"
        self.account = budget.account(address, self)
        self.keep(*bodies)

    def keep(self, *bodies: bytes) -> None:
        self.bodies += bodies
        self.account.add(sum(map(len, bodies)))

    def kept_bodies(self) -> Iterable[bytes]:
        return self.bodies

    def pay(self) -> None:
        self.paid += 1
        self.bodies.clear()
        self.account.set(0)


def own(size: int) -> bytes:
    """A body that no other holder has."""
    return bytes(bytearray(size))


def test_bytes_are_counted_by_address_and_in_all_and_an_empty_account_costs_nothing() -> None:
    budget = MemoryBudget()
    one, two, other = (FakeHolder(budget, address) for address in ("a", "a", "b"))
    assert (budget.holders, budget.size) == (0, 0)
    one.keep(own(3))
    two.keep(own(4))
    other.keep(own(5))
    one.account.add(-1)
    assert (budget.size_of("a"), budget.size_of("b"), budget.size, budget.holders) == (6, 5, 11, 3)
    two.account.set(1)
    two.account.move("b")
    assert (budget.size_of("a"), budget.size_of("b"), budget.size) == (2, 6, 8)
    for holder in (one, two, other):
        holder.account.close()
    assert (budget.size_of("a"), budget.size_of("b"), budget.size, budget.holders) == (0, 0, 0, 0)


def test_a_closed_account_counts_nothing_more() -> None:
    budget = MemoryBudget()
    holder = FakeHolder(budget, "a", own(3))
    holder.account.close()
    holder.account.add(5)
    assert budget.size == 0


async def test_a_shared_body_is_split_among_those_that_keep_it() -> None:
    budget, shared = MemoryBudget(), own(900)
    holders = [FakeHolder(budget, "a", shared, own(10 * number)) for number in (1, 2, 3)]
    sizes = await measure(one.account for one in holders)
    assert [round(sizes[one.account]) for one in holders] == [310, 320, 330]
    assert budget.size == 3 * 900 + 60


async def test_holders_of_one_body_do_not_pay_for_it_many_times() -> None:
    budget, shared = MemoryBudget(limit=10 * MIB, share=5 * MIB), own(MIB)
    holders = [FakeHolder(budget, "a", shared) for _ in range(100)]
    assert await budget.check() == 0
    assert not any(holder.paid for holder in holders)
    for holder in holders[:90]:
        holder.pay()
    for holder in holders[:10]:
        holder.keep(own(MIB))
    assert await budget.check() > 0
    assert sum((await measure(holder.account for holder in holders)).values()) <= 5 * MIB


async def test_the_heaviest_holder_of_an_address_above_its_share_pays_and_no_other_address() -> None:
    budget = MemoryBudget(limit=100 * MIB, share=8 * MIB)
    light, heavy, middle = (FakeHolder(budget, "a", own(size * MIB)) for size in (1, 4, 3))
    other = FakeHolder(budget, "b", own(7 * MIB))
    assert await budget.check() == 0
    light.keep(own(MIB))
    assert await budget.check() == 1
    assert (heavy.paid, middle.paid, light.paid, other.paid) == (1, 0, 0, 0)
    assert await budget.check() == 0


async def test_the_heaviest_address_pays_when_all_together_keep_too_much() -> None:
    budget = MemoryBudget(limit=16 * MIB)
    many = [FakeHolder(budget, "mallory", own(MIB)) for _ in range(14)]
    few = [FakeHolder(budget, "ana", own(2 * MIB)), FakeHolder(budget, "ben", own(MIB))]
    assert await budget.check() == 3
    assert sum(holder.paid for holder in many) == 3
    assert not any(holder.paid for holder in few)
    assert budget.size == 14 * MIB


async def test_clients_that_keep_up_do_not_pay_for_others_even_if_they_share_the_heaviest_address() -> None:
    budget = MemoryBudget(limit=16 * MIB)
    office = [FakeHolder(budget, "office", own(COMMON // 2)) for _ in range(150)]
    hoarders = [FakeHolder(budget, f"bot {number}", own(MIB // 4)) for number in range(40)]
    assert await budget.check() > 0
    assert any(holder.paid for holder in hoarders)
    assert not any(holder.paid for holder in office)
    assert budget.size <= 16 * MIB


async def test_small_holders_pay_if_nobody_keeps_more() -> None:
    budget = MemoryBudget(limit=MIB)
    many = [FakeHolder(budget, "a", own(COMMON // 2)) for _ in range(40)]
    assert await budget.check() == sum(holder.paid for holder in many)
    assert budget.size <= MIB


async def test_without_limits_nobody_pays() -> None:
    budget = MemoryBudget()
    holder = FakeHolder(budget, "a", own(100 * MIB))
    assert (await budget.check(), holder.paid) == (0, 0)


async def test_a_holder_that_another_closed_while_it_paid_is_left_alone() -> None:
    class Linked(FakeHolder):
        twin: FakeHolder

        def pay(self) -> None:
            super().pay()
            self.twin.account.close()

    budget = MemoryBudget(limit=2 * MIB)
    first, second = Linked(budget, "a", own(3 * MIB)), FakeHolder(budget, "a", own(2 * MIB))
    first.twin = second
    assert await budget.check() == 1
    assert (first.paid, second.paid) == (1, 0)


async def test_a_few_clients_behind_one_router_do_not_pay_for_a_heavier_one_elsewhere() -> None:
    budget = MemoryBudget(limit=4 * MIB)
    family = [FakeHolder(budget, "home", own(COMMON + 10_000)) for _ in range(8)]
    hoarders = [FakeHolder(budget, f"bot {number}", own(MIB // 4)) for number in range(13)]
    assert await budget.check() == sum(holder.paid for holder in hoarders) > 0
    assert not any(holder.paid for holder in family)


@pytest.mark.parametrize("sizes", [{"a": [5, 1], "b": [4, 3]}, {"a": [9], "b": [2, 2, 2, 2, 2, 2, 2]}])
def test_the_next_to_pay_is_always_the_heaviest_of_the_heaviest_address(sizes: dict[str, list[int]]) -> None:
    budget = MemoryBudget()
    accounts = {
        FakeHolder(budget, address).account: float(size * MIB) for address, each in sizes.items() for size in each
    }
    left = dict(accounts)
    for account in heaviest_first(accounts):
        own_sizes = {address: [left[one] for one in left if one.address == address] for address in sizes}
        weights = {address: max(*each, sum(each) - CROWD) for address, each in own_sizes.items() if each}
        assert weights[account.address] == max(weights.values())
        assert left[account] == max(left[one] for one in left if one.address == account.address)
        del left[account]
    assert not left


async def test_memory_is_returned_to_the_system_after_much_was_freed() -> None:
    released: list[int] = []
    budget = MemoryBudget(release=lambda: released.append(budget.size))
    holder = FakeHolder(budget, "a", own(RELEASE_ABOVE + 2))
    running = asyncio.ensure_future(budget.run())
    await asyncio.sleep(0)
    assert released == []
    holder.pay()
    await until(lambda: released == [0], "that memory is released")
    running.cancel()


async def test_a_check_of_many_messages_lets_others_have_their_turns() -> None:
    budget = MemoryBudget(limit=MIB)
    holders = [FakeHolder(budget, "a", *(own(100) for _ in range(1000))) for _ in range(100)]
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.ensure_future(take_turns())
    assert await budget.check() == sum(holder.paid for holder in holders) > 0
    other.cancel()
    assert turns > 2
