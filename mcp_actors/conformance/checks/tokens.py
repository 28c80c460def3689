"""Access tokens, and what they allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.conformance.client import Failed
from mcp_actors.conformance.registry import requirement

if TYPE_CHECKING:
    from mcp_actors.conformance.client import Client
    from mcp_actors.conformance.target import Target

TOKENS = "tokens"
ADA, MO = "ada", "mo"


async def holder(target: Target, room: str, sub: str, *can: str) -> Client:
    """A peer with a token for a room, which has been told so."""
    client = await target.peer(target.token(sub, room, *can))
    await client.expect("authenticated", sub=sub)
    return client


@requirement("TOKEN-1", "After a handshake with a token, `authenticated` is the first message.", TOKENS)
async def authenticated(target: Target, room: str) -> None:
    client = await target.peer(target.token(ADA, room))
    await client.expect("authenticated", sub=ADA, rooms=[room])


@requirement("TOKEN-2", "A token allows its rooms and its id; others are `forbidden`.", TOKENS)
async def forbidden(target: Target, room: str) -> None:
    client = await holder(target, room, ADA)
    await client.say("join", f"{room}-2", {}, id=1)
    await client.expect_error("forbidden", 1)
    await client.say("join", room, {"peer_id": "grace"}, id=2)
    await client.expect_error("forbidden", 2)
    await client.say("join", room, {}, id=3)
    await client.expect("joined", 3, peer_id=ADA)


@requirement("TOKEN-3", "`authenticate` with a token works on an open connection.", TOKENS)
async def authenticate(target: Target, room: str) -> None:
    client = await target.peer(target.token(ADA, f"{room}-2"))
    await client.expect("authenticated", sub=ADA)
    await client.say("authenticate", None, {"token": target.token(ADA, room)}, id=1)
    await client.expect("authenticated", 1, rooms=[room])
    await client.say("join", room, {}, id=2)
    await client.expect("joined", 2)


@requirement("TOKEN-4", "Peers with a token are `verified` in rosters and in what they send.", TOKENS)
async def verified(target: Target, room: str) -> None:
    ada, mo = await holder(target, room, ADA), await holder(target, room, MO)
    await ada.join(room, ADA)
    joined = await mo.join(room, MO)
    if not all(peer.get("verified") is True for peer in joined["peers"]):
        raise Failed(f"`verified` was expected at each peer of {joined['peers']}")
    await ada.expect("peer-joined", peer_id=MO, verified=True)
    await mo.signal(room, ADA, 1)
    if (await ada.expect("signal", data=1)).get("verified") is not True:
        raise Failed("`verified` was expected beside the sender")


@requirement("MOD-1", "Only a token with `moderate` allows to kick.", TOKENS)
async def not_a_moderator(target: Target, room: str) -> None:
    ada, mo = await holder(target, room, ADA), await holder(target, room, MO)
    await ada.join(room, ADA)
    await mo.join(room, MO)
    await mo.say("kick", room, {"peer_id": ADA}, id=1)
    await mo.expect_error("forbidden", 1)


@requirement(
    "MOD-2",
    "A member that is kicked receives `kicked`; the others receive `peer-left` with the reason `kicked`.",
    TOKENS,
)
async def kick(target: Target, room: str) -> None:
    ada, mo = await holder(target, room, ADA), await holder(target, room, MO, "signal", "moderate")
    witness = await holder(target, room, "witness")
    for client, name in ((ada, ADA), (mo, MO), (witness, "witness")):
        await client.join(room, name)
    await mo.expect("peer-joined", peer_id="witness")
    for name in (MO, "witness"):
        await ada.expect("peer-joined", peer_id=name)
    await mo.say("kick", room, {"peer_id": ADA, "reason": "spam"}, id=1)
    await ada.expect("kicked", peer_id=ADA, reason="spam")
    await ada.expect_close(4504)
    await witness.expect("peer-left", peer_id=ADA, reason="kicked")


@requirement("MOD-3", "A locked room admits nobody but moderators.", TOKENS)
async def lock(target: Target, room: str) -> None:
    mo, ada = await holder(target, room, MO, "signal", "moderate"), await holder(target, room, ADA)
    await mo.join(room, MO)
    await mo.say("lock", room, id=1)
    await mo.expect("room-locked", 1)
    await ada.say("join", room, {}, id=1)
    await ada.expect_error("room-locked", 1)


@requirement("MOD-4", "A member that was kicked cannot resume.", TOKENS)
async def no_return(target: Target, room: str) -> None:
    mo, ada = await holder(target, room, MO, "signal", "moderate"), await holder(target, room, ADA)
    await mo.join(room, MO)
    token = (await ada.join(room, ADA))["resume"]
    await mo.expect("peer-joined", peer_id=ADA)
    await mo.say("kick", room, {"peer_id": ADA}, id=1)
    await ada.expect_close(4504)
    again = await holder(target, room, ADA)
    await again.say("join", room, {"resume": token}, id=2)
    await again.expect_error("kicked", 2)
