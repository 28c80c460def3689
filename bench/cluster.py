"""Several processes of the server on one engine: nodes to be killed, frozen and started again."""

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
    from collections.abc import Callable, Mapping
    from types import TracebackType

    Command = Callable[[int], list[str]]
    Hear = Callable[[int, str], None]

LEASE = 2.0
READY_PATIENCE = 30.0
STOP_PATIENCE = 15.0
PAUSE = 0.05


class ClusterError(Exception):
    """Nodes that do not become ready; `str(error)` says which, and what they said."""


def serve(port: int) -> list[str]:
    """How a node of ours is started."""
    return [sys.executable, "-m", "mcp_actors", "serve", "--host", "127.0.0.1", "--port", str(port)]


class Node:
    """One process of the server. `hear` is called with its port and each line of its log, by a thread."""

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
        """Of the process, which may have ended."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether there is a process, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"ws://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it is not ready yet."""
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
            process_group=0,  # Ctrl-C is for us alone; nodes are stopped before their engine
        )
        self._guard = Guard(self._process.pid)
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._unguard()

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL if that does not help; the exit status, or None if there was no process."""
        if self._process is None:
            return None
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._unguard()
        return self._process.returncode

    def ready(self) -> bool:
        """Whether /readyz answers 200."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            asked.request("GET", "/readyz")
            return asked.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()

    def wait_until_ready(self) -> None:
        """Raises `ClusterError`."""
        deadline = time.monotonic() + READY_PATIENCE
        while not self.ready():
            if not self.running:
                raise ClusterError(f"the node on port {self.port} ended: {self.said()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"the node on port {self.port} was not ready within {READY_PATIENCE:.0f} s")
            time.sleep(PAUSE)

    def said(self) -> str:
        """The end of its log."""
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
    """So many nodes on consecutive ports, on the engine at `url`; a context. `settings` are of their environment."""

    def __init__(
        self,
        processes: int,
        url: str,
        *,
        lease: float = LEASE,
        port: int = 0,
        command: Command = serve,
        settings: Mapping[str, str] | None = None,
        hear: Hear = lambda _port, _line: None,
    ) -> None:
        first = port or free_ports(processes)
        self._directory = tempfile.TemporaryDirectory(prefix="cluster-")
        own = {"REDIS_URL": url, "MCP_ACTORS_SECRET_KEY": secrets.token_hex(32), "PYTHONPATH": str(ROOT)}
        own |= {"MCP_ACTORS_NODE_LEASE": f"{lease:g}"}
        own |= {"MCP_ACTORS_DRAIN_SECONDS": "0"} | dict(settings or {})  # all are stopped: there is nowhere else to go
        environment = _inherited() | own
        ports = range(first, first + processes)
        self.nodes = [Node(port, command, environment, self._directory.name, hear) for port in ports]

    def start(self) -> None:
        """Start all, and wait until they are ready. Raises `ClusterError`."""
        taken = [node.port for node in self.nodes if not is_free(node.port)]
        if taken:
            raise ClusterError(f"port {taken[0]} is taken; choose others with --port")
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()

    def stop(self) -> list[int | None]:
        """Stop all, one after the other as a deployment does; their exit statuses."""
        return [node.stop() for node in self.nodes]

    def close(self) -> None:
        """Leave nothing behind."""
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
