"""Tells when a side that was heard is heard no more."""

from __future__ import annotations

SILENCE = 2.5
"""Seconds after which a side that is not heard is lost."""

PROBE = 1.5
"""Seconds to be heard when there is a doubt: what has arrived may still wait to be read."""

LATE = 1.0
"""Seconds: a tick that comes later than this was held up."""


class Silence:
    """Decides by times on one clock, in seconds."""

    def __init__(self) -> None:
        self.heard_at: float | None = None
        """None before the first time, when silence means nothing."""
        self._due: float | None = None

    def heard(self, now: float) -> None:
        """Something has arrived."""
        self.heard_at = now

    def doubt(self, now: float) -> None:
        """Something has happened that may have cut the path: the side must be heard soon."""
        if self.heard_at is not None:
            self.heard_at = min(self.heard_at, now + PROBE - SILENCE)

    def tick(self, now: float, seconds: float) -> None:
        """Notice if this process was held up. `seconds`: until the next call."""
        if self._due is not None and now - self._due > LATE and self.heard_at is not None:
            self.heard_at = max(self.heard_at, now + PROBE - SILENCE)
        self._due = now + seconds

    def silent_since(self, now: float) -> float | None:
        """Return when the side was heard last if it is lost; None if it is not."""
        return self.heard_at if self.heard_at is not None and now - self.heard_at > SILENCE else None
