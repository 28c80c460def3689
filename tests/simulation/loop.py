"""An event loop with virtual time for several simulated processes; it never touches the outside.

Each callback belongs to a process, as its context says. The callbacks of one process run in order, as asyncio promises
them; which of the processes runs next is drawn from the seed. Time passes only when no process has anything to do.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from random import Random

START = 1_000.0
"""Seconds of the clock when a simulation begins."""


class Process:
    """A process of the simulated world, with a clock of its own: `rate` of its seconds pass in one second."""

    def __init__(self, loop: SimulationLoop, name: str, rate: float = 1.0) -> None:
        self.name = name
        self.rate = rate
        self.dead = False
        self.paused = False
        self.ready: deque[asyncio.Handle] = deque()
        self.context = copy_context()
        self.context.run(_process.set, self)
        self._loop = loop

    def __repr__(self) -> str:
        return self.name

    def runs(self) -> bool:
        """Whether it is neither dead nor paused."""
        return not self.dead and not self.paused

    def local(self, now: float) -> float:
        """The time of its clock."""
        return START + (now - START) * self.rate

    def instant(self, local: float) -> float:
        """The time at which its clock shows a time."""
        return START + (local - START) / self.rate

    def pause(self) -> None:
        """Stand still, as after SIGSTOP; what arrives waits."""
        self.paused = True

    def resume(self) -> None:
        """Go on after a pause."""
        self.paused = False
        if self.ready:
            self._loop.add_runnable(self)

    def kill(self) -> None:
        """Run nothing more, not even what would clean up."""
        self.dead = True
        self._loop.bury(self)

    def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Call a function now as this process does."""
        return self._loop.within(self, work, *args)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task of this process."""
        task: asyncio.Task[Any] = self.context.copy().run(self._loop.create_task, work)
        return task


_process: ContextVar[Process] = ContextVar("process")


class _Task(asyncio.Task[Any]):
    """A task whose hash is a number, so that sets of tasks have the same order in each run."""

    def __init__(self, work: Any, loop: SimulationLoop, number: int, context: Context | None) -> None:
        self.number = number
        self.process = loop.current
        super().__init__(work, loop=loop, context=context)

    def __hash__(self) -> int:
        return self.number


class _Handle(asyncio.Handle):
    """A handle that asks nobody whether to debug."""

    __slots__ = ()

    def __init__(self, callback: Callable[..., Any], args: Any, loop: SimulationLoop, context: Context) -> None:
        self._context = context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None

    def cancel(self) -> None:
        """See asyncio."""
        self._cancelled = True
        self._callback = self._args = None  # type: ignore[assignment]


class _TimerHandle(asyncio.TimerHandle):
    """The same with a time."""

    __slots__ = ()

    def __init__(
        self, when: float, callback: Callable[..., Any], args: Any, loop: SimulationLoop, context: Context
    ) -> None:
        _Handle.__init__(self, callback, args, loop, context)  # type: ignore[arg-type]
        self._when = when
        self._scheduled = False

    cancel = _Handle.cancel


class SimulationOver(RuntimeError):
    """Nothing can happen any more, although somebody waits."""


class SimulationLoop(asyncio.BaseEventLoop):
    """See the module. `connect` opens connections: see `Network.connect`."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.now = START
        self.outside = Process(self, "outside")
        """Whatever belongs to none of the simulated processes: the run itself."""
        self.current = self.outside
        self.over = False
        self.connect: Callable[..., Any] = _no_network
        self.errors: list[dict[str, Any]] = []
        self.turns = 0
        self.rng = rng
        self._timers: list[tuple[float, int, asyncio.Handle, Process]] = []
        self._sequence = count()
        self._tasks = count(1)
        self._runnable: list[Process] = []
        self._buried: list[asyncio.Task[Any]] = []
        self._dropped: list[asyncio.Handle] = []
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._note_error)

    def _note_error(self, _loop: Any, context: dict[str, Any]) -> None:
        if not self.over:
            self.errors.append(context)

    def _new_task(self, _loop: Any, work: Any, context: Context | None = None) -> _Task:
        return _Task(work, self, next(self._tasks), context)

    def within(self, process: Process, work: Callable[..., Any], *args: Any) -> Any:
        """Call a function as a process does."""
        before, self.current = self.current, process
        try:
            return process.context.copy().run(work, *args)
        finally:
            self.current = before

    def time(self) -> float:
        """The clock of the process that runs."""
        return START + (self.now - START) * self.current.rate

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        if context is None:
            process, context = self.current, copy_context()
        else:
            process = context.get(_process, self.outside)
        handle = _Handle(callback, args, self, context)
        if not process.dead and not self.over:
            if not process.ready and not process.paused:
                self._runnable.append(process)
            process.ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio: async generators that are dropped are closed with it."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, *_args: Any) -> Never:  # type: ignore[override]
        """Refuse: there is one thread."""
        raise RuntimeError("a simulation has no threads")

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        if context is None:
            process, context = self.current, copy_context()
        else:
            process = context.get(_process, self.outside)
        timer = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (process.instant(when), next(self._sequence), timer, process))
        return timer

    def at(self, instant: float, process: Process, callback: Callable[..., Any], *args: Any) -> asyncio.Handle:
        """Call back in a process at a time of the world."""
        handle = _Handle(callback, args, self, process.context)
        heapq.heappush(self._timers, (instant, next(self._sequence), handle, process))
        return handle

    def _add(self, process: Process, handle: asyncio.Handle) -> None:
        if process.dead or self.over:
            return
        if not process.ready and not process.paused:
            self._runnable.append(process)
        process.ready.append(handle)

    def add_runnable(self, process: Process) -> None:
        """Let a process go on that has something to do."""
        self._runnable.append(process)

    def bury(self, process: Process) -> None:
        """Keep the tasks of a dead process: they must not even be closed before the simulation is over."""
        mine = [task for task in asyncio.all_tasks(self) if isinstance(task, _Task) and task.process is process]
        mine.sort(key=hash)
        self._buried += mine
        self._dropped += process.ready
        process.ready.clear()

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_how: Any) -> Any:
        """Connect over the simulated network."""
        return await self.connect(self.current, protocol_factory, host, port)

    async def create_server(self, *_args: Any, **_how: Any) -> Never:
        """Refuse: simulated servers listen on the simulated network."""
        raise RuntimeError("a simulation has no sockets")

    async def getaddrinfo(self, *_args: Any, **_how: Any) -> Never:
        """Refuse: there are no names."""
        raise RuntimeError("a simulation has no names")

    async def shutdown_default_executor(self, *_args: Any) -> None:
        """Do nothing: there is none."""

    def _run_once(self) -> None:
        """Let one process after another have a turn, until the loop is stopped."""
        runnable, random = self._runnable, self.rng.random
        while not self._stopping:  # type: ignore[attr-defined]
            while not runnable:
                self._wait()
            self.turns += 1
            index = int(random() * len(runnable)) if len(runnable) > 1 else 0
            process = runnable[index]
            runnable[index] = runnable[-1]
            runnable.pop()
            if not process.dead and not process.paused:
                self._run(process)

    def _run(self, process: Process) -> None:
        """Call what was ready when the turn of a process began."""
        self.current, ready = process, process.ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                try:
                    handle._context.run(handle._callback, *handle._args)  # type: ignore[attr-defined]
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self._note_failure(handle, error)
                if process.dead or process.paused:
                    break
        self.current = self.outside
        if ready and not process.dead and not process.paused and process not in self._runnable:
            self._runnable.append(process)

    def _note_failure(self, handle: asyncio.Handle, error: BaseException) -> None:
        self.call_exception_handler({"message": f"exception in {handle!r}", "exception": error, "handle": handle})

    def _wait(self) -> None:
        """Let time pass until a timer is due."""
        timers = self._timers
        while timers and (timers[0][2]._cancelled or timers[0][3].dead):
            heapq.heappop(timers)
        if not timers:
            raise SimulationOver("nothing happens any more")
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            _, _, handle, process = heapq.heappop(timers)
            if not handle._cancelled:
                self._add(process, handle)

    def end(self) -> None:
        """End the simulation: nothing runs any more, and tasks that wait are closed without complaint."""
        self.over = True
        for task in [*self._buried, *asyncio.all_tasks(self)]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _close(task)
        self._buried.clear()
        self._dropped.clear()
        self._timers.clear()
        self._runnable.clear()
        self.close()


def _close(task: asyncio.Task[Any]) -> None:
    with suppress(BaseException):  # what it would clean up is gone
        task.get_coro().close()


async def _no_network(*_args: Any) -> Generator[Any, None, Any]:
    raise RuntimeError("this simulation has no network")
