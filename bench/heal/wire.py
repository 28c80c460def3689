"""The thread that carries frames between the network devices of a switch."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from bench.heal.switch import Switch

LONGEST_FRAME = 65_536
AT_ONCE = 64
"""Frames that are read from one device before the others have their turn."""

MOST_WAITING = 20_000
"""Frames on their way, beyond which further ones are lost."""


class Wire:
    """Carries frames while in its context. `delay`: seconds that each frame takes. Index and port are the same."""

    def __init__(self, switch: Switch, devices: Sequence[int], delay: float) -> None:
        self._switch = switch
        self._devices = devices
        self._delay = delay
        self._waiting: deque[tuple[float, int, bytes]] = deque()
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)
        self.failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        os.close(self._stop)
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        try:
            self._carry()
        except BaseException as error:
            self.failure = error
            raise

    def _carry(self) -> None:
        ports = {device: port for port, device in enumerate(self._devices)}
        with select.epoll() as poll:
            for descriptor in (*ports, self._wake):
                poll.register(descriptor, select.EPOLLIN)
            while True:
                for ready, _ in poll.poll(self._until_due()):
                    if ready == self._wake:
                        return
                    self._read(ready, ports[ready])
                self._deliver()

    def _until_due(self) -> float:
        return max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else -1

    def _read(self, device: int, port: int) -> None:
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                frame = os.read(device, LONGEST_FRAME)
                due = time.monotonic() + self._delay
                for target in self._switch.targets(frame, port):
                    if len(self._waiting) < MOST_WAITING:
                        self._waiting.append((due, self._devices[target], frame))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, device, frame = self._waiting.popleft()
            with suppress(OSError):  # its interface is down
                os.write(device, frame)
