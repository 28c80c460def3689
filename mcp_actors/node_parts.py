"""The node of a process, with the broker that its settings ask for."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

from msgspec import structs

from mcp_actors.broker.memory import MemoryBroker
from mcp_actors.gateway_setup import special_rooms
from mcp_actors.node import Node
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.redis_url import parse

if TYPE_CHECKING:
    from mcp_actors.broker import Broker
    from mcp_actors.settings import Settings


def make_node(settings: Settings) -> Node:
    """Return a node with a new id, which is not started."""
    node_id = NodeId(f"{socket.gethostname()}-{secrets.token_hex(4)}")
    return Node(
        node_id,
        _broker(settings, node_id),
        room_capacity=settings.rooms.max_room_members,
        max_rooms=settings.rooms.max_rooms,
        max_inbox=settings.rooms.max_room_inbox,
        max_pending_acks=settings.rooms.max_room_unanswered,
        max_pending_messages=settings.rooms.max_pending_messages,
        rules=special_rooms(settings),
    )


def _broker(settings: Settings, node_id: NodeId) -> Broker:
    redis, cluster = settings.redis, settings.cluster
    if not redis.broker_url:
        limits = {"max_room_bans": settings.rooms.max_room_bans, "max_bans": settings.rooms.max_bans}
        return MemoryBroker(max_revocations=settings.auth.max_revocations, **limits)
    from mcp_actors.broker.redis import RedisBroker, RedisSettings, Tls  # noqa: PLC0415 - slow to import

    return RedisBroker(
        parse(redis.broker_url),
        node_id,
        prefix=redis.prefix,
        buckets=redis.buckets,
        timeout=redis.timeout,
        files=Tls(redis.ca_file, redis.cert_file, redis.key_file),
        settings=RedisSettings(
            **{name: value for name, value in structs.asdict(cluster).items() if name != "node_lease"},
            lease=cluster.node_lease,
            resume_window=settings.sessions.resume_window,
            max_room_bans=settings.rooms.max_room_bans,
            max_reported_events=settings.webhooks.max_webhook_events if settings.webhooks.url else 0,
            keep_reported_events=settings.webhooks.lifetime,
            max_revocations=settings.auth.max_revocations,
        ),
    )
