"""A connection has what sessions need of it."""

from __future__ import annotations

import pytest

from mcp_actors.connection.connection import Connection
from mcp_actors.connection.costs import Costs
from mcp_actors.sessions.ports import ClientConnection, ClientCosts


@pytest.mark.parametrize(("part", "port"), [(Connection, ClientConnection), (Costs, ClientCosts)])
def test_a_part_has_all_that_its_port_names(part: type, port: type) -> None:
    names = {name for name in vars(port) if not name.startswith("_")}
    assert names
    assert names <= set(dir(part))
