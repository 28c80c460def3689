r"""Halves of surrogate pairs in JSON: what `"\ud83d"` is, which a JavaScript `slice()` through an emoji leaves.

RFC 8259, section 8.2, allows them, and most languages read and write them. They are no characters, so UTF-8 cannot
express them, and msgspec takes them for broken JSON.
"""

from __future__ import annotations

import re

MARK = rb"\uFffD"
"""The replacement character as no serializer writes it, so that what was replaced can be told from what was sent."""

_LONE = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
_MARK_TEMPLATE = MARK.replace(b"\\", rb"\\")


def replace_lone_surrogates(text: bytes) -> bytes:
    """Replace each half of a surrogate pair in JSON by `MARK`, which has as many bytes."""
    if b"\0" in text:  # which no JSON contains
        return text
    escapes = text.replace(rb"\\", b"\0\0")  # then each backslash begins an escape
    return _LONE.sub(_MARK_TEMPLATE, escapes).replace(b"\0\0", rb"\\")
