"""Moderators: their access tokens, and how they remove members."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt

from bench.chaos.member import now
from bench.chaos.resuming import ResumingMember

if TYPE_CHECKING:
    from random import Random

    from bench.chaos.member import Member

TOKEN_SECONDS = 86_400
KICK_TIMEOUT = 10.0


def moderator_token(name: str, secret: str) -> str:
    """Return an access token for a moderator of all rooms."""
    claims = {"sub": name, "exp": time.time() + TOKEN_SECONDS, "can": ["signal", "message", "moderate"]}
    return jwt.encode(claims, secret, algorithm="HS256")


async def remove(member: Member, moderator: Member, rng: Random) -> None:
    """Let a moderator kick a member, half of the time while it moves to another node; then it tries to come back."""
    stay = member.stay
    stay.kicked_at = now()
    if isinstance(member, ResumingMember) and rng.random() < 1 / 2:
        rng.choice((member.cut, member.switch))()
    stay.kick_answer = await moderator.kick(stay.member, KICK_TIMEOUT)
    if stay.kick_answer == "kicked":
        stay.removed_at = now()
        stay.ended_at = stay.ended_at or stay.removed_at
        if isinstance(member, ResumingMember):
            await member.try_to_return(KICK_TIMEOUT)
    await member.close()
