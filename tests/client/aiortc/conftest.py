"""A machine whose only network is the loopback, and pairs whose media goes over a path that tests break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aioice.ice
import pytest

from tests.web.call.signaling_proxy import SignalingProxy
from tests.web.call.udp_path import UdpPath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Aioice leaves the loopback out on its own."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda *_args, **_kwargs: ["127.0.0.1"])


@pytest.fixture(autouse=True)
def _closing(expected_logs: ExpectedLogs) -> None:
    """A task of aiortc that sends while its connection is closed fails, and nobody asks it why."""
    expected_logs.allow("asyncio", "RTCSctpTransport._transmit()")


@pytest.fixture
def media() -> Iterator[UdpPath]:
    with UdpPath() as running:
        yield running


@pytest.fixture
def proxy(server: Server, media: UdpPath) -> Iterator[SignalingProxy]:
    """Where clients connect for their media to go over the path."""
    with SignalingProxy(media, server.port) as running:
        yield running
