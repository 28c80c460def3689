"""HTTP requests of this server whose caller may stop waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse


async def fetch(client: AsyncHTTPClient, request: HTTPRequest) -> HTTPResponse:
    """Return the response, whatever its status. Raises `HTTPError` and `OSError` if there is none.

    If the caller is cancelled, the request goes on to its own end: Tornado would log its error if it were cancelled.
    """
    response = asyncio.ensure_future(client.fetch(request, raise_error=False))
    response.add_done_callback(_heed)
    await asyncio.wait([response])
    return response.result()


def _heed(response: asyncio.Future[HTTPResponse]) -> None:
    """Retrieve an error that nobody waits for any more, so that asyncio does not log it."""
    if not response.cancelled():
        response.exception()
