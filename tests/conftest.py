"""What every test runs on, and what no test may leave behind: tasks, actors, unexpected warnings."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import signal
from typing import TYPE_CHECKING, NamedTuple

import pytest
import structlog
import uvloop
from hypothesis import HealthCheck, settings
from pykka import ActorRegistry
from tornado.ioloop import IOLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

TEST_DEADLINE = 30.0
"""Seconds a coroutine test may take before it fails."""

PARTING_TURNS = 20
"""Turns the loop gets after a test, in which what was cancelled or told to stop does so."""

pytest.register_assert_rewrite("tests.broker.contract", "tests.support")

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
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; what tests start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give every coroutine test a loop of its own, whether it names `io_loop` or not."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            names = item.fixturenames
            if "io_loop" not in names:
                names.append("io_loop")
    if config.getoption("--loop") != "uvloop":
        _keep_those_with_a_loop(config, items)


def _keep_those_with_a_loop(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what runs in the same way whichever loop was asked for."""
    names = [getattr(item, "fixturenames", ()) for item in items]
    config.hook.pytest_deselected(
        items=[item for item, used in zip(items, names, strict=True) if "io_loop" not in used]
    )
    items[:] = [item for item, used in zip(items, names, strict=True) if "io_loop" in used]


def pytest_collection_finish() -> None:
    """Take what was imported out of the garbage collector's sight: collecting after each test is cheap then."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def io_loop(pytestconfig: pytest.Config) -> Iterator[IOLoop]:
    """A fresh loop for each test."""
    made = uvloop.new_event_loop() if pytestconfig.getoption("--loop") == "uvloop" else asyncio.new_event_loop()
    loop = IOLoop(asyncio_loop=made, make_current=False)
    yield loop
    loop.close(all_fds=True)


# ---------------------------------------------------------------------------------------------------------------- leaks


class LogPattern(NamedTuple):
    """Log records of one logger or its children, with a text in their message."""

    logger: str
    text: str

    def matches(self, record: logging.LogRecord) -> bool:
        """Whether the record is meant."""
        named = record.name == self.logger or record.name.startswith(self.logger + ".")
        return named and self.text in record.getMessage()


class ExpectedLogs(logging.Handler):
    """The warnings and errors that were logged, and which of them a test expects.

    `expected_logs(logger, text)`: such a record must be logged, once or more. `expected_logs.allow`: it may be.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self._required: list[LogPattern] = []
        self._allowed: list[LogPattern] = []

    def __call__(self, logger: str, text: str = "") -> None:
        """Require such a record."""
        self._required.append(LogPattern(logger, text))

    def allow(self, logger: str, text: str = "") -> None:
        """Allow such a record."""
        self._allowed.append(LogPattern(logger, text))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)

    def problems(self) -> list[str]:
        """What was logged and not expected, and what was expected and not logged."""
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
    """Say what a test expects to be logged at WARNING or above."""
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
        gc.collect()  # a future whose exception nobody took says so only now
    problems += expected_logs.problems()
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


async def _tasks_left() -> list[asyncio.Task[object]]:
    for _ in range(PARTING_TURNS):
        await asyncio.sleep(0)
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
