"""Peers of a probe on a server of the test, whose only network is the loopback."""

from __future__ import annotations

import aioice.ice
import pytest


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose only network is the loopback, which aioice leaves out on its own."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: ["127.0.0.1"])
