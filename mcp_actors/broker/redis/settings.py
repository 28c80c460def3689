"""The settings and the counters of the Redis broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """In seconds, messages and bytes; named like the settings of the server.

    `max_reported_events`: how many events of a bucket wait to be reported to the application; 0 if none are reported.
    """

    lease: float = 6.0
    resume_window: float = 0.0
    outage_joins: Literal["refuse", "local"] = "refuse"
    outage_patience: float = 2.0
    max_remote_messages: int = 20_000
    max_remote_bytes: int = 33_554_432
    replay_seconds: float = 10.0
    max_replay_bytes: int = 67_108_864
    max_replay_messages: int = 200_000
    max_inbox_entries: int = 50_000
    max_inbox_bytes: int = 33_554_432
    audit_interval: float = 60.0
    max_room_bans: int = 256
    max_reported_events: int = 0
    keep_reported_events: float = 86_400.0
    max_revocations: int = 10_000

    @property
    def grace(self) -> float:
        """How long a node has to announce members that Redis lost, and how long frames wait for a missing inbox."""
        return 1.5 * self.lease

    @property
    def keep_events_ms(self) -> int:
        """How long events are kept while no node reports them, in milliseconds."""
        return int(self.keep_reported_events * 1000)

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return int(self.lease * 1000)

    @property
    def window_ms(self) -> int:
        """The resume window in milliseconds."""
        return int(self.resume_window * 1000)


@dataclass(slots=True)
class Counters:
    """Events of a bucket since the start of the process."""

    attached: int = 0
    epochs: int = 0
    fenced: int = 0
    reaped: int = 0
    resyncs: int = 0
    repaired: int = 0
    replayed: int = 0
    duplicates: int = 0
    gaps: int = 0
    stale: int = 0
    unreachable: int = 0
    commands: int = 0
