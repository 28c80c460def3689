from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.engine import Engine, Flavor, engines
from tests.broker.redis.buckets import BucketHarness, make_bucket
from tests.broker.redis.lua import Store
from tests.broker.redis.rooms import RoomHarness, make_room
from tests.support.brokers import BrokerNode, StartNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.ioloop import IOLoop


@pytest.fixture(scope="session", params=engines())
def either(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """The shared server, and one of each other kind that is installed."""
    flavor: Flavor = request.param
    if flavor == engine.flavor:
        yield engine
        return
    with Engine(flavor) as started:
        yield started


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """The data of the shared server, empty at first."""
    with Store(engine) as opened:
        yield opened


@pytest.fixture
def any_store(either: Engine) -> Iterator[Store]:
    """The data of each kind of server, empty at first."""
    with Store(either) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_store(engine: Engine) -> Iterator[Store]:
    """The data of the shared server, for tests that empty it before each example."""
    with Store(engine) as opened:
        yield opened


@pytest.fixture
def node_settings(engine: Engine, prefix: str) -> dict[str, Any]:
    """How nodes of this module start: on the shared server, with keys of their own in three buckets."""
    return {"url": engine.url, "prefix": prefix, "buckets": 3}


@pytest.fixture
def nodes(node_settings: dict[str, Any], io_loop: IOLoop) -> Iterator[StartNode]:
    """Starts nodes with the settings of the module and those given; they stop after the test."""
    started: list[BrokerNode] = []

    async def start(name: str, **how: Any) -> BrokerNode:
        node = BrokerNode(node=name, **node_settings | how)
        await node.start()
        started.append(node)
        return node

    yield start
    for node in started:
        io_loop.run_sync(node.stop)


@pytest.fixture
def room() -> RoomHarness:
    """A room of node A with ana, and ben of another node, at version 10."""
    return make_room()


@pytest.fixture
def home() -> BucketHarness:
    """A bucket of node A with ana, and ben and una of another node."""
    bucket = make_bucket()
    bucket.news()
    return bucket
