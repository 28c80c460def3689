"""The contract of HTTP on Tornado."""

from __future__ import annotations

from tests.adapters.http.contract import HttpContract


class TestTornado(HttpContract):
    """HTTP over real sockets, from the server that the fixture `server` starts."""
