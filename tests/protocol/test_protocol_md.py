"""PROTOCOL.md matches the code: its examples decode, its tables are the enums, its limits are the defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from mcp_actors import protocol
from mcp_actors.broker.redis.offsets import parse_offset
from mcp_actors.protocol import errors
from mcp_actors.protocol.codec import Limits, peer_decoder, relayed, sender_stamp, user_decoder
from mcp_actors.protocol.errors import CloseCode, ErrorCode, SignalingError
from mcp_actors.protocol.identifiers import NodeId
from mcp_actors.protocol.messages import PeerRequest, ServerMessage, UserRequest
from mcp_actors.settings import DEFAULTS, PREFIX

TEXT = (Path(protocol.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
LIMITS = Limits(message_bytes=65_536, metadata_bytes=1024, id_length=128)
ENDPOINTS = {
    "Authentication": "both",
    "Peers:": "peer",
    "Pairs": "peer",
    "Users:": "user",
    "Heartbeat": "both",
    "Moderation": "both",
}
"""The endpoint that a section is about, by the first word of its heading."""

DECODERS: dict[str, Any] = {"peer": peer_decoder(LIMITS), "user": user_decoder(LIMITS), "both": peer_decoder(LIMITS)}


class Block(NamedTuple):
    """One JSON example: the endpoint, whether clients send it, and the heading above it."""

    endpoint: str
    sent: bool
    heading: str
    text: str


def blocks() -> list[Block]:
    found, endpoint, sent, heading, lines = [], "", False, "", iter(TEXT.splitlines())
    for line in lines:
        if line.startswith("## "):
            endpoint, sent = ENDPOINTS.get(line.split()[1], "any"), False
        elif line.startswith("### "):
            sent = line.startswith("### You send")
        if line.startswith("#"):
            heading = line
        elif line == "```json":
            found.append(Block(endpoint, sent, heading, "\n".join(iter(lines.__next__, "```"))))
    return found


BLOCKS = blocks()


def rows(section: str) -> list[list[str]]:
    """The cells of the first table of a section, by row."""
    body = TEXT.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    table = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.endpoint} {block.heading}")
def test_every_example_decodes(block: Block) -> None:
    value = json.loads(block.text)
    assert value.pop("delivery", 1) >= 1
    place = value.pop("at", "1-0.0@node")
    assert parse_offset(place, NodeId(place.partition("@")[2]))
    if block.sent:
        DECODERS[block.endpoint].decode(block.text.encode())
    elif "sender" in value:
        stamp = sender_stamp(value.pop("sender"), verified=value.pop("verified", False))
        number = value.pop("negotiation") if value["type"] == "offer" else 0
        original = json.dumps(value).encode()
        DECODERS[block.endpoint].decode(original)
        assert json.loads(relayed(stamp, original, negotiation=number).frame) == json.loads(block.text)
    else:
        message = msgspec.json.decode(block.text, type=ServerMessage, strict=True)
        assert msgspec.to_builtins(message) == value, (
            "the example has a field that the server does not send, or lacks one that it always sends"
        )
    if block.heading.startswith("#### "):
        assert f"`{value['type']}`" in block.heading


def types_of(union: Any) -> set[str]:
    return {member.__struct_config__.tag for member in union.__args__}


def test_every_message_has_an_example() -> None:
    ends = {"both": ["peer", "user"]}
    sent = {
        (end, json.loads(block.text)["type"])
        for block in BLOCKS
        if block.sent
        for end in ends.get(block.endpoint, [block.endpoint])
    }
    assert sent == {("peer", kind) for kind in types_of(PeerRequest)} | {
        ("user", kind) for kind in types_of(UserRequest)
    }
    received = {json.loads(block.text)["type"] for block in BLOCKS if not block.sent}
    relayed = {"offer", "answer", "ice-candidate", "signal", "message"}
    assert received == types_of(ServerMessage) | relayed


def test_the_table_of_errors_matches_the_enum() -> None:
    classes = {kind.code: kind for kind in vars(errors).values() if _is_error(kind)}
    table = {row[0].strip("`"): row[1] for row in rows("Errors")}
    assert list(table) == [code.value for code in ErrorCode]
    for code, retryable in table.items():
        assert retryable == ("yes" if classes[ErrorCode(code)].retryable else "no")


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, SignalingError) and kind is not SignalingError


def test_the_table_of_close_codes_matches_the_enum() -> None:
    table = [(int(row[0]), row[1].strip("`"), row[3] == "yes", row[4] == "yes") for row in rows("Closing")]
    assert table == [(int(code), code.reason, code.retryable, code.resumable) for code in CloseCode]


def test_the_table_of_limits_matches_the_default_settings() -> None:
    for _, shown, settings, _ in rows("Limits"):
        numbers = [
            int(number.replace(",", "")) * {"KiB": 1024, "MiB": 1024**2}.get(unit, 1)
            for number, unit in re.findall(r"([\d,]+) ?(KiB|MiB)?", shown)
        ]
        names = re.findall(r"`([A-Z_]+)`", settings)
        values = [DEFAULTS[name.removeprefix(PREFIX).lower()] for name in names]
        assert values
        assert sorted(set(numbers)) == sorted(set(values))
    assert f"every {DEFAULTS['ping_interval']:g} seconds" in TEXT
    assert f"resume within {DEFAULTS['resume_window']:g} seconds" in TEXT
    assert f"away for more than {DEFAULTS['resume_window']:g} seconds" in TEXT


def test_every_link_has_a_target() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in anchors
        elif "://" not in target:
            assert (Path(protocol.__file__).parent / target).is_file()
