"""Checks of resumed sessions: pure functions of a record, which yield one line for each broken promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

from bench.chaos.roster_checks import reliable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.record import Link, Record, Stay


KICKED = "closed with 4504"


def unresumed(record: Record) -> Iterator[str]:
    """Members that could not resume although they came back in time, and their node was not struck."""
    for stay in record.stays:
        if stay.joined_at is None or stay.ended_at is None or not stay.links:
            continue
        if stay.gave_up and stay.kicked_at is None and not stay.struck:
            since = stay.links[-1].since
            if stay.ended_at - since < record.window:
                yield f"{stay}: {stay.gave_up}; its connection broke at {since - record.began:.3f} s"


def returned(record: Record) -> Iterator[str]:
    """Members that came back with the resume token of a session that a moderator had ended.

    A member may come back as a newcomer once it could not have resumed any more. A node that is cut off from Redis may
    let it resume, but must remove it when it hears of the kick.
    """
    for stay in record.stays:
        for link in stay.links:
            entered = link.entered_at is not None and not link.closed.startswith(KICKED)
            if stay.removed_at is not None and entered and link.dialed_at > stay.removed_at:
                at = stay.removed_at - record.began
                yield f"{stay} was removed at {at:.3f} s and resumed at node {link.node}"
            if stay.kicked_at is not None and link.newcomer:
                since = (link.ended_at or link.dialed_at) - stay.kicked_at
                if since < record.window:
                    at = stay.kicked_at - record.began
                    yield f"{stay} was kicked at {at:.3f} s and joined at node {link.node} {since:.3f} s later"


def numbers(record: Record) -> Iterator[str]:
    """Delivery numbers that do not continue from the last one that the member had received, one by one."""
    for stay in record.stays:
        for link in stay.links:
            if link.entered_at is not None:
                yield from (f"{stay}, at node {link.node}: {what}" for what in _gaps(link))


def _gaps(link: Link) -> Iterator[str]:
    """Describe each delivery number that is not the next, except for a gap at the start that the member was told of."""
    due = link.received
    for first, last in link.runs:
        told_of_gap = due == link.received and not link.complete and first > due
        if first != due + 1 and not told_of_gap:
            yield f"delivery {first} came after {due}"
        due = last


def orders(record: Record) -> Iterator[str]:
    """Members whose order changed when they resumed."""
    for stay in record.stays:
        order = stay.first_roster.get(stay.member)
        for link in _resumes(stay):
            if order is not None and link.order != order:
                at = (link.entered_at or 0.0) - record.began
                yield f"{stay} had order {order}, and {link.order} when it resumed at {at:.3f} s"


def resumed_rosters(record: Record) -> Iterator[str]:
    """Members that resumed without a gap but were shown another roster than they knew."""
    for stay in record.stays:
        for link in _resumes(stay):
            if link.differs:
                yield f"{stay} resumed at {(link.entered_at or 0.0) - record.began:.3f} s and saw: {link.differs}"


def joined_again(record: Record) -> Iterator[str]:
    """`peer-joined` events of peers that only resumed, once for each member that was told."""
    stays: Counter[tuple[str, str]] = Counter((stay.room, stay.member) for stay in record.stays)
    back = {(stay.room, stay.member) for stay in record.stays if any(_resumes(stay)) and not stay.struck}
    for stay in record.stays:
        heard = Counter(event.peer for event in reliable(stay, record) if event.joined)
        for peer, times in heard.items():
            if (stay.room, peer) in back and times > stays[stay.room, peer]:
                yield f"{stay} was told {times} times that {peer} joined, but it joined {stays[stay.room, peer]} times"


def absent(record: Record) -> Iterator[str]:
    """Peers that are connected but shown as away. Users are not told of connections."""
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
    "returned": returned,
    "numbers": numbers,
    "orders": orders,
    "resumed_rosters": resumed_rosters,
    "joined_again": joined_again,
    "absent": absent,
    "doubled": doubled,
}


class ResumeCounts(Struct, frozen=True):
    """How often members resumed, and at what cost.

    `slowest`: seconds from the break of the connection. `told`: lost messages that are no breach. `median`:
    seconds from the new connection to the reply, of the sessions that were resumed on another node.
    """

    times: int = 0
    elsewhere: int = 0
    incomplete: int = 0
    told: int = 0
    sent_again: int = 0
    dropped: int = 0
    slowest: float = 0.0
    median: float = 0.0


def count(record: Record, told: int) -> ResumeCounts:
    """Count the resumed sessions of a record."""
    pairs = [pair for stay in record.stays for pair in _pairs(stay)]
    elsewhere = [(link.entered_at or 0.0) - link.dialed_at for before, link in pairs if link.node != before.node]
    return ResumeCounts(
        times=len(pairs),
        elsewhere=len(elsewhere),
        incomplete=sum(not link.complete for _, link in pairs),
        told=told,
        sent_again=sum(stay.sent_again for stay in record.stays),
        dropped=sum(stay.dropped for stay in record.stays),
        slowest=max(((link.entered_at or 0.0) - link.since for _, link in pairs if link.since), default=0.0),
        median=median(elsewhere) if elsewhere else 0.0,
    )


def _pairs(stay: Stay) -> Iterator[tuple[Link, Link]]:
    entered = sorted(
        (link for link in stay.links if link.entered_at is not None), key=lambda one: one.entered_at or 0.0
    )
    return pairwise(entered)
