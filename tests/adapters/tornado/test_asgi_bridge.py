"""The contract of responses of applications, on Tornado."""

from __future__ import annotations

from tests.adapters.http.streamed_contract import StreamedContract


class TestTornado(StreamedContract):
    """From the server that the fixture `server` starts."""
