"""The Lua scripts: lua/common.lua in front of each file, whose header says what it does and replies."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcp_actors.broker.redis.connection import Command
    from mcp_actors.broker.redis.keys import Keys
    from mcp_actors.broker.redis.settings import RedisSettings

_LUA = files("mcp_actors") / "broker" / "redis" / "lua"
_LIBRARY = (_LUA / "common.lua").read_text(encoding="utf-8")


class Script(NamedTuple):
    """A script, and the digest by which Redis knows it once it is loaded."""

    text: str
    digest: str

    def call(self, keys: Iterable[str], arguments: Iterable[str | bytes | int]) -> Command:
        """The command that runs the script, with keys and arguments in the order in which it names them."""
        keys = tuple(keys)
        return ("EVALSHA", self.digest, len(keys), *keys, *arguments)


def room_call(
    script: Script,
    keys: Keys,
    settings: RedisSettings,
    named: tuple[str, ...],
    arguments: tuple[str | bytes | int, ...],
) -> Command:
    """The command that runs a script about a room, and has it append to the events that are reported, if any are."""
    if not settings.max_reported_events:
        return script.call(named, arguments)
    return script.call((*named, *keys.reported), (*arguments, settings.max_reported_events))


LIMITED = {"join"}
"""The scripts that Redis refuses when its memory is full."""

_DELETE_FIRST = {"save_session", "delete_session"}
_WRITE_NOTHING = {"check"}
_UNLIMITED = "redis.call('ZREM', KEYS[1], '')\n"
"""Precedes the others, which free memory, or keep what is there: a script that has deleted something may write on.

The first key of each is `nodes`, which has no member without a name.
"""


def _load(name: str) -> Script:
    text = (_LUA / f"{name}.lua").read_text(encoding="utf-8")
    text = _LIBRARY + ("" if name in LIMITED | _DELETE_FIRST | _WRITE_NOTHING else _UNLIMITED) + text
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


ATTACH, HEARTBEAT, UNREGISTER = map(_load, ("attach", "heartbeat", "unregister"))
FENCE, REAP_ROOM, REAP_NODE = map(_load, ("fence", "reap_room", "reap_node"))
JOIN, LEAVE, SET_PRESENCE = map(_load, ("join", "leave", "set_presence"))
CLAIM, FENCE_OWNER, END_RECOVERY = map(_load, ("claim", "fence_owner", "end_recovery"))
UPDATE, KICK, LOCK, CLOSE = map(_load, ("update", "kick", "lock", "close"))
LIST_BANS, UNBAN, ANNOUNCE = map(_load, ("list_bans", "unban", "announce"))
REVOKE, RESTORE_REVOCATIONS = map(_load, ("revoke", "restore_revocations"))
RESYNC, EXPIRE, AUDIT, CHECK = map(_load, ("resync", "expire", "audit", "check"))
SAVE_SESSION, ACQUIRE_SESSION, DELETE_SESSION = map(_load, ("save_session", "acquire_session", "delete_session"))
LEASE_EVENTS, SETTLE_EVENTS = map(_load, ("lease_events", "settle_events"))

SCRIPTS = (
    *(ATTACH, HEARTBEAT, UNREGISTER, FENCE, REAP_ROOM, REAP_NODE),
    *(JOIN, LEAVE, CLAIM, FENCE_OWNER, END_RECOVERY, SET_PRESENCE, RESYNC, EXPIRE, AUDIT, CHECK),
    *(UPDATE, KICK, LOCK, CLOSE, LIST_BANS, UNBAN, ANNOUNCE, REVOKE, RESTORE_REVOCATIONS),
    *(SAVE_SESSION, ACQUIRE_SESSION, DELETE_SESSION),
    *(LEASE_EVENTS, SETTLE_EVENTS),
)
