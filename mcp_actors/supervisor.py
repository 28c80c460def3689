"""Several worker processes on one port: a parent process starts them, restarts them and stops them; it serves nothing.

Workers are forked before there is an event loop or a thread, so all have the same settings and run the same code, even
one that is restarted weeks later. A pipe connects the parent with each worker. Through it a worker reports that it
serves, or why it cannot, and again and again that its event loop turns: a worker that is silent for too long is killed
and started again. End of file means that it died. To a worker, a message or the end of file means that it must
stop: the parent said so, or died. So no worker outlives its parent by more than its drain, and a signal that reaches
workers and parent alike, as Ctrl-C and service managers send it, does not count twice.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from mcp_actors.app import StartError
from mcp_actors.background import BackgroundTasks
from mcp_actors.listening import listen, reserve
from mcp_actors.loopback import UNIX
from mcp_actors.metrics.siblings import Siblings
from mcp_actors.parent import Alive, Failed, Parent, Serving
from mcp_actors.room_affinity import RoomAffinity
from mcp_actors.server import SIGNALS, Server, Terminal, tune_gc
from mcp_actors.socket_passing import SocketPassing
from mcp_actors.systemd import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

    from mcp_actors.adapters.tornado.http_server import ListeningSocket
    from mcp_actors.reloading import Reloading
    from mcp_actors.settings import ServerSettings, Settings

log = structlog.get_logger("mcp_actors")

MIN_DELAY, MAX_DELAY = 0.1, 10.0
"""Seconds before a worker that died is restarted; each death doubles them."""

STEADY = 10.0
"""Seconds of service after which a death counts as the first one again."""

STOP_TIMEOUT = 10.0
"""Seconds that workers have to stop when another cannot start, in addition to their
shutdown delay and drain."""

CHECKS = 5
"""Checks for a report per worker time-out: a worker that was silent between so many in a row hangs. They are counted
rather than timed, so that no worker is killed when a machine continues that was suspended."""

FAILURE, KILLED = 1, 128
"""Exit statuses: of a worker that cannot start; of a process ended by a signal, whose number is added."""

_fork = multiprocessing.get_context("fork")


@dataclass(slots=True)
class _Worker:
    number: int
    process: ForkProcess | None = None
    pipe: Connection | None = None
    served_since: float | None = None
    silent_checks: int | None = None
    failure: str = ""
    delay: float = 0.0
    start_at: float | None = 0.0


class Supervisor:
    """Keeps `count` workers running `task`, which gets its parent and returns an exit status.

    `announce` gets the greeting of a worker once all serve; `complain` gets the reason why a worker could not start.
    Workers close the parent's `private` sockets. If one cannot start, the others have `stop_timeout` seconds to stop. A
    worker is killed if it has begun to report and then is silent for `worker_timeout` seconds; 0 turns that off. The
    `manager` is told once all serve, when they reload or stop, and that the supervisor itself is alive. `reload` is
    called in the parent after SIGHUP was passed on to the workers.
    """

    def __init__(
        self,
        count: int,
        task: Callable[[Parent], int],
        *,
        announce: Callable[[str], None],
        complain: Callable[[str], None],
        private: Iterable[socket.socket] = (),
        stop_timeout: float = STOP_TIMEOUT,
        worker_timeout: float = 0.0,
        manager: ServiceManager | None = None,
        reload: Callable[[], None] = lambda: None,
    ) -> None:
        self._workers = [_Worker(number) for number in range(1, count + 1)]
        self._task = task
        self._announce = announce
        self._complain = complain
        self._private = tuple(private)
        self._stop_timeout = stop_timeout
        self._worker_timeout = worker_timeout
        self._reload = reload
        self._check_at = time.monotonic() + worker_timeout / CHECKS if worker_timeout else None
        self._manager = manager or ServiceManager()
        self._alive_at = time.monotonic() if self._manager.interval else None
        self._terminal = Terminal()
        self._announced = False
        self._stopping = False
        self._kill_at: float | None = None
        self._status = 0
        self._signals, self._wakeup = socket.socketpair()

    def run(self) -> int:
        """Run the workers until SIGINT or SIGTERM; return the exit status.

        It is 0 after a signal, 128 plus its number after a second one, which kills the workers, or that of a worker
        that could not start before all served.
        """
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        signal.set_wakeup_fd(self._wakeup.fileno())
        former = {number: signal.signal(number, lambda *_: None) for number in (*SIGNALS, signal.SIGHUP)}
        try:
            while not self._stopping or any(worker.pipe for worker in self._workers):
                self._run_once()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in former.items():
                signal.signal(number, handler)
            self._signals.close()
            self._wakeup.close()
        return self._status

    def _run_once(self) -> None:
        for worker in self._workers:
            if not self._stopping and worker.start_at is not None and worker.start_at <= time.monotonic():
                self._start(worker)
        pipes = {worker.pipe: worker for worker in self._workers if worker.pipe is not None}
        ready = wait([self._signals, *pipes], self._timeout())
        if self._signals in ready:
            self._handle_signals(self._signals.recv(64))
        for pipe in pipes.keys() & set(ready):
            self._receive(pipes[pipe], pipe)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill()
        if self._check_at is not None and time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + self._worker_timeout / CHECKS
            for worker in self._workers:
                self._check(worker)
        if self._alive_at is not None and time.monotonic() >= self._alive_at:
            self._alive_at = time.monotonic() + self._manager.interval
            self._manager.alive()

    def _check(self, worker: _Worker) -> None:
        """Kill a worker that hangs; its death is handled like any other."""
        if worker.silent_checks is None or worker.pipe is None or worker.process is None:
            return
        worker.silent_checks += 1
        if worker.silent_checks > CHECKS:
            log.warning("worker hangs, killing it", process=worker.number, silent_seconds=self._worker_timeout)
            worker.silent_checks = None
            worker.process.kill()

    def _timeout(self) -> float | None:
        times = [worker.start_at for worker in self._workers if worker.start_at is not None and not self._stopping]
        times += [when for when in (self._kill_at, self._check_at, self._alive_at) if when is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _start(self, worker: _Worker) -> None:
        ours, theirs = _fork.Pipe()
        worker.start_at, worker.served_since, worker.silent_checks, worker.failure = None, None, None, ""
        worker.process = _fork.Process(target=self._be_worker, args=(worker.number, theirs, ours))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the worker has its own handlers
        try:
            worker.process.start()
            worker.pipe = ours
        except OSError as error:
            ours.close()
            worker.failure = f"Cannot start a process: {error.strerror}."
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        if worker.pipe is None:
            self._handle_death(worker, FAILURE)

    def _be_worker(self, number: int, own_end: Connection, parents_end: Connection) -> None:
        """Run the task in the worker process, and exit with its status."""
        parent, status = Parent(own_end, number), FAILURE
        try:
            signal.set_wakeup_fd(-1)
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the server handles it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            for private in (self._signals, self._wakeup, *self._private):
                private.close()
            for pipe in (parents_end, *(worker.pipe for worker in self._workers if worker.pipe is not None)):
                pipe.close()
            structlog.contextvars.bind_contextvars(process=number)
            status = self._task(parent)
        except BaseException:
            parent.tell(Failed(traceback.format_exc().rstrip()))
        raise SystemExit(status)

    def _receive(self, worker: _Worker, pipe: Connection) -> None:
        try:
            report = pipe.recv()
        except (EOFError, OSError):
            pipe.close()
            worker.pipe = None
            if worker.process is not None:
                worker.process.join()
                self._handle_death(worker, worker.process.exitcode or 0)
            return
        worker.silent_checks = 0
        if isinstance(report, Alive):
            return
        if isinstance(report, Failed):
            worker.failure = report.why
            return
        worker.served_since = time.monotonic()
        if not self._announced and all(each.served_since is not None for each in self._workers):
            self._announced = True
            self._announce(report.greeting)
            self._manager.ready()

    def _handle_death(self, worker: _Worker, code: int) -> None:
        """Restart a worker, or stop if it never served. `code`: its exit status, or a negative signal number."""
        if self._stopping:
            return
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if not self._announced and worker.served_since is None:
            self._status = KILLED - code if code < 0 else code or FAILURE
            self._complain(worker.failure or f"Worker process {worker.number} died before it served: {how}.")
            self._stop()
            self._kill_at = time.monotonic() + self._stop_timeout
            return
        now = time.monotonic()
        worker.delay = restart_delay(worker.delay, now - (worker.served_since or now))
        worker.start_at = now + worker.delay
        reason = {"reason": worker.failure} if worker.failure else {}
        log.warning("worker died, restarting it", process=worker.number, how=how, delay=worker.delay, **reason)

    def _handle_signals(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number == signal.SIGHUP and not self._terminal.is_closed:
                self._forward(number)
                self._reload()
            elif not self._stopping:
                self._stop()
            else:
                self._status = KILLED + number
                self._kill()

    def _forward(self, number: int) -> None:
        self._manager.reloading()
        for worker in self._workers:
            if worker.pipe is not None and worker.process is not None and worker.process.pid is not None:
                os.kill(worker.process.pid, number)  # it is not reaped yet, so the pid is its own
        self._manager.ready()

    def _stop(self) -> None:
        self._stopping = True
        self._manager.stopping()
        for worker in self._workers:
            if worker.pipe is not None:
                with suppress(OSError):  # it has just died
                    worker.pipe.send("stop")

    def _kill(self) -> None:
        self._kill_at = None
        for worker in self._workers:
            if worker.pipe is not None and worker.process is not None:
                worker.process.kill()


def restart_delay(last: float, served: float) -> float:
    """Return how long to wait before a restart, after the previous delay and `served` seconds of service."""
    if not last or served >= STEADY:
        return MIN_DELAY
    return min(2 * last, MAX_DELAY)


def serve(
    settings: Settings,
    run_loop: Callable[[Coroutine[object, object, None]], None],
    *,
    announce: Callable[[str], None],
    complain: Callable[[str], None],
    sockets: Sequence[ListeningSocket] = (),
    manager: ServiceManager | None = None,
    reloading: Reloading | None = None,
) -> int:
    """Serve with several workers until SIGINT or SIGTERM; return the exit status. Raises `StartError`.

    They accept connections from the given sockets; without, from one Unix socket, or each from its own on one port.
    """
    server, reserved, directory = settings.server, [], _directory()
    has_affinity = server.room_affinity and not settings.http.tls_cert_file  # a handshake of TLS shows no room
    if server.admin_port:
        reserved += reserve(server.admin_host, server.admin_port, admin=True)[1]
    shared = list(sockets) or _shared(server)
    if not shared:
        port, holders = reserve(server.host, server.port)
        server, reserved = replace(server, port=port), reserved + holders

    def task(parent: Parent) -> int:
        number, count = parent.number, server.processes
        others = Siblings(directory.name, number, count)
        affinity = RoomAffinity(SocketPassing(directory.name, number), number, count) if has_affinity else None
        try:
            worker = Server(
                replace(settings, server=server), shared, reloading=reloading, siblings=others, affinity=affinity
            )
            run_loop(_serve_one(worker, parent, server.worker_timeout / CHECKS))
        except StartError as error:
            parent.tell(Failed(str(error)))
            return FAILURE
        return 0

    def greet(greeting: str) -> None:
        place = "socket" if shared else "port"
        announce(f"{greeting}\n  processes   {server.processes} on this {place}; a room spans them all")

    timeout = server.shutdown_delay + server.drain_seconds + STOP_TIMEOUT
    tune_gc()
    try:
        return Supervisor(
            server.processes,
            task,
            announce=greet,
            complain=complain,
            private=reserved,
            stop_timeout=timeout,
            worker_timeout=server.worker_timeout,
            manager=manager,
            reload=(lambda: None) if reloading is None else reloading.run,
        ).run()
    finally:
        directory.cleanup()
        for each in (*reserved, *shared):
            each.close()


async def _serve_one(server: Server, parent: Parent, report_interval: float) -> None:
    loop, background = asyncio.get_running_loop(), BackgroundTasks()
    if report_interval:
        background.start(lambda: parent.keep_telling(report_interval), "liveness")

    def stop() -> None:
        loop.remove_reader(parent)
        server.request_stop()

    loop.add_reader(parent, stop)
    try:
        await server.run(lambda greeting: parent.tell(Serving(greeting)), supervised=True)
    finally:
        loop.remove_reader(parent)
        await background.stop()


def _directory() -> TemporaryDirectory[str]:
    """Make the directory of the sockets by which workers reach each other; only this user can enter it."""
    try:
        return TemporaryDirectory(prefix="mcp-actors-")
    except OSError as error:
        reason = f"Cannot make a directory for sockets of the processes: {error.strerror}"
        raise StartError(f"{reason}. Set TMPDIR to one that can be written, or start one process.") from None


def _shared(server: ServerSettings) -> list[ListeningSocket]:
    """Listen at a Unix socket, if the server has one: there is no SO_REUSEPORT for these."""
    return listen(server.host, server.port, mode=server.socket_mode) if server.host.startswith(UNIX) else []
