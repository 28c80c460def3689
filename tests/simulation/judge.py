"""Whether a run kept the promises of PROTOCOL.md: the checks of the bench suite, and what the simulation adds.

`struck` members are those whose node was declared dead while it lived, or was lost together with the data of Redis:
for them the protocol promises nothing but that they are told (4001, or `resumed` false).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.chaos import judge, resume_checks, roster_checks
from bench.chaos.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.chaos.record import Stay


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
    """What is wrong, by check."""
    found = {name: list(check(record)) for name, check in CHECKS.items()}
    return {name: lines for name, lines in found.items() if lines}
