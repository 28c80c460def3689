from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine, Flavor, engines
from tests.broker.redis.lua import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The one server that these tests share; a test that disturbs a server starts its own."""
    with Engine() as started:
        yield started


@pytest.fixture(scope="session", params=engines())
def either(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """The shared server, and one of each other kind there is here."""
    flavor: Flavor = request.param
    if flavor == engine.flavor:
        yield engine
        return
    with Engine(flavor) as started:
        yield started


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """What lies in the shared server: nothing, at first."""
    with Store(engine) as opened:
        yield opened


@pytest.fixture
def any_store(either: Engine) -> Iterator[Store]:
    """The same, on each kind of server."""
    with Store(either) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_store(engine: Engine) -> Iterator[Store]:
    """For tests that empty it themselves, before each of their examples."""
    with Store(engine) as opened:
        yield opened
