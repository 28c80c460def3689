from __future__ import annotations

import pytest

from mcp_actors.protocol.emoji import EMOJI_STYLE, JOINER, SEQUENCE

JOINED = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "👩🏽‍💻", "🕵️‍♀️", "🕵🏿‍♀️", "🧑🏻‍🤝‍🧑🏿", "❤️‍🔥", "👁️‍🗨️", "🧎🏾‍♂️‍➡️", "🏴‍☠️"]
OTHERS = ["❤️", "☎️", "🌶️", "1️⃣", "#️⃣", "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"]


@pytest.mark.parametrize("emoji", JOINED + OTHERS)
def test_a_recommended_sequence_is_one_emoji(emoji: str) -> None:
    assert SEQUENCE.fullmatch(emoji)
    assert SEQUENCE.sub("", emoji * 3) == ""


@pytest.mark.parametrize("emoji", JOINED)
def test_an_emoji_that_lacks_a_joiner_or_a_style_is_another_text(emoji: str) -> None:
    for left_out in (JOINER, EMOJI_STYLE):
        if left_out in emoji:
            assert not SEQUENCE.fullmatch(emoji.replace(left_out, ""))


@pytest.mark.parametrize("text", ["😀️", "😀‍😀", "🐈‍🐈", "a️", "1️", "❤", "👨‍", "‍👩", "🏳‍🌈"])
def test_other_sequences_are_none(text: str) -> None:
    assert not SEQUENCE.fullmatch(text)
