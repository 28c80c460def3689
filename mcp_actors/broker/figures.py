"""Figures of the link between this node and others, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.counters.histogram import Histogram


class LinkFigures(NamedTuple):
    """One link. `events`: counts since the start of the process, by the names that `RedisBroker.health` uses.

    `probe_age`: seconds since the last probe was read, None before the first. `waiting`: messages, and their bytes,
    that Redis has not acknowledged; `replay_bytes`: of those that it has, and that are kept in case it loses them.
    `unread`: entries in the inbox. Histograms are in seconds; see `broker.redis.latencies`.
    """

    up: bool
    probe_age: float | None
    waiting: int
    waiting_bytes: int
    replay_bytes: int
    unread: int
    unsaved_sessions: int
    events: Mapping[str, int]
    round_trip: Histogram
    probe: Histogram
    delivery: Histogram
