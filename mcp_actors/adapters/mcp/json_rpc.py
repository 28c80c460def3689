"""JSON-RPC on a WebSocket: one message in each text frame, and the errors of the connection in its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from msgspec import UNSET, Raw, Struct, UnsetType
from pydantic import ValidationError

from mcp_actors.protocol.errors import BadMessage, ErrorCode, MessageTooBig
from mcp_actors.protocol.messages import Error

if TYPE_CHECKING:
    from mcp_types import JSONRPCMessage

    from mcp_actors.protocol.identifiers import RequestId
    from mcp_actors.protocol.messages import ServerMessage
    from mcp_actors.protocol.outgoing import Dialect, Encoded, Relayed

NOTHING: Encoded = (b"", b"")

SERVER_ERROR = -32000
"""The code of errors that neither JSON-RPC nor the protocol defines; `data` has the one of this server."""

CODES = {ErrorCode.MESSAGE_TOO_BIG: INVALID_REQUEST, ErrorCode.INTERNAL: INTERNAL_ERROR}

NO_MESSAGE = "The message is no request, notification or response of JSON-RPC 2.0; send one in each text frame."

NOT_JSON = "not_json"
"""The detail of an error about a frame that is no JSON at all."""


class Frame(NamedTuple):
    """One message of a client. `id`: None for one that is not answered."""

    message: JSONRPCMessage
    id: RequestId | None = None


class _Id(Struct):
    id: int | str | None = None


class _AnyId(Struct):
    id: Raw | UnsetType = UNSET


_read_any_id = msgspec.json.Decoder(_AnyId).decode
_read_id = msgspec.json.Decoder(_Id).decode


class Decoder:
    """Decodes and validates messages of up to `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def decode(self, frame: bytes) -> Frame:
        """Decode one message. Raises `BadMessage` and `MessageTooBig`, with the id of the request if it can be read."""
        if len(frame) > self._max_bytes:
            text = f"The message has {len(frame)} bytes; {self._max_bytes} are allowed (MCP_ACTORS_MAX_MESSAGE_BYTES)."
            raise MessageTooBig(text, limit=self._max_bytes)
        try:
            message = jsonrpc_message_adapter.validate_json(frame, by_name=False)
        except ValidationError as error:
            raise _problem(frame, error) from None
        if isinstance(message, JSONRPCNotification) and _has_id(frame):  # which the SDK would ignore
            raise BadMessage(NO_MESSAGE)
        return Frame(message, message.id if isinstance(message, JSONRPCRequest) else None)


def _has_id(frame: bytes) -> bool:
    """Whether a message has a member `id`, or numbers that JSON does not have."""
    try:
        return _read_any_id(frame).id is not UNSET
    except msgspec.DecodeError:
        return True


def _problem(frame: bytes, error: ValidationError) -> BadMessage:
    if any(each["type"] == "json_invalid" for each in error.errors(include_url=False, include_input=False)):
        return BadMessage("The message is not JSON.", **{NOT_JSON: True})
    try:
        request_id = _read_id(frame).id
    except (msgspec.DecodeError, RecursionError):
        request_id = None
    problem = BadMessage(NO_MESSAGE)
    problem.about(None, request_id)
    return problem


class JsonRpcDialect:
    """Errors of a connection as JSON-RPC errors; there is nothing else to tell."""

    def encode(self, message: ServerMessage, offset: bytes) -> Encoded:
        """See `Dialect`."""
        return (b"", _error(message)) if isinstance(message, Error) else NOTHING

    def relay(self, message: Relayed) -> Encoded:
        """See `Dialect`. Messages of others come as answers to requests only."""
        return NOTHING

    def prefix(self, head: bytes, number: int | None) -> bytes:
        """See `Dialect`."""
        return head


JSON_RPC: Dialect = JsonRpcDialect()


def _error(message: Error) -> bytes:
    payload = message.payload
    details = {} if payload.details is UNSET else dict(payload.details)
    if details.pop(NOT_JSON, False):
        code = PARSE_ERROR
    elif payload.code is ErrorCode.BAD_MESSAGE:
        code = INVALID_REQUEST
    else:
        code = CODES.get(payload.code, SERVER_ERROR)
    error = {"code": code, "message": payload.message, "data": {"code": payload.code, **details}}
    request_id = None if message.id is UNSET else message.id
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": error})
