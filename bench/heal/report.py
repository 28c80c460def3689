"""The report of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.heal.judge import PAUSE, SILENCE, quantile
from bench.heal.verdict import GOAL, TOLD_WITHIN, Healed, Verdict, breaches
from bench.report import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

SHOWN_EXAMPLES = 8
HEADINGS = ["", "times", "pairs", "broken", "healed", "p50", "p95", "max", "silently dead", "others broken"]
PLAIN = ["plain: broken", "healed", "p50", "p95"]


def lines(verdicts: list[Verdict], *, timed: bool) -> Iterator[str]:
    """Yield the table, what was told, and the goals that were missed."""
    yield "seconds from the moment when a path is usable until messages flow both ways again, of broken pairs:"
    yield f"nothing arrived for {PAUSE:g} s. silently dead: said connected though nothing arrived for {SILENCE:g} s"
    yield "plain: RTCPeerConnections of the same pages without Call, each with the next page, watched as long"
    rows = [[*HEADINGS, *PLAIN], *(_row(verdict) for verdict in verdicts)]
    if len(verdicts) > 1:
        rows.append(_row(_total(verdicts)))
    yield from aligned(rows)
    for verdict in verdicts:
        yield from _told(verdict)
    for verdict in verdicts:
        found = {"slow": verdict.slow, "silently dead": verdict.silent, "others broken": verdict.unexpected}
        for what, examples in found.items():
            yield from (f"{verdict.fault}, {what}: {example}" for example in examples[:SHOWN_EXAMPLES])
    yield ""
    yield from breaches(verdicts, timed=timed) or [
        "all pairs healed; all goals are met" if timed else "all pairs healed"
    ]


def _row(verdict: Verdict) -> list[str]:
    call, plain = verdict.call, verdict.plain
    return [
        verdict.fault,
        *(str(count) for count in (verdict.times, verdict.pairs, call.broken)),
        *_healed(call, 0.5, 0.95, 1.0),
        *(str(len(found)) for found in (verdict.silent, verdict.unexpected)),
        str(plain.broken),
        *_healed(plain, 0.5, 0.95),
    ]


def _healed(healed: Healed, *shares: float) -> list[str]:
    found = healed.share
    return ["-" if found is None else f"{found:.0%}", *(_seconds(healed.quantile(share)) for share in shares)]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _told(verdict: Verdict) -> Iterator[str]:
    if not verdict.told:
        return
    known = [seconds for seconds in verdict.told if seconds is not None]
    p95 = f"{quantile(known, 0.95):.2f} s" if known else "-"
    said = ", ".join(f"{count} {reason}" for reason, count in verdict.reasons.items())
    yield (
        f"{verdict.fault}: {verdict.told_in_time} of {len(verdict.told)} times a page said rightly within "
        f"{TOLD_WITHIN:g} s of the fault why a pair is not connected, p95 {p95}; said: {said}"
    )


def _total(verdicts: list[Verdict]) -> Verdict:
    total = Verdict("all")
    for verdict in verdicts:
        total.times += verdict.times
        total.pairs += verdict.pairs
        total.silent += verdict.silent
        total.unexpected += verdict.unexpected
        for healed, more in ((total.call, verdict.call), (total.plain, verdict.plain)):
            healed.seconds += more.seconds
            healed.never += more.never
    return total


def goal() -> str:
    """Return the goal in words."""
    return f"goal: back within {GOAL:g} s at p95, none silently dead, reasons within {TOLD_WITHIN:g} s"
