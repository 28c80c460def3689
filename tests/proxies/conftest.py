"""Fixtures for tests of proxies: the nodes behind them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from bench.engine import Engine
from tests.support.server import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with Engine() as engine:
        yield engine.url


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test starts, last first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_nodes(stack: ExitStack, tmp_path: Path) -> Callable[..., list[Process]]:
    """Start nodes, each as a process of its own."""

    def start(count: int, host: str = "127.0.0.1", **environ: str) -> list[Process]:
        arguments = ("--host", host, "--port", "0")
        environ = {"MCP_ACTORS_LOG_LEVEL": "debug", "MCP_ACTORS_ALLOWED_HOSTS": "127.0.0.1"} | environ
        nodes = [stack.enter_context(Process(tmp_path, *arguments, **environ)) for _ in range(count)]
        return [node.wait_until_serving() for node in nodes]

    return start
