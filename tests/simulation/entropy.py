"""Time and chance under the control of a simulation, for all code that asks the standard library for them.

Polls are rarer than in a real process where that changes nothing, as each costs the simulation a turn.
"""

from __future__ import annotations

import random
import secrets
import socket
import time
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.chaos import crowd
from mcp_actors import memory_budget
from mcp_actors.auth.authentication import Authentication
from mcp_actors.auth.tokens import Verifier
from mcp_actors.broker.redis import link
from mcp_actors.connection import connections
from mcp_actors.counters import loop_lag
from tests.simulation.redis.server import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.loop import SimulationLoop

real_time = time.perf_counter

OFTEN: tuple[tuple[Any, str, Any], ...] = ((connections, "SLOTS", 20),)
"""How often nodes look after their connections."""

RARE_POLLS: tuple[tuple[Any, str, Any], ...] = (
    (connections, "SLOTS", 8),
    (memory_budget, "CHECK_EVERY", 1.0),
    (link, "HOUSEKEEPING", 0.2),
    (loop_lag, "INTERVAL", 5.0),
)
"""The same since the third era, and the intervals of other polls."""


@contextmanager
def controlled(loop: SimulationLoop, seed: int, *, rare_polls: bool = True) -> Iterator[None]:
    """Let the clocks and the random numbers of this interpreter be those of a simulation."""
    chance = random.Random(f"secrets {seed}")  # noqa: S311 - reproducible, not secret
    wall = _wall_clock(loop)
    patches: list[tuple[Any, str, Any]] = [
        (time, "monotonic", loop.time),
        (time, "time", wall),
        (memory_budget, "monotonic", loop.time),
        (crowd, "TICK", 0.05),
        *(RARE_POLLS if rare_polls else OFTEN),
        (secrets, "token_bytes", lambda count=32: chance.randbytes(count)),
        (secrets, "token_hex", lambda count=32: chance.randbytes(count).hex()),
        (secrets, "token_urlsafe", lambda count=32: urlsafe_b64encode(chance.randbytes(count)).rstrip(b"=").decode()),
        (secrets, "randbits", chance.getrandbits),
        (socket, "gethostname", lambda: "simulated"),
        (Verifier.__init__, "__kwdefaults__", (Verifier.__init__.__kwdefaults__ or {}) | {"clock": wall}),
        (Authentication.__init__, "__kwdefaults__", (Authentication.__init__.__kwdefaults__ or {}) | {"clock": wall}),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in patches]
    state = random.getstate()
    for where, name, what in patches:
        setattr(where, name, what)
    random.seed(seed)
    try:
        yield
    finally:
        for where, name, what in before:
            setattr(where, name, what)
        random.setstate(state)


def _wall_clock(loop: SimulationLoop) -> Callable[[], float]:
    def wall() -> float:
        return EPOCH + loop.time()

    return wall
