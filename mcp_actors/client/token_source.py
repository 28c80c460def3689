"""The access token of a client, or a function that returns one."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from mcp_actors.client.errors import ClientCode, SignalingError

Token: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]


class TokenSource:
    """Asks for a token for each connection, and before a token expires if there is a function."""

    def __init__(self, token: Token | None) -> None:
        self._token = token

    @property
    def renewable(self) -> bool:
        """Whether another token may come."""
        return callable(self._token)

    async def get(self) -> str | None:
        """Return the token, if there is one. Raises SignalingError if the function fails."""
        if not callable(self._token):
            return self._token
        try:
            answer = self._token()
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            text = f"The function that returns access tokens has failed: {error!r}."
            raise SignalingError(ClientCode.NO_TOKEN, text, retryable=True) from error
