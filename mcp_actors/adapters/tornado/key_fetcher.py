"""Fetches the public keys of an identity provider."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from mcp_actors import __version__
from mcp_actors.adapters.tornado.fetch import fetch

TIMEOUT = 5.0
"""Seconds for one request. The start of a server waits for the first one."""

MAX_BYTES = 262_144
"""The size of a JWKS. Each of the 64 keys that are accepted has 500 to 4000 bytes."""


class KeySetSettings(Protocol):
    """The settings of the key set."""

    @property
    def jwks_url(self) -> str:
        """Its URL, empty for none."""


class KeyFetcher:
    """Fetches the JWKS at a URL. It is a `FetchKeys`, and does not follow redirects."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._timeout = timeout

    async def __call__(self) -> bytes:
        """Return the JWKS. Raises `OSError`, which says why there is none."""
        client = AsyncHTTPClient(force_instance=True, max_body_size=MAX_BYTES)
        request = HTTPRequest(
            self._url,
            headers={"Accept": "application/json", "User-Agent": f"mcp_actors/{__version__}"},
            follow_redirects=False,
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
        )
        try:
            response = await fetch(client, request)
        except (HTTPError, ValueError) as error:
            raise OSError(str(error)) from None
        finally:
            client.close()
        if response.code != HTTPStatus.OK:
            raise OSError(f"the answer has status {response.code}, not 200")
        return response.body


def key_fetcher(settings: KeySetSettings) -> KeyFetcher | None:
    """Return what fetches the configured key set; None if there is none."""
    return KeyFetcher(settings.jwks_url) if settings.jwks_url else None
