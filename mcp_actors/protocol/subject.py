"""The request that a message is about, which its error echoes, however broken the message is."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from mcp_actors.protocol.identifiers import RequestId, RoomId, id_problem
from mcp_actors.protocol.messages import ClientRequestId
from mcp_actors.protocol.surrogates import replace_lone_surrogates

MAX_ROOM_LENGTH = 1024
"""The most characters of a room that any server allows."""

MAX_BYTES, MAX_TOKENS = 65_536, 4096
"""Bytes and changes of depth of broken JSON in which the request is looked for. They take a few milliseconds."""

_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_NAME = rb'"(?:id|room)"\s*+:'
_TOKEN = re.compile(
    rb"(?:[^\"\[\]{}]++|(?!%b)%b)++" % (_NAME, _STRING)
    + rb"|(?P<name>%b)\s*+(?P<value>%b|-?[0-9.eE+]++(?!\w))?+" % (_NAME, _STRING)
    + rb"|(?P<open>[\[{]++)|(?P<close>[\]}]++)|(?P<cut>\")",
    re.DOTALL,
)
"""Text without meaning here; an `id` or a `room`; brackets; the quote of a string that does not end."""


class _Subject(Struct):
    id: Raw = Raw(b"null")
    room: Raw = Raw(b"null")


class _About(Struct):
    room: RoomId | None = None


_decode = msgspec.json.Decoder(_Subject).decode
_decode_about = msgspec.json.Decoder(_About).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def subject(text: bytes, max_length: int = MAX_ROOM_LENGTH) -> tuple[RoomId | None, RequestId | None]:
    """The `room` and `id` of a message; None for one that is missing or not valid."""
    raw_room: bytes | Raw | None
    raw_id: bytes | Raw | None
    try:
        found = _decode(text)
    except _UNREADABLE:
        members = _members(text)
        raw_room, raw_id = members.get(b'"room"'), members.get(b'"id"')
    else:
        raw_room, raw_id = found.room, found.id
    room, request_id = _read(raw_room, RoomId), _read(raw_id, ClientRequestId)
    return None if room is None or id_problem(room, max_length) else room, request_id


def room_of(text: bytes) -> RoomId | None:
    """The `room` of a message on its way to a client; None if it is about no room."""
    try:
        return _decode_about(text).room
    except msgspec.DecodeError:
        return _decode_about(replace_lone_surrogates(text)).room


def _members(text: bytes) -> dict[bytes, bytes]:
    """The `"id"` and `"room"` of broken JSON, in its outermost object, if they are strings or numbers."""
    members: dict[bytes, bytes] = {}
    depth = 0
    for token, _ in zip(_TOKEN.finditer(text, 0, MAX_BYTES), range(MAX_TOKENS), strict=False):
        kind = token.lastgroup
        if kind == "open":
            depth += len(token[0])
        elif kind == "close":
            depth -= len(token[0])
        elif kind == "value" and depth == 1:
            members[token["name"].rstrip(b": \t\r\n")] = token["value"]
        if kind == "cut" or (depth <= 0 and kind is not None):
            break
    return members


def _read(raw: bytes | Raw | None, expected: Any) -> Any:
    try:
        return None if raw is None else msgspec.json.decode(raw, type=expected, strict=False)
    except _UNREADABLE:
        return None
