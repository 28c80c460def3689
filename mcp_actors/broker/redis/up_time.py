"""The time during which the link to Redis was up: frames kept in case Redis loses them do not age while it is away."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class UpTime:
    """Counts the seconds between each `start` and the next `stop`; `clock` tells seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._before = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """The seconds counted until now."""
        return self._before + (0.0 if self._since is None else self._clock() - self._since)

    def start(self) -> None:
        """Count from now on."""
        self.stop()
        self._since = self._clock()

    def stop(self) -> None:
        """Count no more."""
        self._before, self._since = self.seconds, None
