"""A contender: a server to measure, and how to start it on a free port and stop it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dotenv import dotenv_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from bench.engine import Engine

ROOT = Path(__file__).parent.parent
SETTINGS = Path("settings", "bench.env")
FOREIGN = ("MCP_ACTORS_", "DJANGO_", "REDIS_", "CORS_", "ALLOWED_", "PORT")
"""Prefixes of environment variables that would change the measured servers; they are not passed on."""

START_TIMEOUT = 60.0
STOP_TIMEOUT = 5.0
MOST_OUTPUT = 2**24


class ContenderError(Exception):
    """A server failed to start; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that takes part in a comparison.

    `command`: returns the command line that starts it on a given port. `missing`: returns why it cannot run here, or
    None. `dialect`: the protocol its signaling clients speak; `users`: that of its broadcasting clients, or None if it
    has no broadcast. `environment`: variables added to those of this process. `tree`: the checkout on its PYTHONPATH.
    """

    name: str
    about: str
    command: Callable[[int], list[str]]
    missing: Callable[[], str | None] = lambda: None
    dialect: str = "peers"
    users: str | None = "users"
    environment: Mapping[str, str] = field(default_factory=dict)
    tree: Path = ROOT

    def serve(self) -> Server:
        """Return its server, which starts on entering the context."""
        return Server(self)

    def with_environment(self, variables: Mapping[str, str]) -> Self:
        """Return the same contender with more environment variables; they win over those it has."""
        return replace(self, environment={**self.environment, **variables})


def ours(name: str = "mcp_actors", about: str = "this server", tree: Path = ROOT) -> Contender:
    """Return mcp_actors as a contender, from this checkout or another one.

    It is configured by environment variables alone, host and port included, as another checkout may have another
    command line.
    """
    return Contender(name, about, _serve, environment=bench_settings(tree), tree=tree)


def bench_settings(tree: Path) -> dict[str, str]:
    """Read `settings/bench.env` of a checkout, or of this one if it has none."""
    path = tree / SETTINGS
    values = dotenv_values(path if path.exists() else ROOT / SETTINGS, interpolate=False)
    return {name: value or "" for name, value in values.items()}


def _serve(_port: int) -> list[str]:
    return [sys.executable, "-m", "mcp_actors", "serve"]


class Server:
    """A running contender: it starts on entering the context and stops on leaving it."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.port = _free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[bytes]

    @property
    def nodes(self) -> Sequence[Server]:
        """The server's processes, this one first."""
        return (self,)

    @property
    def engine(self) -> Engine | None:
        """The Redis-protocol server that the processes share, or None."""
        return None

    @property
    def pid(self) -> int:
        """The process that was started; it may have children."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The base URL for WebSocket connections."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def printed(self) -> int:
        """The number of bytes it has printed."""
        return os.fstat(self._output.fileno()).st_size

    def output(self) -> str:
        """Return everything it has printed."""
        return os.pread(self._output.fileno(), MOST_OUTPUT, 0).decode(errors="replace")

    def said(self) -> str:
        """Return the end of its output."""
        return self.output().strip()[-2000:]

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start the process, after `kill` on the same port, and wait until it listens. Raises `ContenderError`."""
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            self.contender.command(self.port),
            cwd=self._directory.name,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_listening()
        except BaseException:
            self._stop()
            raise

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        place = {"MCP_ACTORS_HOST": "127.0.0.1", "MCP_ACTORS_PORT": str(self.port)}
        return inherited | {"PYTHONPATH": str(self.contender.tree)} | place | dict(self.contender.environment)

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ContenderError(f"{self.contender.name} ended instead of starting: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise ContenderError(f"{self.contender.name} did not listen within {START_TIMEOUT:.0f} s: {self.said()}")

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()  # does nothing if it was killed
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._directory.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: Any = probe.getsockname()[1]
        return int(port)
