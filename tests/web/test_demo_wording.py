"""The demo page has a sentence for people for every code of the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.protocol.errors import CloseCode, ErrorCode
from tests.web.pages import PLAIN

if TYPE_CHECKING:
    from tests.web.pages import OpenPage

DESCRIBE = """
async ({errors, closes}) => {
  const {describeError, describeClose, CLOSES, ERRORS} = await import("/demo/wording.js");
  const spoken = (table, code, describe) => (code in table ? describe() : null);
  return {
    errors: errors.map((code) => [code, spoken(ERRORS, code, () => describeError({code, message: "the server's"}))]),
    closes: closes.map((code) => [code, spoken(CLOSES, code, () => describeClose(code))]),
  };
}
"""
QUOTE = """
async () => {
  const {describeError, describeClose} = await import("/demo/wording.js");
  return [
    describeClose(4504, "No advertising, please."),
    describeError({code: "banned", details: {message: "Enough.", retry_after_ms: 3_540_000}}),
    describeError({code: "room-full", details: {limit: 12}}),
    describeError({code: "something-new"}),
    describeClose(4999),
  ];
}
"""
OF_THE_CLIENT = ["connection-lost", "unknown", "timeout", "closed", "cancelled", "unreachable", "handshake-refused"]


def test_every_error_and_close_code_has_a_sentence(open_page: OpenPage) -> None:
    codes = {"errors": [*ErrorCode, *OF_THE_CLIENT, "no-token"], "closes": [*CloseCode, 1000, 1006]}
    told = open_page(PLAIN).evaluate(DESCRIBE, codes)
    for code, sentence in [*told["errors"], *told["closes"]]:
        assert sentence, f"{code} has none"
        assert sentence[0].isupper(), (code, sentence)
        assert sentence.endswith("."), (code, sentence)
        assert str(code).isalpha() or str(code) not in sentence


def test_the_words_of_a_moderator_and_the_limits_of_the_server_are_told(open_page: OpenPage) -> None:
    assert open_page(PLAIN).evaluate(QUOTE) == [
        "A moderator removed you from this room. They say: “No advertising, please.” You can join again.",
        "A moderator has banned you from this room. They say: “Enough.” You can join again in 59 min.",
        "This room is full: 12 can be in it. Try again when somebody has left.",
        "Something went wrong.",
        "The server closed the connection.",
    ]
