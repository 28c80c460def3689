"""Authentication: checks the access tokens of connections, and keeps their deadlines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcp_actors.auth.expiry import Expiry
from mcp_actors.protocol.errors import Forbidden, Unauthorized

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mcp_actors.auth.grants import Grant


class Authentication(Expiry):
    """Checks tokens with `verify`. `required`: every connection needs a token, within `timeout` seconds."""

    def __init__(
        self,
        verify: Callable[[str], Grant],
        *,
        required: bool,
        timeout: float,
        notice: float,
        leeway: float,
        clock: Callable[[], float] = time.time,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(timeout=timeout, notice=notice, leeway=leeway, clock=clock, loop=loop)
        self.required = required
        self._verify = verify

    def check(self, token: str, current: Grant | None) -> Grant:
        """Return what a token grants; it may replace a token for the same `sub` only.

        Raises `Forbidden` and `Unauthorized`; the latter closes a connection that had no token before.
        """
        try:
            grant = self._verify(token)
        except Unauthorized as error:
            raise (error if current is not None else error.final()) from None
        if current is not None and current.sub != grant.sub:
            raise Forbidden("This connection is of another `sub`; open another one for this token.")
        return grant
