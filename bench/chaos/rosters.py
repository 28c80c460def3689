"""What was promised of comings and goings and not kept: pure functions, each of which yields one line per breach."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.record import Event, Record, Stay

    Entries = dict[tuple[str, int], tuple[int, dict[str, int]]]


def false_leaves(record: Record) -> Iterator[str]:
    """`peer-left` of peers that were there, once for each who heard it."""
    ended: dict[tuple[str, str], list[float]] = defaultdict(list)
    for stay in record.stays:
        times = [at for at in (stay.ended_at, stay.struck_at) if at is not None]
        if times:
            insort(ended[stay.room, stay.member], min(times))
    for stay in record.stays:
        heard: Counter[str] = Counter()
        for event in stay.events:
            if not event.joined:
                heard[event.peer] += 1
                if bisect_right(ended[stay.room, event.peer], event.at) < heard[event.peer]:
                    yield f"{stay} was told at {event.at - record.began:.3f} s that {event.peer} left, which was there"


def mismatches(record: Record) -> Iterator[str]:
    """Members who were told of other comings and goings, or in another order, than the first observer of the room."""
    for room in record.rooms():
        first = _reference(record, room)
        if first is None:
            yield f"{room} has no observer that lived through"
            continue
        entries = _entries(first)
        for stay in record.stays:
            if stay.room == room and stay.role != "user" and (stay.joined_at or 0.0) > (first.joined_at or 0.0):
                yield from _differences(first, entries, stay, data_lost=record.data_lost)
    for stay in record.stays:
        yield from _impossible(stay, record.began)


def _reference(record: Record, room: str) -> Stay | None:
    """The first observer that lived through, if there is one, and missed nothing, if there is one of those."""
    living = [stay for stay in record.observers(room) if stay.lives]
    return min(living, key=lambda stay: bool(stay.misses), default=None)


def _differences(first: Stay, entries: Entries, other: Stay, *, data_lost: bool) -> Iterator[str]:
    """What one was told that another was not.

    What was missed, or lost with the engine's data, may be told in any way: then only where it ends is compared.
    """
    if other.struck or data_lost or first.misses or other.misses:
        if other.present and first.roster != other.roster:
            yield f"{other} sees {_difference(first.roster, other.roster)} than {first}"
        return
    entered = entries.get((other.member, other.first_roster.get(other.member, 0)))
    if entered is None:
        yield f"{first} was never told of {other}"
        return
    index, roster = entered
    if roster != other.first_roster:
        yield f"{other} joined and saw {_difference(roster, other.first_roster)} than {first}"
    yield from _parting(first, first.events[index + 1 :], other)


def _entries(first: Stay) -> Entries:
    """By peer and order: where `first` was told of the coming of each, and whom it saw in the room then."""
    found: Entries = {}
    roster = dict(first.first_roster)
    for index, event in enumerate(first.events):
        _apply(roster, event)
        if event.joined:
            found.setdefault((event.peer, event.order), (index, dict(roster)))
    return found


def _parting(first: Stay, events: list[Event], other: Stay) -> Iterator[str]:
    """Where two sequences part; that of a member who left may end sooner."""
    for index, (one, two) in enumerate(zip(events, other.events, strict=False)):
        if (one.joined, one.peer, one.order) != (two.joined, two.peer, two.order):
            yield f"event {index} after the join of {other}: {first} was told {one}, and that one {two}"
            return
    less, more = len(other.events), len(events)
    if less > more or (less < more and other.present):
        yield f"since {other} joined it was told of {less} comings and goings, {first} of {more}"


def _difference(one: dict[str, int], other: dict[str, int]) -> str:
    less, more = sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())
    moved = sorted(peer for peer in one.keys() & other.keys() if one[peer] != other[peer])
    return f"another room (less {less}, more {more}, of another order {moved})"


def _impossible(stay: Stay, began: float) -> Iterator[str]:
    """A coming of who is there, or a going of who is not.

    Behind a gap that is owned up to, news may be of anybody, until the reply that says so tells who is there.
    """
    roster = dict(stay.first_roster)
    gaps = [
        (link.dialed_at, link.entered_at)
        for link in stay.links
        if link.entered_at is not None and not link.complete and link.runs and link.runs[0][0] > link.received + 1
    ]
    for event in stay.events:
        known = not any(since <= event.at <= until for since, until in gaps)
        if known and event.joined == (event.peer in roster):
            yield f"{stay} was told {event} at {event.at - began:.3f} s, which made no difference"
        _apply(roster, event)


def _apply(roster: dict[str, int], event: Event) -> None:
    if event.joined:
        roster[event.peer] = event.order
    else:
        roster.pop(event.peer, None)


def ghosts(record: Record) -> Iterator[str]:
    """Peers in a roster who are gone, and peers who are there and in no roster, once for each who is wrong."""
    there: dict[str, set[str]] = defaultdict(set)
    for stay in record.stays:
        if stay.present and stay.role != "user":
            there[stay.room].add(stay.member)
    for stay in record.stays:
        if stay.present:
            seen, real = stay.roster.keys(), there[stay.room]
            yield from (f"{stay} still sees {peer}" for peer in sorted(seen - real))
            yield from (f"{stay} does not see {peer}" for peer in sorted(real - seen))


def taken(record: Record) -> Iterator[str]:
    """Joins refused because the id was taken, though all who had it had been answered that they left."""
    for stay in record.stays:
        if stay.join_error == "peer-id-taken":
            others = [
                one
                for one in record.stays
                if (one.room, one.member) == (stay.room, stay.member) and one is not stay and not one.join_error
            ]
            if all(one.left_at is not None and one.left_at <= stay.asked_at for one in others):
                yield f"{stay}, at {stay.asked_at - record.began:.3f} s"


def late(record: Record) -> Iterator[str]:
    """Killed nodes whose peers were seen to leave too late, or by some never."""
    if record.announce_within is None:
        return
    for kill in record.kills:
        took = announced_after(record, kill.members, kill.at)
        if took is None:
            yield f"the peers of node {kill.node} were not seen to leave by all"
        elif took > record.announce_within:
            yield f"the peers of node {kill.node} left after {took:.2f} s"


def announced_after(record: Record, members: set[str], at: float) -> float | None:
    """Seconds until all observers that lived through had been told that all of them left; None if some were not."""
    last = at
    for stay in record.stays:
        if stay.role != "observer" or not stay.lives or (stay.joined_at or 0.0) > at:
            continue
        left: dict[str, float] = {}
        for event in stay.events:
            if not event.joined and event.at >= at:
                left.setdefault(event.peer, event.at)  # who came back under that id may leave again later
        wanted = {one.member for one in record.stays if one.member in members and one.room == stay.room}
        if not wanted <= left.keys():
            return None
        last = max(last, *(left[member] for member in wanted), at)
    return last - at


def leaves(record: Record) -> Iterator[float]:
    """Seconds from a leave, on a node that lived through, until each observer that lived through was told of it."""
    heard = {
        room: [(observer, _leaves_heard(observer)) for observer in record.observers(room) if observer.lives]
        for room in record.rooms()
    }
    for stay in record.stays:
        if stay.struck or stay.silent or stay.joined_at is None or stay.ended_at is None or stay.role == "user":
            continue
        for observer, told in heard[stay.room]:
            later = [at for at in told[stay.member] if at >= stay.ended_at]
            if later and (observer.joined_at or 0.0) < stay.joined_at:
                yield later[0] - stay.ended_at


def _leaves_heard(observer: Stay) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for event in observer.events:
        if not event.joined:
            found[event.peer].append(event.at)
    return found
