"""Servers for clients and suites of others, and the Node that runs these."""

from __future__ import annotations

import pytest

from tests.adapters.mcp.conftest import door
from tests.support import mcp_clients

__all__ = ["door"]


@pytest.fixture(scope="session")
def node() -> str:
    """The program of Node 22, with the packages of tests/support/mcp_clients installed."""
    return mcp_clients.node()
