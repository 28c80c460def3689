"""The names of the keys in Redis, and the bucket of a room. lua/common.lua describes what the keys hold.

All keys begin with the prefix of the deployment, so that an ACL can name them. All keys of a bucket share one hash tag,
as in `mcp-actors:{0}:nodes`: in a Redis Cluster they are in one slot, and a script can change a room and write to the
inboxes of its nodes in one step. The tag comes before all other names, so braces in these do no harm.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING
from zlib import crc32

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.protocol.identifiers import NodeId, RoomId


def bucket_of(name: str, buckets: int) -> int:
    """The bucket of a room or session, the same on every node of a deployment."""
    return crc32(name.encode()) % buckets


class Keys:
    """The keys of one bucket."""

    def __init__(self, prefix: str, bucket: int, buckets: int) -> None:
        tag = f"{prefix}:{{{_tag(bucket, buckets)}}}"
        self.bucket = bucket
        self.slot = key_slot(tag.encode())
        self.nodes = f"{tag}:nodes"
        self.config = f"{tag}:config"
        self.pattern = f"{prefix}:*"
        """Matches every key of the deployment, as an ACL writes it."""
        self.revocations = f"{tag}:revocations"
        self.revocation_ends = f"{tag}:revocation_ends"
        self.inboxes = f"{tag}:inbox:"
        """The prefix of every inbox; the id of the node follows."""
        self.reported = (f"{tag}:events", f"{tag}:reports")
        """The events that are to be reported to the application, and who reports them."""
        self._tag = tag

    def inbox(self, node: NodeId) -> str:
        """The inbox of a node."""
        return f"{self.inboxes}{node}"

    def rooms_of(self, node: NodeId) -> str:
        """The set of rooms in which a node has members."""
        return f"{self._tag}:rooms:{node}"

    def scratch(self, node: NodeId) -> str:
        """A key on which a node tries commands."""
        return f"{self._tag}:scratch:{node}"

    def left_by(self, node: NodeId) -> str:
        """The set of rooms in which a dead node left detached members."""
        return f"{self._tag}:left:{node}"

    def tombstone(self, node: NodeId) -> str:
        """Exists for a while after a node was reaped."""
        return f"{self._tag}:tombstone:{node}"

    def session(self, session: str) -> str:
        """The record of a session."""
        return f"{self._tag}:session:{session}"

    def members(self, room: RoomId) -> str:
        """The members of a room."""
        return f"{self._tag}:members:{room}"

    def state(self, room: RoomId) -> str:
        """The nodes of a room, with its version and counters."""
        return f"{self._tag}:state:{room}"

    def removed(self, room: RoomId) -> str:
        """The members that moderators removed from a room lately."""
        return f"{self._tag}:removed:{room}"

    def notices(self, room: RoomId) -> str:
        """The words of moderators to the members that they removed lately."""
        return f"{self._tag}:notices:{room}"

    def bans(self, room: RoomId) -> str:
        """The bans of a room."""
        return f"{self._tag}:bans:{room}"

    def of_room(self, room: RoomId, nodes: Iterable[NodeId], extra: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The keys of a script about a room, in the order of `takes_room`; the calling node comes first."""
        of_nodes = [key for node in nodes for key in (self.inbox(node), self.rooms_of(node))]
        moderation = (self.removed(room), self.notices(room), self.bans(room))
        return (self.nodes, self.config, self.members(room), self.state(room), *moderation, *extra, *of_nodes)


def _tag(bucket: int, buckets: int) -> int:
    """The first number that hashes into the bucket's share of the slots: consecutive numbers would cluster."""
    first, after = (REDIS_CLUSTER_HASH_SLOTS * part // buckets for part in (bucket, bucket + 1))
    return next(number for number in count() if first <= key_slot(str(number).encode()) < after)
