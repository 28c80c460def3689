"""The outcome of a probe, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from mcp_actors import __version__


class Outcome(StrEnum):
    """Whether something works."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line. `text` says what was found, and `advice` what to change, if anything."""

    name: str
    outcome: Outcome
    text: str
    advice: str = ""
    milliseconds: float | None = None


def ok(name: str, text: str, milliseconds: float | None = None, *, advice: str = "") -> Check:
    """It works."""
    rounded = None if milliseconds is None else round(milliseconds, 1)
    return Check(name=name, outcome=Outcome.OK, text=text, advice=advice, milliseconds=rounded)


def failed(name: str, text: str, advice: str) -> Check:
    """It does not work."""
    return Check(name=name, outcome=Outcome.FAILED, text=text, advice=advice)


def skipped(name: str, text: str, advice: str = "") -> Check:
    """It was not tried."""
    return Check(name=name, outcome=Outcome.SKIPPED, text=text, advice=advice)


@dataclass(slots=True)
class Report:
    """All checks of a server, in the order made."""

    url: str
    checks: list[Check] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether something does not work."""
        return any(check.outcome == Outcome.FAILED for check in self.checks)

    def as_json(self) -> str:
        """The report for programs."""
        checks = [asdict(check) for check in self.checks]
        return json.dumps({"url": self.url, "version": __version__, "checks": checks}, indent=2)

    def as_text(self) -> str:
        """The report for people."""
        width = max((len(check.name) for check in self.checks), default=0)
        lines = [f"mcp-actors {__version__} probes {self.url}", ""]
        for check in self.checks:
            lines.append(f"  {check.outcome:<7}  {check.name:<{width}}  {check.text}{_duration(check)}")
            if check.advice:
                lines.append(f"  {'':<7}  {'':<{width}}  -> {check.advice}")
        return "\n".join([*lines, "", self._summary()])

    def _summary(self) -> str:
        counts = {one: sum(check.outcome == one for check in self.checks) for one in Outcome}
        words = [f"{count} {outcome}" for outcome, count in counts.items() if count]
        return f"{len(self.checks)} check{'s' if len(self.checks) != 1 else ''}: {', '.join(words)}"


def _duration(check: Check) -> str:
    return "" if check.milliseconds is None else f" ({check.milliseconds:g} ms)"
