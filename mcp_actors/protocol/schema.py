"""A JSON Schema of all messages, from their types; `python -m mcp_actors.protocol.schema` prints it.

`$defs` has `PeerRequest` and `UserRequest`, what clients may send at the two endpoints, and `ServerMessage`, what they
receive. A schema cannot say everything: limits of bytes, the characters of ids and the depth of metadata are in
PROTOCOL.md. Clients ignore what they do not know, so messages of the server may have further fields.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from mcp_actors.protocol.codec import MAX_MESSAGE_LENGTH, MAX_REASON_LENGTH
from mcp_actors.protocol.messages import PeerRequest, ServerMessage, UserRequest

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_ID_LENGTH = 128
RELAYED = ("Offer", "Answer", "IceCandidate", "Signal", "Message")
"""The requests that reach others in the sender's own text, with the fields below in front."""

_REFERENCE = "#/$defs/{name}"
_NUMBERED = {
    "delivery": {"type": "integer", "minimum": 1, "description": "Counts the messages of a session."},
    "at": {"type": "string", "description": "A position in the stream of the room, if rooms span processes."},
}
_STAMP = {
    "sender": {"type": "string", "description": "Who has sent it; no client can set it."},
    "verified": {"const": True, "description": "The access token of the sender says who it is."},
}
_EITHER_ID = {
    "oneOf": [
        {"required": [name], "properties": {name: {"type": "string"}, other: {"type": "null"}}}
        for name, other in (("peer_id", "user_id"), ("user_id", "peer_id"))
    ]
}
_ID = {"minLength": 1, "maxLength": MAX_ID_LENGTH}


def schema() -> dict[str, Any]:
    """The JSON Schema, a new object each time."""
    (peer, user), sent = msgspec.json.schema_components([PeerRequest, UserRequest], ref_template=_REFERENCE)
    (server,), received = msgspec.json.schema_components([ServerMessage], ref_template=_REFERENCE)
    _refine(sent)
    received |= {f"Relayed{name}": _relayed(sent[name]) for name in RELAYED}
    server["anyOf"] += [{"$ref": f"#/$defs/Relayed{name}"} for name in RELAYED]
    for reference in server["anyOf"]:
        received[reference["$ref"].rpartition("/")[2]]["properties"] |= _NUMBERED
    named = {"PeerRequest": peer, "UserRequest": user, "ServerMessage": server}
    for one in named.values():
        one.pop("discriminator")  # it is of OpenAPI
    return {
        "$schema": DIALECT,
        "title": "Messages of the mcp_actors signaling protocol",
        "$defs": named | sent | received,
    }


def _relayed(request: dict[str, Any]) -> dict[str, Any]:
    """A relayed message as its receiver gets it."""
    number = {"negotiation": {"type": "integer", "minimum": 1}} if request["title"] == "Offer" else {}
    return {
        "title": f"Relayed{request['title']}",
        "description": "The text of the sender, with its id in front.",
        "type": "object",
        "properties": _STAMP | request["properties"] | number,
        "required": ["sender", *request["required"], *number],
    }


def _refine(definitions: dict[str, Any]) -> None:
    """Add what the decoder checks beside the types."""
    fields = {name: one.get("properties", {}) for name, one in definitions.items()}
    for name in ("OfferDescription", "AnswerDescription"):
        fields[name]["sdp"] = {"type": "string"}
    fields["MessagePayload"]["content"] = {"not": {"type": "null"}}
    fields["JoinPayload"]["peer_id"]["anyOf"][0] |= _ID
    fields["ConnectPayload"]["user_id"]["anyOf"][0] |= _ID
    for name in ("Join", "JoinRoom"):
        fields[name]["room"] |= _ID
    for name in ("KickPayload", "NoticePayload"):
        fields[name]["reason"]["anyOf"][0] |= {"minLength": 1, "maxLength": MAX_REASON_LENGTH}
        fields[name]["message"]["anyOf"][0] |= {"maxLength": MAX_MESSAGE_LENGTH}
    fields["KickPayload"]["ban_seconds"]["anyOf"][0] |= {"minimum": 1}
    for name in ("KickPayload", "UnbanPayload"):
        definitions[name] |= _EITHER_ID
    definitions["KickPayload"] |= {
        "if": {"required": ["ban_seconds"], "properties": {"ban_seconds": {"type": "integer"}}},
        "then": {"properties": {"peer_id": _ID, "user_id": _ID}},
    }
    definitions["ReportPayload"] |= {
        "if": {"properties": {"pair": {"const": "failed"}}},
        "then": {"required": ["reason"], "properties": {"reason": {"type": "string"}}},
        "else": {"properties": {"reason": {"type": "null"}}},
    }


def main() -> None:
    """Print it."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n")


if __name__ == "__main__":
    main()
