"""The Lua scripts, each in a file of its own that says what it takes and replies."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files
from typing import NamedTuple


class Script(NamedTuple):
    """A script: its text, and the digest by which Redis knows it once it is loaded."""

    text: str
    digest: str


def _load(name: str, *, room: bool) -> Script:
    lua = files("mcp_actors") / "broker" / "redis" / "lua"
    text = (lua / f"{name}.lua").read_text(encoding="utf-8")
    if room:
        text = (lua / "common.lua").read_text(encoding="utf-8") + text
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


ATTACH = _load("attach", room=False)
BEAT = _load("beat", room=False)
BYE = _load("bye", room=False)
CONDEMN = _load("condemn", room=False)
RETIRE = _load("retire", room=False)
NOTE = _load("note", room=False)
TAKE = _load("take", room=False)
FORGET = _load("forget", room=False)
REAP_NODE = _load("reap_node", room=False)
JOIN = _load("join", room=True)
LEAVE = _load("leave", room=True)
CLAIM = _load("claim", room=True)
MARK = _load("mark", room=True)
KICK = _load("kick", room=True)
LOCK = _load("lock", room=True)
CLOSE = _load("close", room=True)
RESYNC = _load("resync", room=True)
EXPIRE = _load("expire", room=True)
REAP_ROOM = _load("reap_room", room=True)

OF_NODES = (ATTACH, BEAT, BYE, CONDEMN, RETIRE, REAP_NODE, REAP_ROOM)
OF_ROOMS = (JOIN, LEAVE, CLAIM, MARK, KICK, LOCK, CLOSE, RESYNC, EXPIRE)
OF_SESSIONS = (NOTE, TAKE, FORGET)
SCRIPTS = (*OF_NODES, *OF_ROOMS, *OF_SESSIONS)
