"""Whether a run kept the promises of PROTOCOL.md: the checks of the bench suite, and what the simulation adds.

`struck` members are those whose node was declared dead while it lived, or was lost together with the data of Redis:
for them the protocol promises nothing but that they are told (4001, or `resumed` false).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bench.chaos import judge, resume_checks, roster_checks
from bench.chaos.record import LOCK, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.record import Stay


def intruders(record: Record) -> Iterator[str]:
    """Members that joined while the room was locked, as others were told, and that are no moderators.

    Not if Redis lost data: members that it had lost are announced again.
    """
    moderators = {stay.member for stay in record.stays if stay.role == "moderator"}
    for stay in record.stays:
        locked = LOCK in stay.first_roster
        for event in stay.events if not record.data_lost and not stay.struck and stay.role != "user" else ():
            if event.peer == LOCK:
                locked = event.joined
            elif locked and event.joined and event.peer not in moderators and not roster_checks.in_gap(stay, event):
                yield f"{stay} was told at {event.at - record.began:.3f} s that {event.peer} joined a locked room"


def incomplete(record: Record) -> Iterator[str]:
    """Sessions that were resumed incompletely although nothing happened that may lose messages.

    Of several attempts at once, the server cannot know what the client has received in which.
    """
    for stay in record.stays if record.gentle else ():
        attempts = Counter(link.since for link in stay.links)
        for link in stay.links:
            if link.resumed and not link.complete and not stay.struck and attempts[link.since] == 1:
                yield f"{stay} resumed at node {link.node}, at {(link.entered_at or 0.0) - record.began:.3f} s"


def sudden(record: Record) -> Iterator[str]:
    """Peers that were not back in time, but were never shown as away."""
    for stay in record.stays:
        for event in roster_checks.reliable(stay, record):
            unseen = event.reason == "timeout" and not event.was_away and stay.role != "user"
            if unseen and not stay.struck and not record.data_lost and not roster_checks.in_gap(stay, event):
                yield f"{stay} was told at {event.at - record.began:.3f} s that {event.peer} left"


def _of_the_unstruck(check: Callable[[Record], Iterator[str]]) -> Callable[[Record], Iterator[str]]:
    """The check, of the receivers that were not struck."""

    def checked(record: Record) -> Iterator[str]:
        sound = Record(
            began=record.began,
            stays=[stay for stay in record.stays if not _is_struck(stay)],
            data_lost=record.data_lost,
            window=record.window,
        )
        return check(sound)

    return checked


def _is_struck(stay: Stay) -> bool:
    return stay.struck


CHECKS: dict[str, Callable[[Record], Iterator[str]]] = {
    "lost": judge.lost,
    "duplicated": _of_the_unstruck(judge.duplicated),
    "reordered": _of_the_unstruck(judge.reordered),
    "strays": judge.strays,
    "unanswered": judge.unanswered,
    "misunderstood": judge.misunderstood,
    "disowned": judge.disowned,
    "closed": judge.closed,
    "false leaves": roster_checks.false_leaves,
    "mismatches": roster_checks.mismatches,
    "ghosts": roster_checks.ghosts,
    "stale": roster_checks.stale,
    "taken": roster_checks.taken,
    "intruders": intruders,
    "incomplete": incomplete,
    "sudden": sudden,
    **{name.replace("_", " "): check for name, check in resume_checks.CHECKS.items()},
    "returned": _of_the_unstruck(resume_checks.returned),
}
"""The checks that are made while the members are in their rooms, when everything has settled."""

PATIENT = ("lost", "unanswered", "mismatches", "ghosts", "stale", "absent", "doubled")
"""Those that may fail for a while after a fault."""


def settled(record: Record) -> bool:
    """Whether no check fails that may fail for a while."""
    return not any(any(CHECKS[name](record)) for name in PATIENT)


def breaches(record: Record) -> dict[str, list[str]]:
    """The broken promises, by check."""
    found = {name: list(check(record)) for name, check in CHECKS.items()}
    return {name: lines for name, lines in found.items() if lines}
