"""Readiness, without a server."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.http.readiness import Readiness
from mcp_actors.connection.connections import Connections
from tests.connection.test_connections import FakeConnection


class Broker:
    """A broker that is ready or not."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready


@pytest.mark.parametrize(("ready", "problem"), [(True, None), (False, "redis unavailable")])
def test_readiness_is_that_of_the_broker(ready: bool, problem: str | None) -> None:
    assert Readiness(Broker(ready=ready), Connections(1, 0)).problem == problem


def test_a_process_that_cannot_verify_tokens_takes_no_joins() -> None:
    assert Readiness(Broker(), Connections(1, 0), lambda: False).problem == "signing keys unavailable"


def test_a_process_that_drains_takes_no_joins() -> None:
    connections = Connections(1, 0)
    readiness = Readiness(Broker(ready=False), connections)
    connections.stop_accepting()
    assert readiness.problem == "draining"


def test_a_process_that_is_about_to_drain_says_so() -> None:
    connections = Connections(1, 0)
    readiness = Readiness(Broker(), connections)
    readiness.stopping = True
    assert (readiness.problem, connections.refusal) == ("draining", None)


async def test_a_process_with_as_many_connections_as_it_may_have_takes_no_joins() -> None:
    connections = Connections(1, 0)
    readiness = Readiness(Broker(), connections)
    one = FakeConnection(connections)
    assert readiness.problem == "too many connections"
    connections.remove(one)
    assert readiness.problem is None
