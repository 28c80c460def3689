"""The report of a chaos run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.chaos.resume_checks import ResumeCounts
    from bench.chaos.verdict import Verdict

SHOWN = ("lost", "duplicated", "reordered", "false_leaves", "mismatches", "ghosts", "leaked")
"""Checks with a column of their own."""

SHOWN_EXAMPLES = 8
"""How many examples of each breach are shown."""


def lines(verdicts: list[Verdict], *, control: bool) -> Iterator[str]:
    """Yield the table and the details of each run."""
    yield "breaches by check; latency of messages, and from a leave until all were told of it, in ms;"
    yield "announced: seconds from the kill of a node until all were told that its peers left"
    shown = [name.replace("_", " ") for name in SHOWN]
    rows = [
        [
            "",
            "sent",
            "judged",
            "refused",
            *shown,
            "others",
            "p50",
            "p99",
            "max",
            "leave p99",
            "max",
            "announced",
            "verdict",
        ]
    ]
    yield from aligned([*rows, *(_row(verdict, control=control) for verdict in verdicts)])
    for verdict in verdicts:
        yield from _details(verdict)


def passed(verdict: Verdict, *, control: bool) -> bool:
    """Whether a run passed. The control passes if it loses messages."""
    return verdict.breaches["lost"] > 0 if control else verdict.kept


def _row(verdict: Verdict, *, control: bool) -> list[str]:
    others = sum(count for name, count in verdict.breaches.items() if name not in SHOWN)
    measured, leaving = verdict.latency, verdict.leaving
    latency = [f"{value / 1000:.1f}" for value in (measured.p50, measured.p99, measured.max, leaving.p99, leaving.max)]
    return [
        verdict.fault,
        *(str(count) for count in (verdict.sent, verdict.judged, sum(verdict.refused.values()))),
        *(str(verdict.breaches[name]) for name in SHOWN),
        str(others),
        *latency,
        "-" if verdict.announced is None else f"{verdict.announced:.2f}",
        _outcome(verdict, control=control),
    ]


def _outcome(verdict: Verdict, *, control: bool) -> str:
    if control:
        return "failed, as expected" if passed(verdict, control=True) else "DID NOT FAIL"
    return "kept" if verdict.kept else "BROKEN"


def _details(verdict: Verdict) -> Iterator[str]:
    yield ""
    counts = {"refused": verdict.refused, "failed joins": verdict.joins_failed, "kicks": verdict.kicks}
    said = "; ".join(f"{name}: {_list(found)}" for name, found in counts.items() if found)
    yield f"{verdict.fault}, seed {verdict.seed}: {verdict.joins} joins; settled after {verdict.settled:.1f} s; {said}"
    if verdict.returns.times:
        yield f"  {_returns(verdict.returns)}"
    if verdict.kept:
        return
    yield from (f"  {line}" for line in verdict.timeline)
    for name, examples in verdict.examples.items():
        yield f"  {name.replace('_', ' ')}: {verdict.breaches[name]}"
        yield from (f"    {line}" for line in examples[:SHOWN_EXAMPLES])


def _returns(counted: ResumeCounts) -> str:
    return (
        f"{counted.times} times a session was resumed, {counted.elsewhere} of them on another node in a median of "
        f"{1000 * counted.median:.0f} ms from the reconnect, all within {counted.slowest:.1f} s of the break; "
        f"{counted.incomplete} with a gap that was reported; "
        f"{counted.told} messages were lost in one or with their sender; "
        f"{counted.sent_again} messages were sent again, {counted.dropped} arrived twice and were dropped"
    )


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
