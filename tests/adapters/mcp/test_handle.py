"""Handles of memberships."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.mcp.handle import Handle, read_handle

HANDLE = Handle("user", "EBGT4ZlM9KLwQ1cyAAAAAe2M0XnI7b1cVxqSR3m0Yxg=", "room é", "bot")


def test_a_handle_is_read_as_it_was_made() -> None:
    text = str(HANDLE)
    assert text.isascii()
    assert "=" not in text
    assert read_handle(text) == HANDLE


@pytest.mark.parametrize("text", ["", "x", "unknown", "é", "AAAA", str(HANDLE)[:-3], "a b\n"])
def test_anything_else_is_none(text: str) -> None:
    assert read_handle(text) is None


def test_a_handle_is_not_shown_where_it_is_logged() -> None:
    assert HANDLE.token not in repr(HANDLE)
