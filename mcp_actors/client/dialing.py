"""Opens a WebSocket, and says why that is not possible."""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote_plus, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from mcp_actors.client.errors import ClientCode, SignalingError
from mcp_actors.client.link import CLOSE_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from websockets.http11 import Response

OPEN_TIMEOUT = 15.0
"""Seconds for one handshake."""

MAX_MESSAGE_BYTES = 16 * 2**20
"""The largest message that a server may send: the roster of a large room."""

MAX_REASON = 500
"""Characters of a refusal that are shown."""

ENDPOINT = re.compile(r"/ws/[^/]+/*$")
SCHEMES = {"http": "ws", "https": "wss"}
RATE_LIMITED, SERVER_ERROR = 429, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The URL of an endpoint. `ssl`: the context of a wss: URL, in place of the system's."""

    url: str
    ssl: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def for_room(self, room: str | None) -> Self:
        """The address for a client of a room: a server of several processes may bring its members to one of them.

        Another room that the URL names is replaced.
        """
        if room is None:
            return self
        parts = urlsplit(self.url)
        others = [pair for pair in parts.query.split("&") if pair and not pair.startswith("room=")]
        query = "&".join([*others, f"room={_form_encoded(room)}"])
        return replace(self, url=urlunsplit(parts._replace(query=query)))


def _form_encoded(text: str) -> str:
    """Encode as the JavaScript client does, with URLSearchParams: proxies compare encoded rooms."""
    return quote_plus(text, safe="*").replace("~", "%7E")


def endpoint_url(url: str, path: str) -> str:
    """The WebSocket URL of an endpoint, which ends with /ws/ and a name.

    `url` may be that of the server, with the prefix of its paths, and may begin with http: or https:.
    """
    parts = urlsplit(url)
    scheme = SCHEMES.get(parts.scheme, parts.scheme)
    found = parts.path if ENDPOINT.search(parts.path) else parts.path.rstrip("/") + path
    return urlunsplit((scheme, parts.netloc, found, parts.query, ""))


async def dial(address: Address, token: str | None) -> ClientConnection:
    """Open a WebSocket. Raises SignalingError; if it is `retryable`, another attempt may succeed."""
    headers = dict(address.headers) | ({"Authorization": f"Bearer {token}"} if token is not None else {})
    options: dict[str, Any] = {"ssl": address.ssl} if address.ssl else {}
    try:
        return await connect(
            address.url,
            additional_headers=headers,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=None,  # the heartbeat is a message: the server says how often
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            **options,
        )
    except InvalidStatus as error:
        raise _refused(error.response) from error
    except (InvalidURI, ssl.SSLCertVerificationError) as error:
        raise SignalingError(ClientCode.UNREACHABLE, f"There can be no connection to {address.url}: {error}") from error
    except (OSError, EOFError, TimeoutError, InvalidHandshake) as error:
        text = f"No server answers at {address.url}: {error or type(error).__name__}"
        raise SignalingError(ClientCode.UNREACHABLE, text, retryable=True) from error


def _refused(response: Response) -> SignalingError:
    said = (response.body or b"").decode(errors="replace").strip()[:MAX_REASON]
    text = f"The server refuses the WebSocket with {response.status_code}: {said or response.reason_phrase}"
    if response.status_code != RATE_LIMITED and response.status_code < SERVER_ERROR:
        return SignalingError(ClientCode.HANDSHAKE_REFUSED, text, details={"status": response.status_code})
    details = {"status": response.status_code} | _retry_after(response)
    return SignalingError(ClientCode.HANDSHAKE_REFUSED, text, retryable=True, details=details)


def _retry_after(response: Response) -> dict[str, int]:
    with suppress(KeyError, ValueError):
        return {"retry_after_ms": int(response.headers["Retry-After"]) * 1000}
    return {}
