from __future__ import annotations

import re
from typing import Any, get_args

import msgspec
import pytest
from msgspec import UNSET, Struct

from mcp_actors.protocol import messages
from mcp_actors.protocol.messages import ClientRequestId, PeerRequest, Reply, Request, ServerMessage, UserRequest


def _tag(message: Any) -> str:
    return str(message.__struct_config__.tag)


def _tagged(base: type[Struct]) -> set[type[Struct]]:
    """Every class of the module below a base that has a type on the wire."""
    found = {v for v in vars(messages).values() if isinstance(v, type) and issubclass(v, base)}
    return {v for v in found if re.fullmatch(r"[a-z-]+", _tag(v))}


def test_each_endpoint_knows_the_messages_of_the_protocol() -> None:
    peer = {"join", "leave", "offer", "answer", "ice-candidate", "signal", "ice-servers", "report"}
    user = {"connect", "join-room", "leave-room", "message"}
    both = {"authenticate", "ping", "update", "kick", "lock", "unlock", "close-room", "list-bans", "unban"}
    assert {_tag(m) for m in get_args(PeerRequest)} == peer | both
    assert {_tag(m) for m in get_args(UserRequest)} == user | both


def test_the_server_says_what_the_protocol_lists() -> None:
    assert {_tag(m) for m in get_args(ServerMessage)} == {
        "joined", "ice-servers", "left", "peer-joined", "peer-left", "peer-away", "peer-back",
        "connected", "room-joined", "room-left", "user-joined", "user-left",
        "ack", "reconnect", "error", "authenticated", "token-expiring", "pong",
        "updated", "peer-updated", "user-updated",
        "kicked", "room-locked", "room-unlocked", "room-closed", "announcement", "bans", "unbanned",
    }  # fmt: skip


def test_no_message_is_forgotten_in_the_unions() -> None:
    assert _tagged(Request) == {*get_args(PeerRequest), *get_args(UserRequest)}
    assert _tagged(Reply) == set(get_args(ServerMessage))


@pytest.mark.parametrize("message", [*get_args(PeerRequest), *get_args(UserRequest)], ids=_tag)
def test_every_client_message_refuses_unknown_top_level_fields(message: type[Struct]) -> None:
    """Stamping the sender in front of a client's own text is safe for this reason alone."""
    assert message.__struct_config__.forbid_unknown_fields
    assert "sender" not in message.__struct_fields__


@pytest.mark.parametrize("message", [*get_args(PeerRequest), *get_args(UserRequest)], ids=_tag)
def test_every_payload_is_open_to_extra_fields(message: type[Struct]) -> None:
    kind = {field.name: field.type for field in msgspec.structs.fields(message)}["payload"]
    payload = next(one for one in get_args(kind) or (kind,) if one is not type(None))
    assert not payload.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize(
    "message", [*get_args(PeerRequest), *get_args(UserRequest), *get_args(ServerMessage)], ids=_tag
)
def test_every_message_is_frozen(message: type[Struct]) -> None:
    assert message.__struct_config__.frozen


@pytest.mark.parametrize("value", [0, -1, 2**63 - 1, "", "x" * 64])
def test_a_request_id_is_an_integer_or_a_string_up_to_64_characters(value: object) -> None:
    assert msgspec.convert(value, ClientRequestId) == value


@pytest.mark.parametrize("value", ["x" * 65, True, 1.5, None, [], {}])
def test_a_request_id_is_nothing_else(value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, ClientRequestId)


def test_a_reply_without_a_request_has_no_id() -> None:
    assert Reply().id is UNSET
