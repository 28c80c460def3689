"""Why a watch ended."""

from __future__ import annotations

import pytest

from mcp_actors.client import SignalingError
from mcp_actors.client.errors import closed
from mcp_actors.protocol.errors import CloseCode
from mcp_actors.watch.close_text import CLOSES, close_text


@pytest.mark.parametrize("code", [code for code in CloseCode if not code.retryable])
def test_every_final_close_code_has_a_sentence_and_is_named(code: CloseCode) -> None:
    text = close_text(closed(code, code.reason))
    assert text.startswith(CLOSES[code])
    assert f"({code.value})" in text


def test_an_error_of_the_room_has_a_sentence_and_what_the_server_said() -> None:
    error = SignalingError("banned", "You are banned from room 'r'.", details={"retry_after_ms": 1000})
    assert (
        close_text(error) == "A moderator has banned this client from the room. You are banned from room 'r'. (banned)"
    )


def test_another_error_is_told_as_it_is() -> None:
    assert close_text(SignalingError("unreachable", "No server answers.")) == "No server answers. (unreachable)"


def test_a_reason_from_elsewhere_cannot_change_the_terminal() -> None:
    assert close_text(closed(4999, "\x1b[2J")).isprintable()
