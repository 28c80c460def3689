"""The metrics of a measured server about where its messages came from."""

from __future__ import annotations

import http.client
import re
from contextlib import closing, suppress
from urllib.parse import urlsplit

TIMEOUT = 5.0

REMOTE = re.compile(r'^mcp_actors_messages_sent_total\{[^}]*type="remote"[^}]*\} (\S+)$', re.MULTILINE)
"""The count of relayed messages that came from another process, in the metrics of one process."""


def remote_messages(url: str) -> float | None:
    """Return how many relayed messages came from other processes since the start; None if the server does not count."""
    counts = REMOTE.findall(_metrics(url))
    return sum(map(float, counts)) if counts else None


def _metrics(url: str) -> str:
    parts = urlsplit(url)
    asked = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    with suppress(OSError, http.client.HTTPException), closing(asked):
        asked.request("GET", "/metrics")
        return asked.getresponse().read().decode(errors="replace")
    return ""
