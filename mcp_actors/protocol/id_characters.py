"""The characters of ids: those of the free-form class of PRECIS (RFC 8264) in NFC, and emoji.

Both are looked up in one version of Unicode, so that an id is valid with every Python, or with none. Of the rules of
PRECIS that depend on other characters, those of joiners apply; the others are for domain names.
"""

from __future__ import annotations

import unicodedata2
from precis_i18n.context import context_rule_error
from precis_i18n.derived import CONTEXTJ, CONTEXTO, FREE_PVAL, PVALID, derived_property
from precis_i18n.unicode import UnicodeData

from mcp_actors.protocol.emoji import EMOJI_STYLE, JOINER, SEQUENCE

_UNICODE = UnicodeData(unicodedata2)

_TAG_END = "\U000e007f"

_BLANK = "\u2800\U00013441\U00013442\U00016fe4\U0001d159"
"""Symbols and letters that show nothing."""

_CONTEXT = 8
"""Characters on each side of a joiner among which its neighbours are looked for, so that the time is bounded."""

_ALLOWED, _IN_CONTEXT, _REFUSED = 1, 2, 3

_classes = bytearray(0x110000)
"""By code point: one of the numbers above, or 0 until it is asked for."""


def character_problem(value: str) -> str | None:
    """The problem of the characters of an id; None if there is none."""
    if unicodedata2.normalize("NFC", value) != value:
        return "must be in Unicode Normalization Form C (NFC); normalize it"
    text = value
    if JOINER in value or EMOJI_STYLE in value or _TAG_END in value:
        text = SEQUENCE.sub("\u263a", value)
    for index, char in enumerate(text):
        found = _classes[ord(char)] or _classify(char)
        if found == _REFUSED or (found == _IN_CONTEXT and _is_misplaced(text, index)):
            return _refusal(char)
    if unicodedata2.category(value[0]).startswith("M"):
        return "must not start with a combining mark"
    return None


def _is_misplaced(text: str, index: int) -> bool:
    start = max(index - _CONTEXT, 0)
    return bool(context_rule_error(text[start : index + _CONTEXT + 1], index - start, _UNICODE))


def _classify(char: str) -> int:
    found = _REFUSED
    derived, _ = derived_property(ord(char), _UNICODE)
    if derived == CONTEXTJ:
        found = _IN_CONTEXT
    elif derived in (PVALID, FREE_PVAL, CONTEXTO) and char not in _BLANK:
        found = _REFUSED if char != " " and unicodedata2.category(char) == "Zs" else _ALLOWED
    _classes[ord(char)] = found
    return found


def _refusal(char: str) -> str:
    name = unicodedata2.name(char, "")
    shown = f"U+{ord(char):04X}" + (f" ({name})" if name else "")
    if _classes[ord(char)] == _IN_CONTEXT or char == EMOJI_STYLE:
        return f"may have {shown} only where an emoji or a script needs it; leave it out"
    return f"must not have {shown}; leave it out"
