"""Reads the counters of one process as values of metrics. It takes no longer with more connections or rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from mcp_actors import __version__
from mcp_actors.auth.authorization import Outcome
from mcp_actors.compiled import variant
from mcp_actors.connection.counters import KNOWN_CODES, OTHER, RefusalReason
from mcp_actors.counters.agents import CallOutcome
from mcp_actors.protocol.errors import ErrorCode
from mcp_actors.protocol.events import Kind, LeaveReason
from mcp_actors.protocol.messages import Message, PeerRequest, ServerMessage, Targeted, UserRequest
from mcp_actors.protocol.pairs import PairFailure, PairOutcome
from mcp_actors.sessions import Resumption
from mcp_actors.sessions.state import TRANSITIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized

    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.auth.authorization import Authorizer
    from mcp_actors.broker.figures import LinkFigures
    from mcp_actors.connection.connections import Connections
    from mcp_actors.connection.counters import ConnectionCounters
    from mcp_actors.connection.ip_limits import IpLimits
    from mcp_actors.counters.agents import AgentCounters
    from mcp_actors.counters.histogram import Histogram
    from mcp_actors.counters.loop_lag import LoopLag
    from mcp_actors.counters.pairs import PairCounters
    from mcp_actors.memory_budget import MemoryBudget
    from mcp_actors.node import Node
    from mcp_actors.sessions import Sessions
    from mcp_actors.webhooks.reports import Reports

ENDPOINTS = ("signaling", "messaging")
"""The endpoints that have a value before they have had a connection."""

HOLDERS = ("connection", "session")
"""The kinds of holders in the memory budget."""

RECEIVED = sorted({*PeerRequest.__args__, *UserRequest.__args__}, key=lambda kind: kind.__struct_config__.tag)
SENT = sorted({*ServerMessage.__args__, *Targeted.__args__, Message}, key=lambda kind: kind.__struct_config__.tag)

EVENTS = {
    "redis_commands_total": "commands",
    "redis_attachments_total": "attached",
    "redis_restarts_total": "epochs",
    "redis_replayed_messages_total": "replayed",
    "redis_resyncs_total": "resyncs",
    "redis_repaired_rooms_total": "repaired",
    "redis_fenced_total": "fenced",
    "redis_reaped_nodes_total": "reaped",
}
IRREGULAR = {"duplicate": "duplicates", "stale": "stale", "gap": "gaps", "unreachable": "unreachable"}


class Buckets(Struct, frozen=True, array_like=True):
    """The state of a histogram."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @classmethod
    def of(cls, histogram: Histogram, *more: Histogram) -> Buckets:
        """Return the state of a histogram, or the sum of several with the same bounds."""
        counts = [sum(same) for same in zip(histogram.counts, *(one.counts for one in more), strict=True)]
        return cls(histogram.bounds, tuple(counts), histogram.sum + sum(one.sum for one in more))


class Reading(Struct, frozen=True, array_like=True):
    """The value of one metric for values of its labels; `name` as in the catalogue."""

    name: str
    value: float | Buckets
    labels: tuple[str, ...] = ()


class Agents(Protocol):
    """What counts agents: the names of their tools, what they have called, and the rooms that they are in."""

    tool_names: Sequence[str]
    counters: AgentCounters

    @property
    def memberships(self) -> Sized:
        """The memberships at this process."""


class Sources(Protocol):
    """The parts of an application that count.

    `authorizer`: None if the application has no rules of its own. `reports`: the webhooks, None if there are none.
    `mcp`: None if agents are not served.
    """

    node: Node
    readiness: Readiness
    connections: Connections
    counters: ConnectionCounters
    addresses: IpLimits
    memory: MemoryBudget
    sessions: Sessions
    authorizer: Authorizer | None
    loop_lag: LoopLag
    reports: Reports | None

    @property
    def mcp(self) -> Agents | None:
        """What agents do."""


def read(sources: Sources) -> list[Reading]:
    """Read all metrics of a process. Counters that are added elsewhere get a function here, or a line in one."""
    return [
        *_process(sources),
        *_connections(sources),
        *_messages(sources),
        *_rooms(sources),
        *_pairs(sources.node.pairs),
        *_sessions(sources),
        *_authorizations(sources.authorizer),
        *_agents(sources.mcp),
        *_webhooks(sources.reports),
        *_redis(sources.node.broker.links()),
    ]


def _process(sources: Sources) -> Iterator[Reading]:
    yield Reading("build_info", 1, (__version__, variant()))
    yield Reading("ready", int(sources.readiness.problem is None))
    yield Reading("stopping", int(sources.readiness.stopping or sources.connections.stopping))
    yield Reading("event_loop_lag_seconds", Buckets.of(sources.loop_lag.seconds))


def _connections(sources: Sources) -> Iterator[Reading]:
    counters, limits = sources.counters, sources.addresses.counters
    endpoints = dict.fromkeys((*ENDPOINTS, *counters.opened))
    yield from _each("connections", counters.open, endpoints)
    yield from _each("connections_opened_total", counters.opened, endpoints)
    for code in (*sorted(KNOWN_CODES), OTHER):
        label = "other" if code == OTHER else str(int(code))
        yield Reading("connections_closed_total", counters.closed.get(code, 0), (label,))
    yield Reading("connection_duration_seconds", Buckets.of(counters.seconds))
    yield from _each("handshakes_refused_total", counters.refused, RefusalReason)
    yield Reading("received_bytes_total", counters.received_bytes)
    yield Reading("sent_bytes_total", counters.sent_bytes)
    yield Reading("addresses", len(sources.addresses))
    actions = {"slowed": limits.slowed, "refused": limits.refused, "closed": limits.closed}
    yield from _each("rate_limit_actions_total", actions, actions)
    yield Reading("slowed_seconds_total", limits.slowed_seconds)


def _messages(sources: Sources) -> Iterator[Reading]:
    traffic = sources.node.traffic
    remote = traffic.sent.get(type(None), 0)
    yield from _by_type("messages_received_total", traffic.received, RECEIVED, traffic.invalid)
    yield from _by_type("messages_sent_total", traffic.sent, SENT, -remote)
    yield Reading("messages_sent_total", remote, ("remote",))
    yield from _each("errors_total", traffic.errors, ErrorCode)
    latency = traffic.latency
    yield Reading("relay_latency_seconds", Buckets.of(latency.signals), ("signal",))
    yield Reading("relay_latency_seconds", Buckets.of(latency.broadcasts), ("broadcast",))
    yield Reading("room_inbox_messages", Buckets.of(latency.inbox))


def _rooms(sources: Sources) -> Iterator[Reading]:
    counters = sources.node.counters
    yield Reading("rooms", counters.open)
    yield Reading("rooms_opened_total", counters.opened)
    yield from _each("members", counters.members, Kind)
    yield from _each("joins_total", counters.joins, Kind)
    for kind in Kind:
        for reason in (*LeaveReason, None):
            yield Reading("leaves_total", counters.leaves.get((kind, reason), 0), (kind, reason or "moved"))


def _pairs(counters: PairCounters) -> Iterator[Reading]:
    for outcome, seconds in counters.seconds.items():
        for reason in PairFailure if outcome is PairOutcome.FAILED else (None,):
            yield Reading("pair_reports_total", counters.reports.get((outcome, reason), 0), (outcome, reason or "none"))
        yield Reading("pair_report_seconds", Buckets.of(seconds), (outcome,))


def _sessions(sources: Sources) -> Iterator[Reading]:
    counters, memory = sources.sessions.counters, sources.memory
    for state in (state for state, following in TRANSITIONS.items() if following):
        yield Reading("sessions", counters.by_state.get(state, 0), (state.value.replace(" ", "-"),))
    yield Reading("sessions_opened_total", counters.opened)
    yield from _each("resumes_total", counters.resumed, Resumption)
    yield Reading("resumes_incomplete_total", counters.incomplete)
    for outcome, seconds in counters.seconds.items():
        yield Reading("resume_duration_seconds", Buckets.of(seconds), (outcome,))
    yield from _each("kept_bytes", memory.by_kind, HOLDERS)
    yield Reading("memory_evictions_total", memory.paid)


def _authorizations(authorizer: Authorizer | None) -> Iterator[Reading]:
    if authorizer is not None:
        yield from _each("authorizations_total", authorizer.outcomes, Outcome)
        yield Reading("authorize_duration_seconds", Buckets.of(authorizer.seconds))


def _agents(agents: Agents | None) -> Iterator[Reading]:
    if agents is None:
        return
    counters = agents.counters
    for tool in agents.tool_names:
        for outcome in CallOutcome:
            yield Reading("agent_calls_total", counters.calls.get((tool, outcome), 0), (tool, outcome))
    yield Reading("agent_calls_waiting", counters.waiting)
    yield Reading("agent_memberships", len(agents.memberships))
    events = {"joined": counters.joined, "resumed": counters.resumed, "expired": counters.expired}
    yield from _each("agent_membership_events_total", events, events)


def _webhooks(reports: Reports | None) -> Iterator[Reading]:
    if reports is None:
        return
    counters, waiting = reports.counters, reports.waiting()
    outcomes = {"delivered": counters.delivered, "failed": counters.failed, "refused": counters.refused}
    yield from _each("webhook_deliveries_total", outcomes, outcomes)
    yield Reading("webhook_dropped_events_total", counters.dropped)
    yield Reading("webhook_waiting_events", waiting.events)
    yield Reading("webhook_oldest_event_seconds", waiting.oldest_seconds)


def _redis(links: Iterable[LinkFigures]) -> Iterator[Reading]:
    """Read the links together; without Redis there are none."""
    links = list(links)
    if not links:
        return
    up = sum(link.up for link in links)
    yield Reading("redis_links", up, ("up",))
    yield Reading("redis_links", len(links) - up, ("down",))
    ages = [link.probe_age for link in links if link.probe_age is not None]
    if ages:
        yield Reading("redis_probe_age_seconds", max(ages))
    yield Reading("redis_probe_duration_seconds", Buckets.of(*(link.probe for link in links)))
    yield Reading("redis_delivery_seconds", Buckets.of(*(link.delivery for link in links)))
    yield Reading("redis_round_trip_seconds", Buckets.of(*(link.round_trip for link in links)))
    yield Reading("redis_waiting_messages", sum(link.waiting for link in links))
    yield Reading("redis_waiting_bytes", sum(link.waiting_bytes for link in links))
    yield Reading("redis_replay_buffer_bytes", sum(link.replay_bytes for link in links))
    yield Reading("redis_inbox_entries", sum(link.unread for link in links))
    yield Reading("redis_refused_session_records", sum(link.unsaved_sessions for link in links))
    for name, event in EVENTS.items():
        yield Reading(name, sum(link.events[event] for link in links))
    for what, event in IRREGULAR.items():
        yield Reading("redis_irregular_messages_total", sum(link.events[event] for link in links), (what,))


def _each(name: str, values: Mapping[Any, float], labels: Iterable[str]) -> Iterator[Reading]:
    """The values of a metric with one label, 0 for those that were not counted yet."""
    return (Reading(name, values.get(label, 0), (str(label),)) for label in labels)


def _by_type(name: str, counts: Mapping[Any, int], kinds: Iterable[Any], others: int) -> Iterator[Reading]:
    """Messages by type. `others` are added to those whose type is not among these kinds."""
    others += sum(counts.values())
    for kind in kinds:
        count = counts.get(kind, 0)
        others -= count
        yield Reading(name, count, (kind.__struct_config__.tag,))
    yield Reading(name, others, ("other",))
