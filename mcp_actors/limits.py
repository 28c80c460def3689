"""The limits of messages, connections and addresses, from the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.connection.address import AddressRates
from mcp_actors.connection.connection_limits import ConnectionRates
from mcp_actors.connection.environment import Bounds
from mcp_actors.connection.ip_limits import IpLimits
from mcp_actors.connection.pace import Pace
from mcp_actors.connection.token_bucket import TokenBucket
from mcp_actors.protocol.codec import Limits

if TYPE_CHECKING:
    from mcp_actors.settings import AddressSettings, ConnectionSettings, Settings

BAD_MESSAGES_FORGOTTEN = 10.0
"""Seconds in which a client may send `MAX_BAD_MESSAGES` again and again: slower ones never close the connection."""

REFUSALS_FORGOTTEN = 60.0
"""Seconds after which a connection may be refused as often as before."""


def ip_limits(connection: ConnectionSettings, address: AddressSettings) -> IpLimits:
    """The rate limits of each connection, and of all connections of one IP address."""
    each = ConnectionRates(
        messages=TokenBucket(connection.message_rate, connection.message_burst),
        bytes=TokenBucket(connection.byte_rate, connection.byte_burst),
        joins=TokenBucket(connection.join_rate, connection.join_burst),
        updates=TokenBucket(connection.update_rate, connection.update_burst),
        refusals=TokenBucket(connection.max_refused_messages / REFUSALS_FORGOTTEN, connection.max_refused_messages),
        patience=connection.max_slowed_seconds,
        deliveries=TokenBucket(connection.delivery_rate, connection.delivery_burst),
        pace=Pace(connection.max_delivery_rate),
    )
    together = AddressRates(
        connections=TokenBucket(address.connection_rate, address.connection_burst),
        messages=TokenBucket(address.message_rate, address.message_burst),
        bytes=TokenBucket(address.byte_rate, address.byte_burst),
        joins=TokenBucket(address.join_rate, address.join_burst),
        requests=TokenBucket(address.request_rate, address.request_burst),
        max_connections=address.max_address_connections,
        deliveries=TokenBucket(address.delivery_rate, address.delivery_burst),
    )
    return IpLimits(together, each, max_addresses=address.max_addresses)


def connection_bounds(settings: ConnectionSettings) -> Bounds:
    """The limits of each connection."""
    bad_messages = TokenBucket(settings.max_bad_messages / BAD_MESSAGES_FORGOTTEN, settings.max_bad_messages)
    return Bounds(settings.max_outbox_messages, settings.max_outbox_bytes, bad_messages)


def message_limits(settings: Settings) -> Limits:
    """The limits of each message."""
    connection = settings.connections
    return Limits(
        connection.max_message_bytes,
        connection.max_metadata_bytes,
        connection.max_id_length,
        settings.rooms.max_ban_seconds,
    )
