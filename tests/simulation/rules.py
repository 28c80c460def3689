"""Locks and bans: what moderators ask for in a run, and whether it holds."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.chaos.member import JoinError, now

if TYPE_CHECKING:
    from bench.chaos.crowd import Crowd

ANSWER_TIMEOUT = 5.0
"""Seconds for a moderator to be answered."""

UNLOCK_TIMEOUT = 60.0
"""Seconds for a room to be unlocked again, whatever happens to its moderators."""

BAN = 60
"""Seconds of a ban: longer than the clock of Redis can jump ahead in a run."""


class Rules:
    """Locks and bans of one run."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._numbers = count(1)

    async def lock(self, room: str, seconds: float) -> None:
        """Lock a room, and unlock it later."""
        if await self._ask(room, "lock"):
            await asyncio.sleep(seconds)
        end = now() + UNLOCK_TIMEOUT
        while now() < end and await self._ask(room, "unlock") != "room-unlocked":
            await asyncio.sleep(0.2)

    async def ban(self, room: str, seconds: float) -> str:
        """Ban a newcomer, and let it try to join again for some seconds; return how it got in, or nothing."""
        name, (node, _) = f"cban{next(self._numbers)}", self._crowd.choose()
        try:
            banned = await self._crowd.enter("churner", room, node, name)
        except JoinError:
            return ""
        stay = banned.stay
        stay.kicked_at = now()
        if await self._ask(room, "kick", {"peer_id": name, "ban_seconds": BAN}) == "kicked":
            stay.removed_at = now()
            stay.ended_at = stay.ended_at or now()
        await banned.close()
        return "" if stay.removed_at is None else await self._try_to_join(room, name, seconds)

    async def _ask(self, room: str, kind: str, payload: dict[str, Any] | None = None) -> str:
        """Let a moderator ask for something; return the type of the answer, an error code, or nothing."""
        moderator, name = self._crowd.moderator(room), f"{kind}{next(self._numbers)}"
        return "" if moderator is None else await moderator.moderate(kind, payload or {}, name, ANSWER_TIMEOUT)

    async def _try_to_join(self, room: str, name: str, seconds: float) -> str:
        began = now()
        while now() < began + seconds:
            node, _ = self._crowd.choose()
            try:
                member = await self._crowd.enter("churner", room, node, name)
            except JoinError:
                await asyncio.sleep(0.5)
                continue
            await member.leave(ANSWER_TIMEOUT)
            return f"{member.stay} joined although it was banned, after {now() - began:.3f} s"
        return ""
