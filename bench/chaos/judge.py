"""Checks of messages: pure functions of a record, which yield one line for each broken promise."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import inf
from typing import TYPE_CHECKING

from bench.chaos import resume_checks
from bench.chaos.memory import grown
from bench.chaos.record import EVERYBODY
from bench.chaos.roster_checks import false_leaves, ghosts, in_gap, late, mismatches, stale, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.record import Arrival, Record, Stay

LEAST = 50
"""Least number of judged messages for a run to be conclusive."""


LATEST_ACK = 1.0
"""Seconds that an `ack` may take to its sender. A gap that the receiver was told of before that excuses no loss."""

HANDOVER = 1.0
"""Seconds that a node that was cut off may take to hand over the sessions that have moved."""


def lost(record: Record) -> Iterator[str]:
    """Accepted messages between surviving members that did not arrive, without the receiver being told of a gap."""
    for text, was_told in _missing(record):
        if not was_told:
            yield text


def told(record: Record) -> Iterator[str]:
    """Messages that did not arrive without a breach: their receivers were told of a gap, or that their sender left."""
    for text, was_told in _missing(record):
        if was_told:
            yield text


def _missing(record: Record) -> Iterator[tuple[str, bool]]:
    got = {
        stay.member: {(arrival.sender, arrival.target, arrival.number) for arrival in stay.arrived}
        for stay in record.stays
        if stay.lives
    }
    for sender, receiver, target, number in expected(record):
        if (sender.member, target, number) not in got[receiver.member]:
            at = sender.sent[target][number - 1]
            accepted = sender.acknowledged.get(target, {}).get(number, at)
            text = f"message {number} of {sender} to {receiver}, sent at {at - record.began:.3f} s"
            text += f", accepted after {accepted - at:.3f} s" if accepted > at else ""
            was_told = any(missed >= max(at, accepted - LATEST_ACK) for missed in receiver.misses)
            yield text, was_told or _left_before_handover(record, sender, receiver, at, accepted)


def _left_before_handover(record: Record, sender: Stay, receiver: Stay, at: float, accepted: float) -> bool:
    """Whether a node that was cut off accepted a message for a session that had moved, and its sender left.

    That node hands the message over when it goes on. By then the receiver may have been told that the sender left.
    """
    gone = sender.may_leave_at
    if gone is None or not _has_moved(receiver, sender.node, accepted):
        return False
    cuts = (cut for cut in record.cuts if cut.node == sender.node)
    return any(at < cut.until and cut.since < accepted and gone < cut.until + HANDOVER for cut in cuts)


def _has_moved(stay: Stay, node: int, until: float) -> bool:
    """Whether a member was at this node before it resumed at another one, until then."""
    entered = [link.node for link in stay.links if (link.entered_at or inf) < until]
    return node in entered and entered[-1] != node


def expected(record: Record) -> Iterator[tuple[Stay, Stay, str, int]]:
    """Yield the sender, receiver, target and number of each message that must arrive."""
    living = {stay.member: stay for stay in record.stays if stay.lives}
    users = [stay for stay in living.values() if stay.role == "user"]
    for sender in record.stays:
        if sender.struck or sender.joined_at is None:
            continue
        for target, numbers in sender.expects().items():
            for receiver in _receivers(sender, target, living, users):
                for number in sorted(numbers):
                    if receiver.role != "user" or _was_there(receiver, sender, number):
                        yield sender, receiver, target, number


def _receivers(sender: Stay, target: str, living: dict[str, Stay], users: list[Stay]) -> list[Stay]:
    if target == EVERYBODY:
        return [user for user in users if user.room == sender.room and user.member != sender.member]
    return [living[target]] if target in living else []


def _was_there(receiver: Stay, sender: Stay, number: int) -> bool:
    return receiver.joined_at is not None and receiver.joined_at < sender.sent[EVERYBODY][number - 1]


def _flows(record: Record) -> Iterator[tuple[Stay, str, list[Arrival]]]:
    """Yield what each receiver got from each sender, in order of arrival."""
    for stay in record.stays:
        flows: dict[str, list[Arrival]] = defaultdict(list)
        for arrival in stay.arrived:
            flows[arrival.sender].append(arrival)
        for sender, arrivals in flows.items():
            yield stay, sender, arrivals


def duplicated(record: Record) -> Iterator[str]:
    """Messages that arrived more than once.

    A member that reads its old connection while it resumes on a new one may get some again, if it is told of a gap.
    """
    for receiver, sender, arrivals in _flows(record):
        counted = (arrival.number for arrival in arrivals if not in_gap(receiver, arrival))
        for number, times in Counter(counted).items():
            for _ in range(times - 1):
                yield f"message {number} of {sender} to {receiver}, {times} times"


def reordered(record: Record) -> Iterator[str]:
    """Messages that arrived after a later one, not counting duplicates.

    At a receiver that was told of a gap, messages from before it may come late, as they were sent again.
    """
    for receiver, sender, arrivals in _flows(record):
        last, seen = 0, set[int]()
        for arrival in arrivals:
            is_late = any(missed > arrival.sent_at for missed in receiver.misses)
            if arrival.number < last and arrival.number not in seen and not is_late:
                at = arrival.at - record.began
                yield f"message {arrival.number} of {sender} to {receiver} came after {last}, at {at:.3f} s"
            last = max(last, arrival.number)
            seen.add(arrival.number)


def strays(record: Record) -> Iterator[str]:
    """Messages from a peer that was not in the receiver's roster."""
    for receiver, sender, arrivals in _flows(record):
        for arrival in arrivals:
            if not arrival.known:
                yield f"message {arrival.number} of {sender} to {receiver}, at {arrival.at - record.began:.3f} s"


def unanswered(record: Record) -> Iterator[str]:
    """Requests of surviving members that were answered neither with `ack` nor with `error`."""
    for stay in record.stays:
        if not stay.lives:
            continue
        for target, times in stay.sent.items():
            answered = stay.acknowledged.get(target, {}).keys() | stay.refused.get(target, {}).keys()
            for number in sorted(set(range(1, len(times) + 1)) - answered):
                yield f"message {number} of {stay} to {target}, sent at {times[number - 1] - record.began:.3f} s"


def misunderstood(record: Record) -> Iterator[str]:
    """Valid messages that the server rejected as bad."""
    for stay in record.stays:
        for target, codes in stay.refused.items():
            wrong = (number for number, code in codes.items() if code == "bad-message")
            yield from (f"message {number} of {stay} to {target}" for number in wrong)


def disowned(record: Record) -> Iterator[str]:
    """Messages answered with `not-in-room` although their sender was in the room when it sent them."""
    for stay in record.stays:
        if stay.kicked_at is not None or stay.struck:
            continue
        for target, codes in stay.refused.items():
            for number, code in codes.items():
                if code == "not-in-room":
                    at = stay.sent[target][number - 1] - record.began
                    yield f"message {number} of {stay} to {target}, sent at {at:.3f} s"


def closed(record: Record) -> Iterator[str]:
    """Connections that a running node closed."""
    for stay in record.stays:
        if stay.closed and not stay.struck:
            yield f"{stay}: {stay.closed}, at {(stay.ended_at or 0.0) - record.began:.3f} s"
        for link in stay.links:
            if link.closed and link.entered_at is not None and not link.expected:
                yield f"{stay}, at node {link.node}: {link.closed}, at {(link.ended_at or 0.0) - record.began:.3f} s"


def leaked(record: Record) -> Iterator[str]:
    """Redis keys without expiry that remain after all members have left."""
    yield from record.leaked


def bugs(record: Record) -> Iterator[str]:
    """Errors in the logs of the nodes."""
    yield from record.bugs


def idle(record: Record) -> Iterator[str]:
    """Runs with too few messages to be conclusive."""
    judged = sum(1 for _ in expected(record))
    if judged < LEAST:
        yield f"only {judged} messages were judged"


CHECKS: dict[str, Callable[[Record], Iterator[str]]] = {
    "lost": lost,
    "duplicated": duplicated,
    "reordered": reordered,
    "strays": strays,
    "unanswered": unanswered,
    "misunderstood": misunderstood,
    "disowned": disowned,
    "closed": closed,
    "false_leaves": false_leaves,
    "mismatches": mismatches,
    "ghosts": ghosts,
    "stale": stale,
    "taken": taken,
    "leaked": leaked,
    "bugs": bugs,
    "late": late,
    "grown": grown,
    **resume_checks.CHECKS,
    "idle": idle,
}
