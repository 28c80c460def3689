"""Several nodes on one port: a parent process that starts them, starts them again, and stops them; it serves nothing.

The children are forked before there is an event loop or a thread. So they have the same settings and run the same code,
also the one that is started in the place of another weeks later. A socket pair joins the parent with each. A child
tells through it that it serves, or why it cannot; its end is the child's death. To the child the end is the word to
stop, whether the parent gave it, died or was killed: no child outlives its parent for longer than it drains, and a
signal that reaches children and parent alike, as Ctrl-C and service managers send it, does not count twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import structlog
from msgspec.structs import replace

from mcp_actors.app import App, StartError, listen, spare_the_collector

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from mcp_actors.config import Settings

log = structlog.get_logger("mcp_actors")

SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a child that died is started again; each death doubles them."""

STEADY = 10.0
"""Seconds a child has to serve before its next death counts as a first one."""

STOPPING_PATIENCE = 10.0
"""Seconds that children have to stop when one of them cannot start, beyond those in which they drain."""

FAILURE, KILLED = 1, 128
"""Exit statuses: of a child that cannot start; of a process that a signal ended, to which its number is added."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Parent:
    """What a child has of its parent."""

    def __init__(self, end: socket.socket, number: int) -> None:
        self.number = number
        self._end = end

    def fileno(self) -> int:
        """What becomes readable when the child is to stop."""
        return self._end.fileno()

    def tell_serving(self, greeting: str) -> None:
        """Say that this child serves."""
        self._tell({"serving": greeting})

    def tell_failed(self, why: str) -> None:
        """Say why this child ends, for people."""
        self._tell({"failed": why})

    def _tell(self, word: dict[str, str]) -> None:
        try:
            self._end.sendall(json.dumps(word).encode() + b"\n")
        except OSError:
            return  # the parent is gone; the child notices by itself


@dataclass(slots=True)
class _Child:
    number: int
    pid: int = 0
    end: socket.socket | None = None
    heard: bytes = b""
    served_since: float | None = None
    why: str = ""
    pause: float = 0.0
    due: float | None = 0.0

    @property
    def is_alive(self) -> bool:
        return self.end is not None


class Supervisor:
    """Keeps so many children running `task`, which gets its parent and returns an exit status.

    `announce` gets the greeting of the first child when all serve; `complain` gets what a child said as it failed to
    start. `private` are sockets of the parent that children close. `patience`: seconds that children have to stop when
    one of them cannot start.
    """

    def __init__(
        self,
        count: int,
        task: Callable[[Parent], int],
        *,
        announce: Callable[[str], None],
        complain: Callable[[str], None],
        private: Iterable[socket.socket] = (),
        patience: float = STOPPING_PATIENCE,
    ) -> None:
        self._children = [_Child(number) for number in range(1, count + 1)]
        self._task = task
        self._announce = announce
        self._complain = complain
        self._private = tuple(private)
        self._patience = patience
        self._greeting = ""
        self._is_greeted = False
        self._is_stopping = False
        self._deadline: float | None = None
        self._status = 0
        self._signals, self._woken = socket.socketpair()

    def run(self) -> int:
        """Start the children and keep them until SIGINT or SIGTERM; return the exit status.

        It is 0 after a signal, 128 and its number after a second one, which kills the children, or that of a child that
        could not start before all served.
        """
        self._signals.setblocking(False)
        self._woken.setblocking(False)
        signal.set_wakeup_fd(self._woken.fileno())
        former = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        try:
            self._keep()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in former.items():
                signal.signal(number, handler)
            self._signals.close()
            self._woken.close()
        return self._status

    def _keep(self) -> None:
        while not self._is_stopping or any(child.is_alive for child in self._children):
            self._start_those_due()
            alive = {child.end: child for child in self._children if child.end is not None}
            readable, _, _ = select.select([self._signals, *alive], [], [], self._timeout())
            if self._signals in readable:
                self._take_signals(self._signals.recv(64))
            for end in readable:
                if end in alive:
                    self._hear(alive[end], end)
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._kill()

    def _timeout(self) -> float | None:
        times = [child.due for child in self._children if child.due is not None and not self._is_stopping]
        if self._deadline is not None:
            times.append(self._deadline)
        return max(0.0, min(times) - time.monotonic()) if times else None

    # ----------------------------------------------------------------------------------------------------------- start

    def _start_those_due(self) -> None:
        for child in self._children:
            if not self._is_stopping and child.due is not None and child.due <= time.monotonic():
                self._start(child)

    def _start(self, child: _Child) -> None:
        ours, theirs = socket.socketpair()
        child.due, child.served_since, child.heard, child.why = None, None, b"", ""
        sys.stdout.flush()
        sys.stderr.flush()
        former = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the child is no longer its parent
        try:
            child.pid = os.fork()
            if child.pid == 0:
                ours.close()
                self._be(child.number, theirs, former)
            child.end = ours
        except OSError as error:
            ours.close()
            child.why = f"Cannot start a process: {error.strerror}."
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        theirs.close()
        if child.end is None:
            self._lose(child, FAILURE)

    def _be(self, number: int, end: socket.socket, mask: Iterable[int]) -> NoReturn:
        """Be the child, and never come back."""
        status, parent = FAILURE, Parent(end, number)
        try:
            signal.set_wakeup_fd(-1)
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            siblings = (child.end for child in self._children if child.end is not None)
            for private in (self._signals, self._woken, *self._private, *siblings):
                private.close()
            structlog.contextvars.bind_contextvars(process=number)
            status = self._task(parent)
        except BaseException:
            parent.tell_failed(traceback.format_exc().rstrip())
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)

    # ------------------------------------------------------------------------------------------------------------ hear

    def _hear(self, child: _Child, end: socket.socket) -> None:
        try:
            heard = end.recv(65_536)
        except ConnectionError:  # it died with something unread
            heard = b""
        *lines, child.heard = (child.heard + heard).split(b"\n")
        for line in lines:
            self._take(child, json.loads(line))
        if not heard:
            end.close()
            child.end = None
            _, status = os.waitpid(child.pid, 0)
            self._lose(child, os.waitstatus_to_exitcode(status))

    def _take(self, child: _Child, word: dict[str, str]) -> None:
        if "failed" in word:
            child.why = word["failed"]
            return
        child.served_since = time.monotonic()
        self._greeting = self._greeting or word["serving"]
        if not self._is_greeted and all(each.served_since is not None for each in self._children):
            self._is_greeted = True
            self._announce(self._greeting)

    def _lose(self, child: _Child, code: int) -> None:
        """A child died: with this exit status, or by this signal if it is negative."""
        if self._is_stopping:
            return
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        if not self._is_greeted and child.served_since is None:
            self._status = KILLED - code if code < 0 else code or FAILURE
            self._complain(child.why or f"Process {child.number} died before it served: {how}.")
            self._stop()
            self._deadline = time.monotonic() + self._patience
            return
        now = time.monotonic()
        child.pause = pause_after(child.pause, now - (child.served_since or now))
        child.due = now + child.pause
        why = {"why": child.why} if child.why else {}
        log.warning("process died; it is started again", process=child.number, how=how, pause=child.pause, **why)

    # ------------------------------------------------------------------------------------------------------------ stop

    def _take_signals(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if not self._is_stopping:
                self._stop()
            else:
                self._status = KILLED + number
                self._kill()

    def _stop(self) -> None:
        self._is_stopping = True
        for child in self._children:
            if child.end is not None:
                child.end.shutdown(socket.SHUT_WR)

    def _kill(self) -> None:
        self._deadline = None
        for child in self._children:
            if child.is_alive:
                os.kill(child.pid, signal.SIGKILL)


def pause_after(last: float, served: float) -> float:
    """How long to wait before a child is started again, after the pause before and so many seconds of service."""
    if not last or served >= STEADY:
        return SHORTEST_PAUSE
    return min(2 * last, LONGEST_PAUSE)


def serve(
    settings: Settings,
    run_loop: Callable[[Coroutine[object, object, None]], None],
    *,
    announce: Callable[[str], None],
    complain: Callable[[str], None],
) -> int:
    """Serve with `settings.processes` children until SIGINT or SIGTERM; return the exit status. Raises `StartError`."""
    port, held = _reserve(settings.host, settings.port)
    shared = replace(settings, port=port)

    def task(parent: Parent) -> int:
        try:
            run_loop(_serve_one(App(shared), parent))
        except StartError as error:
            parent.tell_failed(str(error))
            return FAILURE
        return 0

    def greet(greeting: str) -> None:
        announce(f"{greeting}\n  processes   {settings.processes} on this port; a room spans them all")

    patience = settings.drain_seconds + STOPPING_PATIENCE
    spare_the_collector()
    try:
        return Supervisor(
            settings.processes, task, announce=greet, complain=complain, private=held, patience=patience
        ).run()
    finally:
        for each in held:
            each.close()


async def _serve_one(app: App, parent: Parent) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        loop.remove_reader(parent)
        app.ask_to_stop()

    loop.add_reader(parent, stop)
    try:
        await app.run(parent.tell_serving, supervised=True)
    finally:
        loop.remove_reader(parent)


def _reserve(host: str, port: int) -> tuple[int, list[socket.socket]]:
    """Take the port for this deployment: that it is free, which number it has if it is 0, and sockets that hold it.

    Children that listen with SO_REUSEPORT would silently share it with a deployment that does so too: hence the first
    try without. The sockets that hold it afterwards do not listen, so no connection comes to them.
    """
    probes = listen(host, port)
    held = []
    addresses = [probe.getsockname() for probe in probes]
    for probe, address in zip(probes, addresses, strict=True):
        hold = socket.socket(probe.family, socket.SOCK_STREAM)
        hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        hold.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if probe.family == socket.AF_INET6:
            hold.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.close()
        hold.bind(address)
        held.append(hold)
    return int(addresses[0][1]), held
