"""Each STUN and TURN server that peers are given: whether it answers, and whether it relays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.client.ice_server_check import (
    IceServerCheck,
    IceServerOutcome,
    check_ice_server,
    single_servers,
)
from mcp_actors.probe.channel import ChannelError, open_channel, relay_only
from mcp_actors.probe.report import Check, failed, ok, skipped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp_actors.client.events import Json
    from mcp_actors.probe.peer import Peer

NONE = (
    "the server gives no TURN server",
    "some networks let peers through only with one: set MCP_ACTORS_TURN_URLS; see docs/guides/turn.md",
)

REFUSALS = {
    400: "the request was not understood: is this a TURN server?",
    401: "the credentials are not accepted: MCP_ACTORS_TURN_SECRET must be the static-auth-secret of the TURN server, "
    "and both clocks must agree",
    403: "the TURN server does not serve this client or address; see its log",
    437: "the TURN server still keeps an allocation of this port; try again",
    442: "the TURN server relays no UDP; see its settings",
    486: "the quota of this user is used up; see user-quota of coturn",
    508: "the TURN server has no port left; see min-port and max-port of coturn",
}
"""By the code of an error of STUN or TURN."""

NOT_RELAYED = "open the relay ports of the TURN server, min-port to max-port, and let it relay to its own address"

UNREACHABLE = (
    "is the TURN server running, does its name lead to it, and is the port open, for UDP too? "
    "See docs/guides/turn.md on ports"
)


async def check_ice_servers(one: Peer, other: Peer | None) -> AsyncIterator[Check]:
    """Check all servers of the first peer, one after the other; with a second peer, relay through them."""
    servers = single_servers(one.room.ice_servers)
    others = single_servers(other.room.ice_servers) if other else servers
    for server, counterpart in zip(servers, others, strict=False):
        found = await check_ice_server(server)
        yield _line(found)
        if found.is_turn and found.outcome == IceServerOutcome.WORKS and other:
            yield await _check_relay(one, other, server, counterpart)
    if not any(url.startswith("turn") for server in servers for url in server["urls"]):
        yield skipped("TURN", *NONE)


def _line(found: IceServerCheck) -> Check:
    match found.outcome:
        case IceServerOutcome.WORKS:
            return ok(found.url, found.text, found.milliseconds)
        case IceServerOutcome.REFUSED:
            return failed(found.url, found.text, REFUSALS.get(found.code or 0, "see the log of that server"))
        case IceServerOutcome.UNREACHABLE:
            return failed(found.url, found.text, UNREACHABLE)
        case IceServerOutcome.UNKNOWN if "wrong" in found.text:
            return failed(found.url, found.text, "correct MCP_ACTORS_ICE_SERVERS or MCP_ACTORS_TURN_URLS")
    return skipped(found.url, found.text)


async def _check_relay(one: Peer, other: Peer, server: Json, counterpart: Json) -> Check:
    [url] = server["urls"]
    name = f"{url} relays"
    try:
        milliseconds = await open_channel(one, other, relay_only(server), relay_only(counterpart))
    except ChannelError as error:
        return failed(name, str(error), NOT_RELAYED)
    return ok(name, "a data channel opens through this server alone", milliseconds)
