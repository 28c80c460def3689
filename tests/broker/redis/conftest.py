from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine, Flavor, engines
from tests.broker.redis.buckets import BucketHarness, make_bucket
from tests.broker.redis.lua import Store
from tests.broker.redis.rooms import RoomHarness, make_room

if TYPE_CHECKING:
    from collections.abc import Iterator


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
def room() -> RoomHarness:
    """A room of node A with ana, and ben of another node, at version 10."""
    return make_room()


@pytest.fixture
def home() -> BucketHarness:
    """A bucket of node A with ana, and ben and una of another node."""
    bucket = make_bucket()
    bucket.news()
    return bucket
