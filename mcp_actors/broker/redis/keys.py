"""The names of what lies in Redis, and which bucket a room is in.

All keys of a bucket share one hash tag, `{prefix:tag}`, so in a Redis Cluster they lie in one slot, and a script can
change a room and write to the inboxes of its nodes in one step. The tag comes first: braces in a name do no harm.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING
from zlib import crc32

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

if TYPE_CHECKING:
    from mcp_actors.protocol.identifiers import NodeId, RoomId


def bucket_of(name: RoomId | str, buckets: int) -> int:
    """The bucket of a room, or of a session: the same for every node of a deployment."""
    return crc32(name.encode()) % buckets


class Keys:
    """The keys of one bucket."""

    def __init__(self, prefix: str, bucket: int, buckets: int) -> None:
        tag = f"{{{prefix}:{_tag(prefix, bucket, buckets)}}}"
        self.bucket = bucket
        self.slot = key_slot(tag.encode())
        self.nodes = f"{tag}:nodes"
        self.config = f"{tag}:config"
        self.inboxes = f"{tag}:inbox:"
        """What the name of every inbox starts with; the node's id follows."""
        self._tag = tag

    def inbox(self, node: NodeId) -> str:
        """The stream of what a node is to hear."""
        return f"{self.inboxes}{node}"

    def rooms_of(self, node: NodeId) -> str:
        """The set of rooms in which a node has members."""
        return f"{self._tag}:rooms-of:{node}"

    def left_by(self, node: NodeId) -> str:
        """The set of rooms in which a node that is dead has members who may go on at another."""
        return f"{self._tag}:left-by:{node}"

    def session(self, session: str) -> str:
        """The hash of which node has a session, and what another must know to go on with it."""
        return f"{self._tag}:session:{session}"

    def tombstone(self, node: NodeId) -> str:
        """There for a while after a node was declared dead."""
        return f"{self._tag}:dead:{node}"

    def room(self, room: RoomId) -> str:
        """The hash of a room's members."""
        return f"{self._tag}:room:{room}"

    def out_of(self, room: RoomId) -> str:
        """The sorted set of those whom moderators put out of a room lately."""
        return f"{self._tag}:out-of:{room}"

    def nodes_of(self, room: RoomId) -> str:
        """The hash of the nodes in a room, with the room's version and counters."""
        return f"{self._tag}:nodes-of:{room}"


def _tag(prefix: str, bucket: int, buckets: int) -> int:
    """The first number that puts a bucket into its share of the slots: plain numbers would fall together."""
    first, after = (REDIS_CLUSTER_HASH_SLOTS * part // buckets for part in (bucket, bucket + 1))
    return next(number for number in count() if first <= key_slot(f"{prefix}:{number}".encode()) < after)
