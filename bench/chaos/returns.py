"""What was promised to members that come back and not kept: pure functions, each of which yields a line per breach."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.record import Link, Record, Stay


def unresumed(record: Record) -> Iterator[str]:
    """Members that could not come back to where they were, though they came in time."""
    for stay in record.stays:
        if stay.gave_up and stay.ended_at is not None and stay.links:
            since = stay.links[-1].since
            if stay.ended_at - since < record.window:
                yield f"{stay}: {stay.gave_up}; its connection broke at {since - record.began:.3f} s"


def numbers(record: Record) -> Iterator[str]:
    """Deliveries that do not go on from where a member was, each number one above the one before."""
    for stay in record.stays:
        for link in stay.links:
            if link.entered_at is not None:
                yield from (f"{stay}, at node {link.node}: {what}" for what in _unsteady(link))


def _unsteady(link: Link) -> Iterator[str]:
    """A first number that is not the next, unless the member was told of a gap; then each number out of line."""
    due = link.received
    for first, last in link.runs:
        told_of_gap = due == link.received and not link.complete and first > due
        if first != due + 1 and not told_of_gap:
            yield f"delivery {first} came after {due}"
        due = last


def orders(record: Record) -> Iterator[str]:
    """Members whose order was another when they were back."""
    for stay in record.stays:
        order = stay.first_roster.get(stay.member)
        for link in _resumes(stay):
            if order is not None and link.order != order:
                at = (link.entered_at or 0.0) - record.began
                yield f"{stay} had order {order}, and {link.order} when it came back at {at:.3f} s"


def resumed_rosters(record: Record) -> Iterator[str]:
    """Members that were shown another room than they knew when they came back, and had not missed anything."""
    for stay in record.stays:
        for link in _resumes(stay):
            if link.differs:
                yield f"{stay} came back at {(link.entered_at or 0.0) - record.began:.3f} s and saw: {link.differs}"


def joined_again(record: Record) -> Iterator[str]:
    """`peer-joined` of peers that had only come back, once for each who heard it."""
    stays: Counter[tuple[str, str]] = Counter((stay.room, stay.member) for stay in record.stays)
    back = {(stay.room, stay.member) for stay in record.stays if any(_resumes(stay))}
    for stay in record.stays:
        heard = Counter(event.peer for event in stay.events if event.joined)
        for peer, times in heard.items():
            if (stay.room, peer) in back and times > stays[stay.room, peer]:
                yield f"{stay} was told {times} times that {peer} joined, which did {stays[stay.room, peer]} times"


def absent(record: Record) -> Iterator[str]:
    """Peers that are there, and shown to others as if they had no connection; users are told of no changes."""
    there: dict[str, set[str]] = defaultdict(set)
    for stay in record.stays:
        if stay.present and stay.links:
            there[stay.room].add(stay.member)
    for stay in record.stays:
        if stay.present and stay.role != "user":
            others = there[stay.room] - {stay.member}
            yield from (f"{stay} sees {peer} as away" for peer in sorted(stay.away & others))


def doubled(record: Record) -> Iterator[str]:
    """Members with more than one connection at the end."""
    for stay in record.stays:
        still = [link.node for link in stay.links if link.entered_at is not None and link.ended_at is None]
        if stay.present and len(still) > 1:
            yield f"{stay} is connected {len(still)} times, to nodes {still}"


def _resumes(stay: Stay) -> Iterator[Link]:
    return (link for link in stay.links if link.resumed)


CHECKS: dict[str, Callable[[Record], Iterator[str]]] = {
    "unresumed": unresumed,
    "numbers": numbers,
    "orders": orders,
    "resumed_rosters": resumed_rosters,
    "joined_again": joined_again,
    "absent": absent,
    "doubled": doubled,
}


class Returns(Struct, frozen=True):
    """How often members came back, and at what price. `slowest`: seconds from the break; `told`: messages lost."""

    times: int = 0
    elsewhere: int = 0
    incomplete: int = 0
    told: int = 0
    sent_again: int = 0
    dropped: int = 0
    slowest: float = 0.0


def count(record: Record, told: int) -> Returns:
    """Count them."""
    pairs = [pair for stay in record.stays for pair in _with_the_one_before(stay)]
    return Returns(
        times=len(pairs),
        elsewhere=sum(link.node != before.node for before, link in pairs),
        incomplete=sum(not link.complete for _, link in pairs),
        told=told,
        sent_again=sum(stay.sent_again for stay in record.stays),
        dropped=sum(stay.dropped for stay in record.stays),
        slowest=max(((link.entered_at or 0.0) - link.since for _, link in pairs), default=0.0),
    )


def _with_the_one_before(stay: Stay) -> Iterator[tuple[Link, Link]]:
    entered = sorted(
        (link for link in stay.links if link.entered_at is not None), key=lambda one: one.entered_at or 0.0
    )
    return pairwise(entered)
