"""Errors of the API, as its clients see them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from mcp_actors.adapters.http.exchange import JSON, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADERS = {"Content-Type": JSON, "Cache-Control": "no-store"}
"""Headers of all answers of the API."""

CODES = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
    HTTPStatus.REQUEST_TIMEOUT: "request-timeout",
    HTTPStatus.CONFLICT: "limit-reached",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body-too-long",
    HTTPStatus.REQUEST_URI_TOO_LONG: "url-too-long",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported-media-type",
    HTTPStatus.TOO_MANY_REQUESTS: "rate-limited",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}
"""The codes of errors, stable and for programs."""


class ErrorDetails(Struct, frozen=True):
    """`code` is for programs; `message` is for people and says what to change."""

    code: str
    message: str


class ApiErrorBody(Struct, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorDetails


class ApiError(Exception):
    """A request that cannot be carried out; `str(error)` says why, and what to change."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def error_response(status: HTTPStatus, message: str, headers: Mapping[str, str]) -> Response:
    """Return the answer to a request that is refused."""
    body = ApiErrorBody(ErrorDetails(CODES[status], message))
    return Response(int(status), {**HEADERS, **headers}, msgspec.json.encode(body))
