"""The memory that clients make this process and its kernel keep: counted by address and in all, and bounded.

Counting is cheap: each holder adds what it keeps in full, although a body may be shared by many. Only when a count
exceeds its limit, the exact bytes are measured, in which a shared body is split among those that keep it. If these
exceed the limit, too, the heaviest holder of the heaviest address pays first, until an eighth of the limit is free.

Measuring takes 0.2 us for each message that is kept, so it is done in slices, between which the event loop goes on.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from heapq import heapify, heappop, heapreplace
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

log = structlog.get_logger("mcp_actors.memory")

UNLIMITED = 2**62

MESSAGE_OVERHEAD = 160
"""Bytes that Python takes for a kept message beside its text: a tuple, two headers, and a place in a list."""

COMMON = 131_072
"""A client that keeps up with its messages keeps less. It pays only if nobody keeps more.

It is asked for an acknowledgement after 32 KiB of text (`session.ACKNOWLEDGE_EVERY`), which take 85 KiB if each message
has 100 bytes, and has some more by the time it answers.
"""

CROWD = 2 * 2**20
"""Bytes that the clients of one address may keep before they are weighed together: a crowd behind one router keeps more
than an attacker at each of many addresses."""

CHECK_EVERY = 0.05
"""Seconds between checks of the limits."""

MAX_EFFORT = 0.05
"""The part of the time that checks may take, at most; they become less frequent when they take long."""

SLICE = 0.002
"""Seconds of a check before other callbacks of the event loop run."""

RELEASE_ABOVE = 16 * 2**20
"""Bytes that are free before they are returned to the system."""

LOG_EVERY = 10.0
"""Seconds between two warnings, at least."""


class Holder(Protocol):
    """Keeps messages for a client, or bytes in buffers. `kind`: a word for its kind."""

    kind: str

    def kept_bodies(self) -> Iterable[bytes]:
        """Count what is kept now, and return the bodies of kept messages, which other holders may keep, too."""

    def pay(self) -> None:
        """Free what is kept, at the expense of the client. It may be called again."""


class Account:
    """The bytes that one holder keeps. `address`: the address that is charged for them. Close it with its holder."""

    __slots__ = ("_budget", "address", "holder", "size")

    def __init__(self, budget: MemoryBudget, address: str, holder: Holder) -> None:
        self.address = address
        self.holder: Holder | None = holder
        self.size = 0
        self._budget = budget

    def add(self, size: int) -> None:
        """Count more bytes, or fewer if it is negative."""
        if size and self.holder is not None:
            before, self.size = self.size, self.size + size
            self._budget.changed(self, before, self.holder.kind)

    def set(self, size: int) -> None:
        """Count so many bytes in all."""
        self.add(size - self.size)

    def close(self) -> None:
        """Count nothing any more."""
        self.set(0)
        self.holder = None  # they refer to each other

    def move(self, address: str) -> None:
        """Charge another address from now on."""
        if address != self.address:
            size = self.size
            self.set(0)
            self.address = address
            self.set(size)


class _Address:
    """The accounts of one address that are not empty."""

    __slots__ = ("accounts", "size")

    def __init__(self) -> None:
        self.size = 0
        self.accounts: dict[Account, None] = {}


class MemoryBudget:
    """The bytes that all holders keep, at most `limit`, and those of one address at most `share`. 0 is no limit.

    `release` is called after much was freed, as the C library returns little of that to the system by itself.
    """

    def __init__(self, limit: int = 0, share: int = 0, release: Callable[[], None] = lambda: None) -> None:
        self.size = 0
        """Bytes that are kept, with shared bodies counted in full for each holder."""
        self.by_kind: dict[str, int] = defaultdict(int)
        """The same by kind of holder."""
        self.paid = 0
        """How often a holder had to pay."""
        self._limit = limit or UNLIMITED
        self._share = share or UNLIMITED
        self._addresses: dict[str, _Address] = {}
        self._over: set[str] = set()
        self._logged = -LOG_EVERY
        self._release = release
        self._held = 0  # of the system's memory, as far as it is counted here

    @property
    def holders(self) -> int:
        """The number of holders that keep anything."""
        return sum(len(one.accounts) for one in self._addresses.values())

    def account(self, address: str, holder: Holder) -> Account:
        """Return an empty account, which costs nothing until something is added."""
        return Account(self, address, holder)

    def size_of(self, address: str) -> int:
        """Return the bytes that are kept for an address."""
        found = self._addresses.get(address)
        return 0 if found is None else found.size

    def changed(self, account: Account, before: int, kind: str) -> None:
        """Follow an account, of a holder of this kind, that had another size `before`."""
        one = self._addresses.get(account.address)
        if one is None:
            one = self._addresses[account.address] = _Address()
        grown = account.size - before
        one.size += grown
        self.size += grown
        self.by_kind[kind] += grown
        if one.size > self._share:
            self._over.add(account.address)
        if not before:
            one.accounts[account] = None
        elif not account.size:
            del one.accounts[account]
            if not one.accounts:
                del self._addresses[account.address]

    async def run(self) -> None:
        """Check the limits again and again, for ever."""
        while True:
            began = monotonic()
            paid = await self.check()
            if paid and began >= self._logged + LOG_EVERY:
                self._logged = began
                log.warning("memory limit reached", paid=paid, bytes=self.size)
            self._release_if_much_is_free()
            await asyncio.sleep(max(CHECK_EVERY, (monotonic() - began) / MAX_EFFORT))

    def _release_if_much_is_free(self) -> None:
        self._held = max(self._held, self.size)
        if self._held - self.size > RELEASE_ABOVE:
            self._held = self.size
            self._release()

    async def check(self) -> int:
        """Let holders pay until no limit is exceeded; return how many had to."""
        paid, slices = 0, _Slices()
        for key in tuple(self._over):
            one = self._addresses.get(key)
            if one is None or one.size <= self._share:
                self._over.discard(key)
            else:
                paid += await _collect(tuple(one.accounts), self._share, slices)
        if self.size > self._limit:
            paid += await _collect(tuple(self._accounts()), self._limit, slices)
        self.paid += paid
        return paid

    def _accounts(self) -> Iterator[Account]:
        for one in self._addresses.values():
            yield from one.accounts


class _Slices:
    """Slices of work, after each of which others have their turn."""

    def __init__(self) -> None:
        self._until = monotonic() + SLICE

    async def pause(self) -> None:
        """Let others have their turn if the slice is over."""
        if monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = monotonic() + SLICE


async def _collect(accounts: tuple[Account, ...], limit: int, slices: _Slices) -> int:
    """Let holders pay if they keep more than a limit; return how many had to."""
    sizes = await measure(accounts, slices)
    excess, paid = sum(sizes.values()) - limit, 0
    if excess <= 0:
        return 0
    excess += limit / 8
    heavy = {account: size for account, size in sizes.items() if size > COMMON}
    common = {account: size for account, size in sizes.items() if size <= COMMON}
    for group in (heavy, common):
        for account in heaviest_first(group):
            if excess <= 0:
                return paid
            excess -= sizes[account]
            if account.holder is not None:  # else it was closed by another that paid
                account.holder.pay()
                paid += 1
            await slices.pause()
    return paid


async def measure(accounts: Iterable[Account], slices: _Slices | None = None) -> dict[Account, float]:
    """Return the bytes of each account, with each shared body split among those of them that keep it."""
    slices = slices or _Slices()
    kept: list[tuple[Account, int, list[bytes]]] = []
    keepers: Counter[int] = Counter()
    for account in accounts:
        bodies = [] if account.holder is None else list(account.holder.kept_bodies())
        kept.append((account, account.size, bodies))
        keepers.update(map(id, bodies))
        await slices.pause()
    sizes: dict[Account, float] = {}
    for account, size, bodies in kept:
        sizes[account] = max(0.0, size - sum(len(body) * (1 - 1 / keepers[id(body)]) for body in bodies))
        await slices.pause()
    return sizes


def heaviest_first(sizes: dict[Account, float]) -> Iterator[Account]:
    """Yield accounts: each time the heaviest of the address that is the heaviest without those before.

    An address is as heavy as its heaviest account, or as all of them together beyond `CROWD`.
    """
    by_address: dict[str, list[Account]] = {}
    totals: dict[str, float] = {}
    for account in sorted(sizes, key=sizes.__getitem__):
        by_address.setdefault(account.address, []).append(account)
        totals[account.address] = totals.get(account.address, 0) + sizes[account]

    def lightness(address: str) -> float:
        return -max(sizes[by_address[address][-1]], totals[address] - CROWD)

    heap = [(lightness(address), address) for address in by_address]
    heapify(heap)
    while heap:
        address = heap[0][1]
        account = by_address[address].pop()
        yield account
        totals[address] -= sizes[account]
        if by_address[address]:
            heapreplace(heap, (lightness(address), address))
        else:
            heappop(heap)
