"""Authentication: checks the access tokens of connections, and keeps their deadlines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcp_actors.auth.expiry import Expiry
from mcp_actors.protocol.errors import CloseCode, Forbidden, Unauthorized

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mcp_actors.auth.grants import Grant


class Authentication(Expiry):
    """Checks tokens with `verify`. `required`: every connection needs a token, within `timeout` seconds.

    `is_revoked`: whether what a token grants does not count any more.
    """

    def __init__(
        self,
        verify: Callable[[str], Grant],
        *,
        required: bool,
        timeout: float,
        notice: float,
        leeway: float,
        is_revoked: Callable[[Grant], bool] = lambda _grant: False,
        clock: Callable[[], float] = time.time,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(timeout=timeout, notice=notice, leeway=leeway, clock=clock, loop=loop)
        self.required = required
        self._verify = verify
        self._is_revoked = is_revoked

    def check(self, token: str, current: Grant | None) -> Grant:
        """Return what a token grants; it may replace a token for the same `sub` only.

        Raises `Forbidden` and `Unauthorized`; the latter closes a connection that had no token before.
        """
        try:
            grant = self._verify(token)
        except Unauthorized as error:
            raise (error if current is not None else error.final()) from None
        if self._is_revoked(grant):
            raise revoked(final=current is None)
        if current is not None and current.sub != grant.sub:
            raise Forbidden("This connection is of another `sub`; open another one for this token.")
        return grant


def revoked(*, final: bool) -> Unauthorized:
    """Return the error for a token that was revoked. `final`: it closes the connection."""
    error = Unauthorized("The token was revoked; get a new one.")
    if final:
        error.close_code = CloseCode.TOKEN_REVOKED
    return error
