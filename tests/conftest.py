"""Fixtures for all tests, and checks that no test leaves tasks or actors behind or logs unexpected warnings."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import signal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import structlog
import uvloop
from hypothesis import HealthCheck, settings
from pykka import ActorRegistry
from tornado.ioloop import IOLoop

from bench.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.support.server import Server

TEST_DEADLINE = 120.0
"""Seconds after which a coroutine test fails."""

PREFIXES = count()

LONGEST = {"simulation", "test_install.py"}
"""Tests that are begun first, as single ones take a minute: no process is left alone with them in the end."""

TESTS = Path(__file__).parent
PLACES = {"alone": TESTS, "heavy": TESTS / "bench"}
"""Where tests with these marks are, so that `make test` collects no others to find them."""

CANCEL_DEADLINE = 30.0
"""Seconds for the tasks of a test that failed to end."""

TEARDOWN_TURNS = 20
"""Iterations of the loop after a test, in which cancelled tasks and stopped actors finish."""

pytest.register_assert_rewrite(
    "tests.broker.contract",
    "tests.broker.event_log_contract",
    "tests.adapters.http.contract",
    "tests.adapters.http.streamed_contract",
    "tests.connection.contract",
    "tests.support",
)

settings.register_profile(
    "tests",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")

structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.format_exc_info,
        structlog.processors.KeyValueRenderer(key_order=["event"], repr_native_str=False),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=False,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    text = (
        "event loop of the tests in this process: uvloop, as in production, or the one that serves where it is missing"
    )
    parser.addoption("--loop", choices=["uvloop", "asyncio"], default="uvloop", help=text)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.async_test_timeout is None:
        config.option.async_test_timeout = TEST_DEADLINE
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a background job; child processes inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every coroutine test its own loop, even if it does not name the `io_loop` fixture."""
    for item in items:
        _check_place(item)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            names = item.fixturenames
            if "io_loop" not in names:
                names.append("io_loop")
    if config.getoption("--loop") != "uvloop":
        _keep_those_with_a_loop(config, items)
    items.sort(key=lambda item: LONGEST.isdisjoint(item.path.parts))


def _check_place(item: pytest.Item) -> None:
    """Look for marks where `make test` does not. Raises `pytest.UsageError`."""
    for mark, place in PLACES.items():
        if item.get_closest_marker(mark) and item.path.parent != place:
            raise pytest.UsageError(f"{item.nodeid}: tests with the mark `{mark}` are run only in {place}")


def _keep_those_with_a_loop(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that use no event loop."""
    names = [getattr(item, "fixturenames", ()) for item in items]
    config.hook.pytest_deselected(
        items=[item for item, used in zip(items, names, strict=True) if "io_loop" not in used]
    )
    items[:] = [item for item, used in zip(items, names, strict=True) if "io_loop" in used]


def pytest_collection_finish() -> None:
    """Freeze imported objects, so that collecting garbage after each test is cheap."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Collect no garbage while a failure is formatted: a finalizer can make Python 3.11's `ast.parse` fail."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.fixture
def io_loop(pytestconfig: pytest.Config) -> Iterator[IOLoop]:
    """A new loop for each test."""
    made = uvloop.new_event_loop() if pytestconfig.getoption("--loop") == "uvloop" else asyncio.new_event_loop()
    loop = IOLoop(asyncio_loop=made, make_current=False)
    yield loop
    left = asyncio.all_tasks(made)
    if left:  # by a test that failed before it stopped its servers; uvloop would wait for their sockets for ever
        loop.run_sync(lambda: _cancel(left))
    else:
        loop.close(all_fds=True)


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CANCEL_DEADLINE)


@pytest.fixture
def server(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path) -> Iterator[Server]:
    """A server in the test's loop, with default settings or those of the markers `settings`."""
    from tests.support.server import Server  # noqa: PLC0415 - after its assertions are rewritten

    server = Server(tmp_path, **_settings(request))
    io_loop.run_sync(server.start)
    yield server
    io_loop.run_sync(server.stop)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The Redis that tests share: each has a prefix of its own, and a test that disturbs a server starts another."""
    with Engine() as started:
        yield started


@pytest.fixture
def prefix() -> str:
    """The prefix of the keys of one test."""
    return f"t{next(PREFIXES)}"


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def servers(request: pytest.FixtureRequest, io_loop: IOLoop, tmp_path: Path, prefix: str) -> Iterator[list[Server]]:
    """The servers of two members, with the settings of the markers `settings`; in one process they are the same."""
    from tests.support.server import Server  # noqa: PLC0415 - after its assertions are rewritten

    settings = _settings(request)
    if request.param == 2:
        settings |= {"redis_url": request.getfixturevalue("engine").url, "redis_prefix": prefix}
    started = [Server(tmp_path, **settings) for _ in range(request.param)]
    for server in started:
        io_loop.run_sync(server.start)
    yield [started[0], started[-1]]
    for server in started:
        io_loop.run_sync(server.stop)


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the settings that the module and the test ask for; those of the test have priority."""
    settings: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("settings"))):
        settings |= marker.kwargs
    return settings


class LogPattern(NamedTuple):
    """Matches records of a logger or its children whose message contains a text."""

    logger: str
    text: str

    def matches(self, record: logging.LogRecord) -> bool:
        """Whether a record matches."""
        named = record.name == self.logger or record.name.startswith(self.logger + ".")
        return named and self.text in record.getMessage()


OF_A_BUSY_MACHINE = (
    LogPattern("mcp_actors.redis", "it does not answer in time"),
    LogPattern("mcp_actors.redis", "the inbox is not being read"),
)
"""Records of links to Redis that are lost when a process stands still for longer than its lease; they come back."""


class ExpectedLogs(logging.Handler):
    """Collects warnings and errors and compares them with what a test expects.

    `expected_logs(logger, text)` requires at least one such record; `expected_logs.allow` only permits it.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self._required: list[LogPattern] = []
        self._allowed: list[LogPattern] = [*OF_A_BUSY_MACHINE]

    def __call__(self, logger: str, text: str = "") -> None:
        """Require a record."""
        self._required.append(LogPattern(logger, text))

    def allow(self, logger: str, text: str = "") -> None:
        """Permit a record."""
        self._allowed.append(LogPattern(logger, text))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)

    def problems(self) -> list[str]:
        """Unexpected records and missing ones, as text."""
        known = (*self._required, *self._allowed)
        unexpected = [
            f"logged unexpectedly: {record.levelname} {record.name}: {record.getMessage()}"
            for record in self.records
            if not any(pattern.matches(record) for pattern in known)
        ]
        missing = [
            f"not logged: {pattern.logger}: {pattern.text}"
            for pattern in self._required
            if not any(pattern.matches(record) for record in self.records)
        ]
        return unexpected + missing


@pytest.fixture
def expected_logs() -> Iterator[ExpectedLogs]:
    """Declare the records at WARNING or above that a test expects."""
    logs = ExpectedLogs()
    root = logging.getLogger()
    root.addHandler(logs)
    yield logs
    root.removeHandler(logs)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest, expected_logs: ExpectedLogs) -> Iterator[None]:
    loop: IOLoop | None = request.getfixturevalue("io_loop") if "io_loop" in request.fixturenames else None
    yield
    problems = [f"actor left behind: {ref}" for ref in ActorRegistry.get_all()]
    if loop is not None:
        problems += [f"task left behind: {task}" for task in loop.run_sync(_tasks_left)]
        gc.collect()  # futures whose exception was never retrieved log it when collected
    problems += expected_logs.problems()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


async def _tasks_left() -> list[asyncio.Task[object]]:
    for _ in range(TEARDOWN_TURNS):
        await asyncio.sleep(0)
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
