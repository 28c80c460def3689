"""The JSON Schema of the messages agrees with PROTOCOL.md and with the decoder of the server."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mcp_actors.protocol.errors import SignalingError
from mcp_actors.protocol.schema import schema
from tests.protocol.test_protocol_md import BLOCKS, DECODERS, Block

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = schema()
REQUESTS = {"peer": "PeerRequest", "user": "UserRequest"}


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{name}"})


VALIDATORS = {name: validator(name) for name in (*REQUESTS.values(), "ServerMessage")}


def sent_to(block: Block) -> Iterator[str]:
    """The endpoints at which clients may send a message."""
    return (endpoint for endpoint in REQUESTS if block.endpoint in (endpoint, "both"))


SENT = [(json.loads(block.text), endpoint) for block in BLOCKS if block.sent for endpoint in sent_to(block)]
RECEIVED = [json.loads(block.text) for block in BLOCKS if not block.sent and '"type"' in block.text]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("message", "endpoint"), SENT, ids=str)
def test_what_clients_send_in_protocol_md_is_valid(message: dict[str, Any], endpoint: str) -> None:
    VALIDATORS[REQUESTS[endpoint]].validate(message)


@pytest.mark.parametrize("message", RECEIVED, ids=str)
def test_what_clients_receive_in_protocol_md_is_valid(message: dict[str, Any]) -> None:
    VALIDATORS["ServerMessage"].validate(message)


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, 1, 7.0, 1.5, -1, "", "x", "x" * 65, [], {}, {"sdp": "v=0"}, {"sdp": 1}, "failed"]
)
STEPS = st.lists(st.integers(0, 7), min_size=1, max_size=3)


def changed(message: dict[str, Any], steps: list[int], value: Any, action: str) -> dict[str, Any]:
    """The message with one field set, removed or added, at the end of some steps into it."""
    message = copy.deepcopy(message)
    place: dict[str, Any] = message
    for step in steps[:-1]:
        inner = [one for one in place.values() if isinstance(one, dict)]
        if not inner:
            break
        place = inner[step % len(inner)]
    names = sorted(place)
    name = names[steps[-1] % len(names)] if names and action != "add" else "further"
    if action == "remove":
        place.pop(name, None)
    else:
        place[name] = value
    return message


def is_accepted(message: dict[str, Any], endpoint: str) -> bool:
    try:
        DECODERS[endpoint].decode(json.dumps(message).encode())
    except SignalingError:
        return False
    return True


@given(st.sampled_from(SENT), STEPS, VALUES, st.sampled_from(["set", "remove", "add"]))
@example((SENT[0]), [0], None, "remove")
def test_the_server_accepts_what_is_valid_and_nothing_else(
    found: tuple[dict[str, Any], str], steps: list[int], value: Any, action: str
) -> None:
    message, endpoint = found
    message = changed(message, steps, value, action)
    assert VALIDATORS[REQUESTS[endpoint]].is_valid(message) is is_accepted(message, endpoint), message


def test_it_is_printed() -> None:
    command = [sys.executable, "-m", "mcp_actors.protocol.schema"]
    assert json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout) == SCHEMA
