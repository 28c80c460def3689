"""Checks of joins and leaves: pure functions of a record, which yield one line for each broken promise."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.chaos.record import Arrival, Event, Record, Stay

    Entries = dict[tuple[str, int], tuple[int, dict[str, int]]]


def false_leaves(record: Record) -> Iterator[str]:
    """`peer-left` events of peers that were there, once for each member that was told.

    The order of a peer tells which of its stays is meant: one that has ended may be told of late.
    """
    stays: dict[tuple[str, str, int | None], list[Stay]] = defaultdict(list)  # orders begin anew in an empty room
    for stay in record.stays:
        stays[stay.room, stay.member, stay.first_roster.get(stay.member)].append(stay)
    for stay in record.stays:
        roster = dict(stay.first_roster)
        for event in stay.events:
            left = stays.get((stay.room, event.peer, roster.get(event.peer, 0)), [])
            _apply(roster, event)
            is_struck = stay.struck_at is not None and event.at >= stay.struck_at
            if event.joined or not left or is_struck or in_gap(stay, event):
                continue
            if not any(one.may_leave_at is not None and one.may_leave_at <= event.at for one in left):
                yield f"{stay} was told at {event.at - record.began:.3f} s that {event.peer} left, which was there"


def mismatches(record: Record) -> Iterator[str]:
    """Members that were told of other joins and leaves, or in another order, than one that all are compared with."""
    for room in record.rooms():
        first = _reference(record, room)
        if first is None:
            yield f"nobody is left in {room}"
            continue
        entries = _entries(first)
        for stay in record.stays:
            if stay.room == room and stay.role != "user" and _joined_behind(stay, first):
                yield from _differences(first, entries, stay, data_lost=record.data_lost)
    for stay in record.stays:
        yield from _contradictions(stay, record.began)


def _reference(record: Record, room: str) -> Stay | None:
    """Return the first member that survived, preferably an observer and one without a gap; or the first present one."""
    heard = [stay for stay in record.stays if stay.room == room and stay.role != "user" and stay.joined_at is not None]
    heard.sort(key=lambda stay: (stay.role != "observer", stay.joined_at))
    living = [stay for stay in heard if stay.lives] or [stay for stay in heard if stay.present]
    return min(living, key=lambda stay: bool(stay.misses), default=None)


def _joined_behind(stay: Stay, first: Stay) -> bool:
    """Whether a member joined while another one was there."""
    order = first.first_roster.get(first.member)
    return stay is not first and order is not None and stay.first_roster.get(first.member) == order


def _differences(first: Stay, entries: Entries, other: Stay, *, data_lost: bool) -> Iterator[str]:
    """Describe how the events of two members differ.

    After a gap, a strike or a loss of Redis data, only the resulting rosters are compared.
    """
    if first.struck or other.struck or data_lost or first.misses or other.misses:
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
    yield from _divergence(first, first.events[index + 1 :], other)


def _entries(first: Stay) -> Entries:
    """Return, by peer and order, the index of the event of its join, and the roster then."""
    found: Entries = {}
    roster = dict(first.first_roster)
    for index, event in enumerate(first.events):
        _apply(roster, event)
        if event.joined:
            found.setdefault((event.peer, event.order), (index, dict(roster)))
    return found


def _divergence(first: Stay, events: list[Event], other: Stay) -> Iterator[str]:
    """Yield where two sequences of events diverge. That of a member that left may be shorter."""
    for index, (one, two) in enumerate(zip(events, other.events, strict=False)):
        if (one.joined, one.peer, one.order) != (two.joined, two.peer, two.order):
            yield f"event {index} after the join of {other}: {first} was told {one}, and the other {two}"
            return
    less, more = len(other.events), len(events)
    if less > more or (less < more and other.present):
        yield f"since {other} joined it was told of {less} joins and leaves, {first} of {more}"


def _difference(one: dict[str, int], other: dict[str, int]) -> str:
    less, more = sorted(one.keys() - other.keys()), sorted(other.keys() - one.keys())
    moved = sorted(peer for peer in one.keys() & other.keys() if one[peer] != other[peer])
    return f"another roster (missing {less}, extra {more}, other order {moved})"


def _contradictions(stay: Stay, began: float) -> Iterator[str]:
    """Describe joins of peers that were there, and leaves of peers that were not.

    After a gap that the member was told of, events may concern any peer until the reply that resumes brings the roster.
    """
    roster = dict(stay.first_roster)
    for event in stay.events:
        if not in_gap(stay, event) and event.joined == (event.peer in roster):
            yield f"{stay} was told {event} at {event.at - began:.3f} s, which changed nothing"
        _apply(roster, event)


def in_gap(stay: Stay, event: Event | Arrival) -> bool:
    """Whether a member was told of an event after a gap, and before the reply that resumes."""
    return any(
        link.dialed_at <= event.at <= link.entered_at
        for link in stay.links
        if link.entered_at is not None and not link.complete
    )


def reliable(stay: Stay, record: Record) -> Iterator[Event]:
    """The events of a member, without those that may repeat others, as Redis lost data and the member had a gap."""
    return (event for event in stay.events if not (record.data_lost and in_gap(stay, event)))


def _apply(roster: dict[str, int], event: Event) -> None:
    if event.joined:
        roster[event.peer] = event.order
    else:
        roster.pop(event.peer, None)


def ghosts(record: Record) -> Iterator[str]:
    """Peers in a roster that are gone, and peers missing in a roster, once for each wrong roster."""
    there: dict[str, set[str]] = defaultdict(set)
    for stay in record.stays:
        if stay.present and stay.role != "user":
            there[stay.room].add(stay.member)
    for stay in record.stays:
        if stay.present:
            seen, real = stay.roster.keys(), there[stay.room]
            yield from (f"{stay} still sees {peer}" for peer in sorted(seen - real - record.undone))
            yield from (f"{stay} does not see {peer}" for peer in sorted(real - seen))


def stale(record: Record) -> Iterator[str]:
    """Metadata in a roster that is older than the last update of which its owner was told, once for each roster."""
    present = [stay for stay in record.stays if stay.present]
    for owner in present:
        for stay in present:
            if stay.room == owner.room and owner.member in stay.metadata:
                seen = stay.metadata[owner.member]
                if seen < owner.updated:
                    yield f"{stay} sees update {seen} of {owner.member}, which was told of {owner.updated}"


def taken(record: Record) -> Iterator[str]:
    """Joins refused with `peer-id-taken` after all former owners of the id, and others, were told that they left.

    While Redis is unavailable, a member that leaves is told so before the others are.
    """
    owners: defaultdict[tuple[str, str], list[Stay]] = defaultdict(list)
    for stay in record.stays:
        if not stay.join_error:
            owners[stay.room, stay.member].append(stay)
    told = _leaves_told(record)
    for stay in record.stays:
        if stay.join_error == "peer-id-taken":
            name = stay.room, stay.member
            if all(
                one.left_at is not None and _any_between(told[name], one.ended_at or 0.0, stay.asked_at)
                for one in owners[name]
            ):
                yield f"{stay}, at {stay.asked_at - record.began:.3f} s"


def _leaves_told(record: Record) -> defaultdict[tuple[str, str], list[float]]:
    """When observers were told that a member left, by room and member, in order."""
    told: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for room in record.rooms():
        for observer in record.observers(room):
            for event in observer.events:
                if not event.joined:
                    told[room, event.peer].append(event.at)
    for times in told.values():
        times.sort()
    return told


def _any_between(times: Sequence[float], since: float, until: float) -> bool:
    """Whether one of these times, which are in order, is in this span."""
    index = bisect_left(times, since)
    return index < len(times) and times[index] <= until


def late(record: Record) -> Iterator[str]:
    """Killed nodes whose peers were reported as gone too late or not to all."""
    if record.announce_within is None:
        return
    for kill in record.kills:
        took = announced_after(record, kill.members, kill.at)
        if took is None:
            yield f"the peers of node {kill.node} were not reported as gone to all"
        elif took > record.announce_within:
            yield f"the peers of node {kill.node} were reported as gone after {took:.2f} s"


def announced_after(record: Record, members: set[str], at: float) -> float | None:
    """Return the seconds until all surviving observers were told that all `members` left, or None if some were not."""
    last = at
    for stay in record.stays:
        if stay.role != "observer" or not stay.lives or (stay.joined_at or 0.0) > at:
            continue
        left: dict[str, float] = {}
        for event in stay.events:
            if not event.joined and event.at >= at:
                left.setdefault(event.peer, event.at)  # a peer that came back under that id may leave again later
        wanted = {one.member for one in record.stays if one.member in members and one.room == stay.room}
        if not wanted <= left.keys():
            return None
        last = max(last, *(left[member] for member in wanted), at)
    return last - at


def leaves(record: Record) -> Iterator[float]:
    """Yield the seconds from each leave on a surviving node until each surviving observer was told of it."""
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
