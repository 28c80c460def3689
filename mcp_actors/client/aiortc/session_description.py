"""What a mesh reads from session descriptions, and writes into its own."""

from __future__ import annotations

import re
import secrets

HEARTBEAT_ID = 255
"""The stream of the heartbeat's channel."""

ANNOUNCEMENT = f"a=mcp-actors-heartbeat:{HEARTBEAT_ID}"
CANNOT_RESTART = " no-restart"
"""Said by a stack that cannot restart ICE, as aiortc."""

_ORIGIN = re.compile(r"^o=(\S+) (\d+) \d+", re.MULTILINE)
_TIME = re.compile(r"^t=[^\r\n]*", re.MULTILINE)
_ANNOUNCEMENT = re.compile(rf"^{ANNOUNCEMENT}( \S+)?\s*$", re.MULTILINE)
_DATA = re.compile(r"^m=application [1-9]", re.MULTILINE)
_CANDIDATE = re.compile(r"candidate:.* typ (\w+)")


def new_session() -> int:
    """A session id. Those of aiortc are the time in seconds, and the same for two connections within one."""
    return secrets.randbits(62)


def described(sdp: str, session: int, *, with_heartbeat: bool) -> str:
    """A description of aiortc as it is sent: with this session id, and the line that announces the heartbeat."""
    sdp = _ORIGIN.sub(rf"o=\1 {session} 1", sdp, count=1)
    return _TIME.sub(rf"\g<0>\r\n{ANNOUNCEMENT}{CANNOT_RESTART}", sdp, count=1) if with_heartbeat else sdp


def session_of(sdp: str) -> str | None:
    """The session id of a description: it changes with the connection."""
    found = _ORIGIN.search(sdp)
    return found[2] if found else None


def announces_heartbeat(sdp: str) -> bool:
    """Whether the other side hears and sends the heartbeat."""
    return _ANNOUNCEMENT.search(sdp) is not None


def has_data_channels(sdp: str) -> bool:
    """Whether there is a section for data channels."""
    return _DATA.search(sdp) is not None


def candidate_types(text: str) -> set[str]:
    """The types of the candidates in a description, or of one candidate: "host", "srflx", "prflx" and "relay"."""
    return set(_CANDIDATE.findall(text))
