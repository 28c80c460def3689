"""A server that is measured: what it is, started on a free port and stopped again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from bench.engine import Engine

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "settings" / "bench.env"
FOREIGN = ("MCP_ACTORS_", "DJANGO_", "REDIS_", "CORS_", "ALLOWED_", "PORT")
"""Variables of the environment that would change what is measured."""

START_PATIENCE = 20.0
STOP_PATIENCE = 5.0
MOST_OUTPUT = 2**24
"""Bytes."""


class ContenderError(Exception):
    """A server that does not start; `str(error)` says why."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One server of the comparison.

    `command`: how to start it on the port it is given. `missing`: why it cannot run here, or None. `dialect`: what is
    spoken to it by peers; `users`: by users, or None where it has no broadcast. `environment`: variables it is started
    with, beside those of this process.
    """

    name: str
    about: str
    command: Callable[[int], list[str]]
    missing: Callable[[], str | None] = lambda: None
    dialect: str = "peers"
    users: str | None = "users"
    environment: Mapping[str, str] = field(default_factory=dict)

    def serve(self) -> Server:
        """Start it; use it as a context."""
        return Server(self)


def ours() -> Contender:
    """mcp_actors itself."""

    def command(port: int) -> list[str]:
        served = ["-m", "mcp_actors", "serve", "--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, *served, "--settings", str(SETTINGS)]

    return Contender("mcp_actors", "this server, as `mcp-actors serve` starts it", command)


class Server:
    """A contender that runs: started on entering the context, stopped on leaving it."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.port = _free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[bytes]

    @property
    def nodes(self) -> Sequence[Server]:
        """All processes that together are the server, this one first."""
        return (self,)

    @property
    def engine(self) -> Engine | None:
        """The Redis-protocol server that they share."""
        return None

    @property
    def pid(self) -> int:
        """The process started; it may have children."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"ws://127.0.0.1:{self.port}"

    def output(self) -> str:
        """All that it printed."""
        return os.pread(self._output.fileno(), MOST_OUTPUT, 0).decode(errors="replace")

    def said(self) -> str:
        """The end of what it printed."""
        return self.output().strip()[-2000:]

    def __enter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            self.contender.command(self.port),
            cwd=self._directory.name,
            env=inherited | {"PYTHONPATH": str(ROOT)} | dict(self.contender.environment),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        try:
            self._wait_until_listening()
        except BaseException:
            self._stop()
            raise
        return self

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ContenderError(f"{self.contender.name} ended instead of starting: {self.said()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise ContenderError(f"{self.contender.name} did not listen within {START_PATIENCE:.0f} s: {self.said()}")

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE)
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
