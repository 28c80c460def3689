"""Every metric: its name, type, labels and help. A test holds the table in docs/reference/metrics.md to this one.

Labels have few values, which are all listed: no room, no id and no address is a label.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

PREFIX = "mcp_actors_"


class Metric(NamedTuple):
    """One metric; `name` is without the prefix."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


_ALL = (
    Metric(
        "build_info",
        "gauge",
        "Always 1; the labels are the version of the server and whether it is compiled.",
        ("version", "variant"),
    ),
    Metric("ready", "gauge", "1 while rooms can be joined here, as /readyz says, else 0."),
    Metric("stopping", "gauge", "1 while the process drains or stops, else 0."),
    # connections
    Metric("connections", "gauge", "Open WebSocket connections.", ("endpoint",)),
    Metric("connections_opened_total", "counter", "WebSocket connections since the start.", ("endpoint",)),
    Metric(
        "connections_closed_total",
        "counter",
        "Ended connections by the code of the first close frame, of either side; 1005: without a code, 1006: without a "
        "close frame, other: a code of the client's own.",
        ("code",),
    ),
    Metric("connection_duration_seconds", "histogram", "How long connections were open, counted at their end."),
    Metric("handshakes_refused_total", "counter", "Refused WebSocket handshakes.", ("reason",)),
    Metric(
        "received_bytes_total",
        "counter",
        "Bytes of WebSocket frames from clients, headers included; counted once per ping interval.",
    ),
    Metric(
        "sent_bytes_total",
        "counter",
        "Bytes of WebSocket frames to clients, headers included; counted once per ping interval.",
    ),
    Metric("addresses", "gauge", "Client addresses whose limits are tracked."),
    # messages
    Metric(
        "messages_received_total",
        "counter",
        "Messages of clients by type; other: those that could not be decoded, such as of an unknown type.",
        ("type",),
    ),
    Metric(
        "messages_sent_total",
        "counter",
        "Messages that were sent to clients, or are kept for clients that are away, by type; remote: relayed messages "
        "of members at other processes, whose text is not decoded here.",
        ("type",),
    ),
    Metric("errors_total", "counter", "Error messages to clients by code.", ("code",)),
    Metric(
        "relay_latency_seconds",
        "histogram",
        "From decoding a message until its last receiver at the same process has it in its outbox or replay buffer; "
        "measured on every 16th message of a type. The time that bytes wait in sockets before and after is not in it.",
        ("kind",),
    ),
    Metric(
        "room_inbox_messages",
        "histogram",
        "Messages that waited in the inbox of a room behind one whose latency was measured.",
    ),
    Metric(
        "rate_limit_actions_total",
        "counter",
        "What the rate limits did: slowed (a connection was not read for a while), refused (a message was answered "
        "with rate-limited), closed (a connection was closed for sending on).",
        ("action",),
    ),
    Metric("slowed_seconds_total", "counter", "Seconds for which the rate limits kept connections from being read."),
    # rooms
    Metric("rooms", "gauge", "Rooms with members at this process."),
    Metric("rooms_opened_total", "counter", "Rooms that were opened at this process."),
    Metric(
        "members", "gauge", "Members of rooms at this process; a client counts once in each of its rooms.", ("kind",)
    ),
    Metric("joins_total", "counter", "Members that joined, or moved here from another process.", ("kind",)),
    Metric(
        "leaves_total",
        "counter",
        "Members that left by reason, as clients are told; moved: to another process.",
        ("kind", "reason"),
    ),
    # pairs
    Metric(
        "pair_reports_total",
        "counter",
        "Connections between peers, as both of their clients report them: connected, healed (connected again after a "
        "break) or failed, with the reason; none: the pair did not fail.",
        ("outcome", "reason"),
    ),
    Metric(
        "pair_report_seconds",
        "histogram",
        "How long it took until a pair was connected or healed, or its user was told that it failed; a report counts "
        "an hour at most.",
        ("outcome",),
    ),
    # sessions
    Metric(
        "sessions",
        "gauge",
        "Sessions by state: attached to a connection, detached (the client is away), or migrating in or out.",
        ("state",),
    ),
    Metric("sessions_opened_total", "counter", "Sessions that were begun here, or moved here."),
    Metric(
        "resumes_total",
        "counter",
        "Attempts to resume a session: here and moved (from another process) succeeded; unknown: there is no such "
        "session any more; refused: by moderators or rate limits; unavailable: try again; abandoned: the client left.",
        ("outcome",),
    ),
    Metric("resumes_incomplete_total", "counter", "Resumed sessions of whose messages some were lost."),
    Metric(
        "resume_duration_seconds",
        "histogram",
        "How long it took to resume a session, with the questions to the application.",
        ("outcome",),
    ),
    Metric(
        "kept_bytes",
        "gauge",
        "Memory that clients take: connection (outboxes, and buffers of sockets in the process and in the kernel), "
        "session (replay buffers, and messages that wait for a join). A message for many counts in full for each.",
        ("holder",),
    ),
    Metric("memory_evictions_total", "counter", "Clients that lost their connection or session to the memory limits."),
    # the application's own rules
    Metric(
        "authorizations_total",
        "counter",
        "Questions to the application that decides who may enter; busy: not asked, as too many were not answered yet.",
        ("outcome",),
    ),
    Metric("authorize_duration_seconds", "histogram", "How long the application took to answer, or did not answer."),
    # agents
    Metric(
        "agent_calls_total",
        "counter",
        "Calls of tools over the Model Context Protocol; failed: the model was told why, invalid: wrong arguments, "
        "limited: too many calls.",
        ("tool", "outcome"),
    ),
    Metric("agent_calls_waiting", "gauge", "Calls that wait for messages."),
    Metric("agent_memberships", "gauge", "Agents in rooms at this process; one counts once in each of its rooms."),
    Metric(
        "agent_membership_events_total",
        "counter",
        "Memberships of agents: joined, resumed (moved here with a call), expired (their lease has ended).",
        ("event",),
    ),
    # webhooks
    Metric(
        "webhook_deliveries_total",
        "counter",
        "Requests to the receiver of webhooks: delivered, failed (tried again, or given up), or refused for good.",
        ("outcome",),
    ),
    Metric(
        "webhook_dropped_events_total",
        "counter",
        "Events that were never delivered, as they failed for too long or too many waited; counted by the process that "
        "reads the log, for all processes.",
    ),
    Metric("webhook_waiting_events", "gauge", "Events that wait for delivery, in the logs that this process reads."),
    Metric("webhook_oldest_event_seconds", "gauge", "How long the oldest of them has waited; 0 if there is none."),
    # the process
    Metric(
        "event_loop_lag_seconds",
        "histogram",
        "How much later than due a timer was called, measured four times a second; up to 2 ms are the timer's own.",
    ),
    # Redis
    Metric("redis_links", "gauge", "Links to Redis, one for each bucket, that are up or down.", ("state",)),
    Metric(
        "redis_probe_age_seconds",
        "gauge",
        "Seconds since the process read the last probe that it wrote to its own inbox; the maximum of all links.",
    ),
    Metric(
        "redis_probe_duration_seconds",
        "histogram",
        "From sending a probe until it was read in the own inbox: the way of a message between processes, "
        "measured with one clock, three times per node lease.",
    ),
    Metric(
        "redis_delivery_seconds",
        "histogram",
        "From the time that Redis stamped on an entry with messages of other processes until it was read here. The "
        "clock of Redis is compared with that of this process by probes; what is wrong is at most half of the fastest "
        "of the last 16 probes. What the sender waited for Redis is not in it.",
    ),
    Metric(
        "redis_round_trip_seconds",
        "histogram",
        "From writing a batch of commands to Redis until the last of them was answered.",
    ),
    Metric("redis_commands_total", "counter", "Commands that were written to Redis and answered, without reading."),
    Metric("redis_waiting_messages", "gauge", "Messages to other processes that Redis has not acknowledged."),
    Metric("redis_waiting_bytes", "gauge", "Their bytes."),
    Metric(
        "redis_replay_buffer_bytes",
        "gauge",
        "Bytes of messages to other processes that Redis has, and that are kept here in case it loses them.",
    ),
    Metric("redis_inbox_entries", "gauge", "Entries in the inbox of this process, as of the last heartbeat."),
    Metric("redis_refused_session_records", "gauge", "Session records that Redis refuses to store."),
    Metric("redis_attachments_total", "counter", "How often a link to Redis came up, the first time included."),
    Metric("redis_restarts_total", "counter", "How often Redis came back as another run, or without its data."),
    Metric("redis_replayed_messages_total", "counter", "Messages that were written again after that."),
    Metric("redis_resyncs_total", "counter", "Rooms that were compared with Redis and announced again."),
    Metric("redis_repaired_rooms_total", "counter", "Rooms whose keys in Redis were damaged, and were repaired."),
    Metric(
        "redis_fenced_total", "counter", "How often this process was declared dead by others, and had to start anew."
    ),
    Metric("redis_reaped_nodes_total", "counter", "Dead processes whose members this process removed."),
    Metric(
        "redis_irregular_messages_total",
        "counter",
        "Messages of other processes that arrived again (duplicate), for a member that is gone (stale), or behind lost "
        "ones (gap); and own ones whose process was gone (unreachable).",
        ("what",),
    ),
    # the scrape
    Metric(
        "scrape_missing_processes",
        "gauge",
        "Processes of this server that did not answer this scrape in time; only with --processes.",
    ),
)

METRICS = {metric.name: metric for metric in _ALL}
"""All metrics by name, in the order in which they are shown."""
