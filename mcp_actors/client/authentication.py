"""Sends new access tokens before the old ones expire."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from mcp_actors.client.errors import ClientCode, SignalingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_actors.client.events import Json
    from mcp_actors.client.link import Link
    from mcp_actors.client.token_source import TokenSource

logger = logging.getLogger(__name__)


class Authentication:
    """`ask` sends a request on a link, and returns the payload of its reply."""

    def __init__(self, tokens: TokenSource, ask: Callable[[Link, str, str | None, Json], Awaitable[Json]]) -> None:
        self._tokens, self._ask = tokens, ask
        self._renewals: set[asyncio.Task[None]] = set()

    async def authenticate(self, link: Link) -> None:
        """Send a new token. Raises SignalingError, also if there is no function that returns one."""
        if not self._tokens.renewable:
            raise SignalingError(ClientCode.NO_TOKEN, "There is no function that returns access tokens.")
        await self._ask(link, "authenticate", None, {"token": await self._tokens.get()})

    def renew(self, link: Link) -> None:
        """Send a new token in the background, if there is a function that returns one."""
        if self._tokens.renewable:
            task = asyncio.create_task(self._try(link))
            self._renewals.add(task)
            task.add_done_callback(self._renewals.discard)

    def stop(self) -> None:
        """Renew nothing any more."""
        for renewal in self._renewals:
            renewal.cancel()

    async def _try(self, link: Link) -> None:
        """Without a new token the server closes the connection, and the next one needs one."""
        try:
            await self.authenticate(link)
        except SignalingError as error:
            logger.warning("The access token was not renewed: %s", error)
