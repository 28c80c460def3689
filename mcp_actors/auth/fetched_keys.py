"""The public keys of an identity provider, which are fetched from a URL and renewed in the background."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from mcp_actors.auth.tokens import KeyFileError, choose_key, read_jwks

if TYPE_CHECKING:
    from mcp_actors.auth.tokens import Key

log = structlog.get_logger("mcp_actors.auth.fetched_keys")

RETRY = 5.0
"""Seconds until the next attempt after one that failed, at most."""

MIN_PAUSE = 10.0
"""Seconds between requests, however many tokens name keys that are not known, at most."""

FetchKeys = Callable[[], Awaitable[bytes]]
"""Returns a JWKS. Raises `OSError`, which says why there is none."""


class FetchedKeys:
    """The public keys of the JWKS at a URL, fetched every `refresh` seconds, and when a token names an unknown key.

    If the JWKS cannot be fetched or used, the previous keys stay, and each reason is logged once.
    """

    def __init__(self, url: str, fetch: FetchKeys, refresh: float, min_pause: float = MIN_PAUSE) -> None:
        self._url = url
        self._fetch = fetch
        self._refresh = refresh
        self._min_pause = min(min_pause, refresh)
        self._keys: dict[str | None, Key] = {}
        self._unknown_key = asyncio.Event()
        self._text = b""
        self._defect = "it has not been fetched"
        self._problem = ""

    @property
    def are_known(self) -> bool:
        """Whether there are keys: the first attempts to fetch them may fail."""
        return bool(self._keys)

    def find(self, key_id: str | None) -> Key | None:
        """Return the key that a token names, or the only key if it names none."""
        key = choose_key(self._keys, key_id)
        if key is None and key_id is not None:
            self._unknown_key.set()
        return key

    async def update(self) -> None:
        """Fetch the keys once."""
        self._unknown_key.clear()
        try:
            self._read(await self._fetch())
        except OSError as error:
            self._failed(str(error))
            return
        if self._problem:
            self._problem = ""
            log.info("signing keys can be fetched again", url=self._url)

    async def run(self) -> None:
        """Keep the keys up to date, for ever; `update` comes first."""
        while True:
            await self._pause()
            await self.update()

    def _read(self, text: bytes) -> None:
        """Take the keys of a JWKS, unless it is the one that was read before. Raises `OSError` if it has none."""
        if text != self._text:
            self._text, self._defect = text, ""
            try:
                self._keys = read_jwks(self._url, text)
            except KeyFileError as error:
                self._defect = str(error)
            else:
                log.info("signing keys fetched", url=self._url, keys=len(self._keys))
        if self._defect:
            raise OSError(self._defect)

    async def _pause(self) -> None:
        if self._problem:
            await asyncio.sleep(min(RETRY, self._refresh) * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            return
        await asyncio.sleep(self._min_pause)
        try:
            async with asyncio.timeout((self._refresh - self._min_pause) * random.uniform(0.8, 1.0)):  # noqa: S311 - no secret
                await self._unknown_key.wait()
        except TimeoutError:
            return

    def _failed(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            event = "signing keys cannot be fetched, " + (
                "keeping the previous keys" if self._keys else "refusing tokens"
            )
            log.warning(event, url=self._url, reason=problem)
