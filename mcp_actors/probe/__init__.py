"""Checks what works of a server from here: `mcp-actors probe`. Needs the extra `aiortc`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

from mcp_actors.client import SignalingError
from mcp_actors.client.dialing import endpoint_url
from mcp_actors.probe.advice import advice_for
from mcp_actors.probe.channel import check_direct
from mcp_actors.probe.ice_servers import check_ice_servers
from mcp_actors.probe.peer import Peer, check_websocket, random_room
from mcp_actors.probe.reach import Place, check_reach
from mcp_actors.probe.report import Check, Report, failed, ok, skipped
from mcp_actors.probe.session import check_latency, check_resume

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALONE = (
    "needs two peers, and a token is for one",
    "give --token a second time, with a token of somebody else for the same room",
)


class Target(NamedTuple):
    """A server. `tokens`: of the two peers that enter `room`, a random one by default."""

    url: str
    tokens: tuple[str, ...] = ()
    room: str | None = None


async def probe(target: Target) -> Report:
    """Check everything, as far as what comes first works."""
    report = Report(target.url)
    try:
        endpoint = endpoint_url(target.url, "/ws/signaling/")
        place = Place.of(endpoint)
    except ValueError as error:
        report.checks.append(failed("address", str(error), "correct the URL"))
        return report
    async for check in check_reach(place):
        report.checks.append(check)
    if not report.has_failed:
        report.checks.append(await check_websocket(endpoint, *target.tokens[:1]))
    if not report.has_failed:
        async for check in _check_signaling(endpoint, target):
            report.checks.append(check)
    return report


async def _check_signaling(endpoint: str, target: Target) -> AsyncIterator[Check]:
    async with AsyncExitStack() as stack:
        name = target.room or random_room()
        try:
            one = await stack.enter_async_context(Peer.enter(endpoint, name, *target.tokens[:1]))
        except SignalingError as error:
            yield failed("protocol", str(error), advice_for(error))
            return
        yield ok("protocol", f"joined room {name} as {one.room.peer_id}")
        try:
            other = await stack.enter_async_context(Peer.enter(endpoint, name, *target.tokens[1:2]))
        except SignalingError as error:
            yield await check_resume(one, None)
            async for check in _check_alone(one, error, target):
                yield check
            return
        async for check in _check_pair(one, other):
            yield check


async def _check_alone(one: Peer, error: SignalingError, target: Target) -> AsyncIterator[Check]:
    if len(target.tokens) == 1:
        yield skipped("signaling", *ALONE)
    else:
        yield failed("signaling", f"a second peer cannot join: {error}", advice_for(error))
    async for check in check_ice_servers(one, None):
        yield check


async def _check_pair(one: Peer, other: Peer) -> AsyncIterator[Check]:
    yield await check_latency(one, other)
    yield await check_resume(one, other)
    yield await check_direct(one, other)
    async for check in check_ice_servers(one, other):
        yield check
