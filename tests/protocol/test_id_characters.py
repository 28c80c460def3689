# ruff: noqa: RUF001 - names of people
from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.protocol.id_characters import character_problem

NAMES = {
    "Latin": "Zoë Müller-Lüdenscheidt",
    "an apostrophe": "Renée O’Brien",
    "Catalan": "Marcel·lí",
    "Turkish": "İsmail Işık",
    "Vietnamese": "Nguyễn Thị Hường",
    "Greek": "Ελένη Παπαδοπούλου",
    "Cyrillic": "Київ Ёлка",
    "Armenian": "Հայաստան",
    "Hebrew": "שָׁלוֹם צה״ל",
    "Arabic": "مُحَمَّد ١٢٣",
    "Persian": "نمی‌دانم ۴۵۶",
    "Urdu": "اُردُو",
    "Hindi": "श्री नमस्ते",
    "Hindi with a joiner": "क्‍ष",
    "Bengali": "বাংলা",
    "Tamil": "நட்சத்திரம்",
    "Sinhala": "ශ්‍රී ලංකා",
    "Thai": "กรุงเทพฯ",
    "Khmer": "ខ្មែរ",
    "Burmese": "မြန်မာ",
    "Tibetan": "བོད་སྐད",
    "Amharic": "አማርኛ",
    "Cherokee": "ᏣᎳᎩ",
    "Georgian": "ქართული",
    "Chinese": "列夫·托尔斯泰",
    "Japanese": "ジョン・スミス 山田太郎",
    "Korean": "한국어 김",
    "full width": "ＡＢＣ",
    "emoji": "Ada 👩🏽‍💻❤️🏳️‍🌈 1️⃣ 🇩🇪 😀 ☎",
    "symbols": "a∑→★½²①™",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_people_in_all_scripts_are_valid(name: str) -> None:
    assert character_problem(NAMES[name]) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("\u3164", "must not have U+3164 (HANGUL FILLER); leave it out"),
        ("\u2800", "must not have U+2800 (BRAILLE PATTERN BLANK); leave it out"),
        ("ada\u00ad", "must not have U+00AD (SOFT HYPHEN); leave it out"),
        ("a\u200bb", "must not have U+200B (ZERO WIDTH SPACE); leave it out"),
        ("a\u202eb", "must not have U+202E (RIGHT-TO-LEFT OVERRIDE); leave it out"),
        ("a\u00a0b", "must not have U+00A0 (NO-BREAK SPACE); leave it out"),
        ("a\u3000b", "must not have U+3000 (IDEOGRAPHIC SPACE); leave it out"),
        ("é\n", "must not have U+000A; leave it out"),
        ("\ue000", "must not have U+E000; leave it out"),
        ("\ud800", "must not have U+D800; leave it out"),
        ("\u0378", "must not have U+0378; leave it out"),
        ("葛\U000e0100", "must not have U+E0100 (VARIATION SELECTOR-17); leave it out"),
        ("a\u200db", "may have U+200D (ZERO WIDTH JOINER) only where an emoji or a script needs it; leave it out"),
        ("ada\u200c", "may have U+200C (ZERO WIDTH NON-JOINER) only where an emoji or a script needs it; leave it out"),
        ("😀️", "may have U+FE0F (VARIATION SELECTOR-16) only where an emoji or a script needs it; leave it out"),
        ("Zoe\u0308", "must be in Unicode Normalization Form C (NFC); normalize it"),
        (unicodedata.normalize("NFD", "한국어"), "must be in Unicode Normalization Form C (NFC); normalize it"),
        ("\u212a", "must be in Unicode Normalization Form C (NFC); normalize it"),
        ("\u0323a", "must not start with a combining mark"),
    ],
)
def test_the_problem_says_what_to_change(value: str, problem: str) -> None:
    assert character_problem(value) == problem
    assert character_problem(value) == problem, "it is the same the second time"


def test_the_neighbours_of_a_joiner_may_have_marks_but_not_any_number_of_them() -> None:
    assert character_problem("ب" + "\u064e\u0651" + "\u200c" + "ب") is None
    assert character_problem("ب" + "\u0651" * 500 + "\u200c" + "ب") is not None
    assert character_problem("ب" * 500 + "\u200c" + "ب" * 500) is None


def test_the_version_of_unicode_is_not_that_of_python() -> None:
    """U+1FAE9, U+0C5C and U+11DB0 came with Unicode 16 and 17; Python 3.11 knows those of 14."""
    assert [character_problem(one) for one in ("\U0001fae9", "\u0c5c", "\U00011db0")] == [None] * 3


@given(st.text(st.characters(min_codepoint=0x80), min_size=1))
def test_a_valid_id_is_normalized_and_visible(value: str) -> None:
    if character_problem(value) is None:
        assert unicodedata.normalize("NFC", value) == value
        assert all(unicodedata.category(char) not in ("Cc", "Cs", "Co", "Zl", "Zp", "Zs") for char in value)


@given(st.lists(st.sampled_from(["a", "é", "ب", "क्", "👩", "💻", "❤", "1", "‍", "‌", "️", "⃣"]), min_size=1, max_size=8))
def test_two_valid_ids_differ_by_more_than_invisible_characters(parts: list[str]) -> None:
    value = "".join(parts)
    if character_problem(value) is None and not set("بक्‌") & set(value):
        emoji = {"👩‍💻": "A", "❤️": "B", "1️⃣": "C"}
        shown = value
        for sequence, letter in emoji.items():
            shown = shown.replace(sequence, letter)
        assert not set("‍‌️") & set(shown)
