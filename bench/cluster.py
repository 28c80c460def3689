"""Several nodes of the server that share a Redis server; they can be killed, frozen and restarted."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from bench.contender import FOREIGN, ROOT
from bench.guard import Guard
from bench.ports import free_ports, is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    Command = Callable[[int], list[str]]
    Hear = Callable[[int, str], None]

LEASE = 2.0
READY_TIMEOUT = 90.0
STOP_TIMEOUT = 15.0
PAUSE = 0.05


class ClusterError(Exception):
    """A node did not become ready; `str(error)` says which one, with the end of its log."""


def serve(port: int) -> list[str]:
    """Return the command line that starts a node."""
    return [sys.executable, "-m", "mcp_actors", "serve", "--host", "127.0.0.1", "--port", str(port)]


class Node:
    """A process of the server. `hear` is called by a thread with the port and each line of the log."""

    def __init__(self, port: int, command: Command, environment: Mapping[str, str], directory: str, hear: Hear) -> None:
        self.port = port
        self.lines: list[str] = []
        self._command = command
        self._environment = environment
        self._directory = directory
        self._hear = hear
        self._process: subprocess.Popen[str] | None = None
        self._guard: Guard | None = None

    @property
    def pid(self) -> int:
        """The pid of the process, which may have ended."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process without waiting until it is ready."""
        self._unguard()  # it may have ended by itself
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            self._command(self.port),
            cwd=self._directory,
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # Ctrl-C must not reach the nodes, which are stopped before Redis
        )
        self._guard = Guard(self._process.pid)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._unguard()

    def freeze(self) -> None:
        """Stop it with SIGSTOP; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def unfreeze(self) -> None:
        """Continue it with SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """Stop it with SIGTERM, or else SIGKILL. Return the exit status, or None if there was no process."""
        if self._process is None:
            return None
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
        self._unguard()
        return self._process.returncode

    def ready(self) -> bool:
        """Return whether /readyz answers 200."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            asked.request("GET", "/readyz")
            return asked.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()

    def wait_until_ready(self) -> None:
        """Wait until it is ready. Raises `ClusterError`."""
        deadline = time.monotonic() + READY_TIMEOUT
        while not self.ready():
            if not self.running:
                raise ClusterError(f"the node on port {self.port} ended: {self.said()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"the node on port {self.port} was not ready within {READY_TIMEOUT:.0f} s")
            time.sleep(PAUSE)

    def said(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.lines[-20:])

    def _unguard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.release()

    def _signal(self, number: signal.Signals) -> None:
        if self.running and self._process is not None:
            self._process.send_signal(number)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        with process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())
                self._hear(self.port, line.rstrip())


class Cluster:
    """Nodes on consecutive ports that share a Redis server; a context.

    `urls`: the URL of the server, one for all nodes or one for each. `settings`: environment variables.
    """

    def __init__(
        self,
        processes: int,
        urls: str | Sequence[str],
        *,
        lease: float = LEASE,
        port: int = 0,
        command: Command = serve,
        settings: Mapping[str, str] | None = None,
        hear: Hear = lambda _port, _line: None,
    ) -> None:
        first = port or free_ports(processes)
        self._directory = tempfile.TemporaryDirectory(prefix="cluster-")
        own = {"MCP_ACTORS_SECRET_KEY": secrets.token_hex(32), "PYTHONPATH": str(ROOT)}
        own |= {"MCP_ACTORS_NODE_LEASE": f"{lease:g}"}
        own |= {"MCP_ACTORS_DRAIN_SECONDS": "0"} | dict(settings or {})
        environment = _inherited() | own
        each = [urls] * processes if isinstance(urls, str) else urls
        self.nodes = [
            Node(port, command, environment | {"REDIS_URL": url}, self._directory.name, hear)
            for port, url in zip(range(first, first + processes), each, strict=True)
        ]

    def start(self) -> None:
        """Start all nodes and wait until they are ready. Raises `ClusterError`."""
        taken = [node.port for node in self.nodes if not is_free(node.port)]
        if taken:
            raise ClusterError(f"port {taken[0]} is taken; choose others with --port")
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()

    def stop(self) -> list[int | None]:
        """Stop all nodes, one after the other as in a deployment. Return their exit statuses."""
        return [node.stop() for node in self.nodes]

    def close(self) -> None:
        """Kill all nodes and remove temporary files."""
        with ExitStack() as stack:
            stack.callback(self._directory.cleanup)
            for node in self.nodes:
                stack.callback(node.kill)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def _inherited() -> dict[str, Any]:
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
