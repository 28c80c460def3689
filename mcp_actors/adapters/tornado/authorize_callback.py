"""The application's own rules behind a URL: each question is a POST of JSON, and the status is the answer."""

from __future__ import annotations

import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from mcp_actors.adapters.tornado.fetch import fetch
from mcp_actors.auth.authorization import Handshake, JoinRequest, Refused
from mcp_actors.auth.grants import DEFAULT_PERMISSIONS, Grant

if TYPE_CHECKING:
    from tornado.httpclient import HTTPResponse


class CallbackSettings(Protocol):
    """The settings of the callback."""

    @property
    def url(self) -> str:
        """The URL, empty for none."""

    @property
    def authorize_timeout(self) -> float:
        """Seconds to answer."""


class CallbackError(Exception):
    """The application gave no usable answer; `str(error)` says what it gave."""


class Answer(Struct, frozen=True):
    """The body of a 200; as `Grant`, but `expires_in` is in seconds from now."""

    identity: str
    rooms: list[str] | None = None
    can: list[str] | None = None
    expires_in: float | None = None
    metadata: dict[str, Any] | None = None
    own_metadata: bool = False
    ice_servers: list[dict[str, Any]] | None = None


class AuthorizeCallback:
    """Asks the application behind a URL, for at most `timeout` seconds. It is an `Authorize`.

    A 200 grants, a 204 to a handshake leaves the decision to the joins, and a 403 refuses with its text as the reason.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    async def __call__(self, request: Handshake | JoinRequest) -> Grant | None:
        """Return a grant, or None. Raises `Refused` and `CallbackError`."""
        response = await self._post(json.dumps(_question(request)))
        text = response.body.decode("utf-8", "replace") if response.body else ""
        if response.code == HTTPStatus.FORBIDDEN:
            raise Refused(text.strip())
        if response.code == HTTPStatus.NO_CONTENT:
            return None
        if response.code != HTTPStatus.OK:
            raise CallbackError(f"{self._url} answered {response.code}; expected are 200, 204 and 403")
        try:
            return _grant(msgspec.json.decode(response.body, type=Answer))
        except msgspec.DecodeError as error:
            raise CallbackError(f"{self._url} answered with a body that cannot be used: {error}") from None

    async def _post(self, body: str) -> HTTPResponse:
        client = AsyncHTTPClient(force_instance=True)
        try:
            request = HTTPRequest(
                self._url,
                method="POST",
                headers={"Content-Type": "application/json"},
                body=body,
                follow_redirects=False,
                connect_timeout=self._timeout,
                request_timeout=self._timeout,
            )
            return await fetch(client, request)
        finally:
            client.close()


def _question(request: Handshake | JoinRequest) -> dict[str, Any]:
    handshake = request if isinstance(request, Handshake) else request.handshake
    told: dict[str, Any] = {
        "type": "handshake",
        "kind": handshake.kind,
        "address": handshake.address,
        "headers": {name.lower(): value for name, value in handshake.headers.items()},
        "query": dict(handshake.query),
    }
    if isinstance(request, JoinRequest):
        identity = None if request.grant is None else request.grant.sub
        told |= {"type": "join", "room": request.room, "id": request.id, "metadata": dict(request.metadata)}
        told["identity"] = identity
    return told


def _grant(answer: Answer) -> Grant:
    return Grant(
        answer.identity,
        answer.rooms,
        DEFAULT_PERMISSIONS if answer.can is None else answer.can,
        float("inf") if answer.expires_in is None else time.time() + answer.expires_in,
        answer.metadata,
        answer.own_metadata,
        answer.ice_servers,
    )


def callback(settings: CallbackSettings) -> AuthorizeCallback | None:
    """Return what asks the application behind the configured URL; None if there is none."""
    return AuthorizeCallback(settings.url, settings.authorize_timeout) if settings.url else None
