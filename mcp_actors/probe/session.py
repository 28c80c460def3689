"""How fast signals arrive, and whether a session outlives its connection."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import TYPE_CHECKING

from mcp_actors.client import IceServersRenewed, Rejoined, Signal, SignalingError, State
from mcp_actors.probe.advice import advice_for
from mcp_actors.probe.peer import TIMEOUT, Unwanted
from mcp_actors.probe.report import Check, failed, ok

if TYPE_CHECKING:
    from mcp_actors.probe.peer import Peer

ROUND_TRIPS = 15
NOT_ARRIVED = "a signal did not arrive", "see the server's log; with several processes, all must share one REDIS_URL"
NOT_RESUMED = (
    "a new session began after the connection was cut",
    "let all processes share one REDIS_URL, and see that MCP_ACTORS_RESUME_WINDOW is not 0",
)


async def check_latency(one: Peer, other: Peer) -> Check:
    """Send signals there and back, one after the other. `one` joined before `other`."""
    echo = asyncio.create_task(_echo(other, one))
    try:
        await one.meet(other)
        times = [await _round_trip(one, other, number) for number in range(ROUND_TRIPS)]
    except SignalingError as error:
        return failed("signaling", str(error), advice_for(error))
    except TimeoutError:
        return _not_answered(echo)
    finally:
        echo.cancel()
    text = f"{ROUND_TRIPS} round trips from peer to peer, the slowest in {max(times):.1f} ms; median"
    return ok("signaling", text, median(times))


def _not_answered(echo: asyncio.Task[None]) -> Check:
    error = echo.exception() if echo.done() else None
    if isinstance(error, SignalingError):
        return failed("signaling", f"the other peer cannot answer: {error}", advice_for(error))
    return failed("signaling", *NOT_ARRIVED)


async def _round_trip(one: Peer, other: Peer, number: int) -> float:
    began = time.monotonic()
    await one.room.signal(other.room.peer_id, {"probe": number})
    await one.next(Signal)
    return (time.monotonic() - began) * 1000


async def _echo(other: Peer, one: Peer) -> None:
    while True:
        signal = await other.next(Signal)
        await other.room.signal(one.room.peer_id, signal.data)


async def check_resume(one: Peer, other: Peer | None) -> Check:
    """Cut a connection; a signal that is sent meanwhile must arrive, and the session must go on."""
    began = time.monotonic()
    one.client.reconnect()
    try:
        await one.until(State.RECONNECTING)
        if other:
            await other.room.signal(one.room.peer_id, {"probe": "resume"})
        await one.until(State.OPEN)
        milliseconds = (time.monotonic() - began) * 1000
        if other is None:  # the event comes after all that the resumption brings
            await one.room.renew_ice_servers()
        await one.next(Signal if other else IceServersRenewed, Rejoined)
    except Unwanted:
        return failed("resume", *NOT_RESUMED)
    except SignalingError as error:
        return failed("resume", str(error), advice_for(error))
    except TimeoutError:
        return failed("resume", f"the session did not go on within {TIMEOUT:g} s", NOT_ARRIVED[1])
    return ok("resume", "the connection was cut, and the session went on without a loss", milliseconds)
