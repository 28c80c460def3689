"""Responses that say something to people."""

from __future__ import annotations

from mcp_actors.adapters.http.exchange import HEADERS, PAGE_HEADERS, text


def test_a_text_is_plain_and_not_cached() -> None:
    response = text(429, "Wait.", **{"Retry-After": "2"})
    assert (response.status, response.body) == (429, b"Wait.\n")
    assert response.headers == {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "no-store",
        "Retry-After": "2",
    }


def test_the_page_may_do_more_than_other_responses_but_nothing_unsafe() -> None:
    assert "script-src" not in HEADERS["Content-Security-Policy"]
    assert "script-src 'self'" in PAGE_HEADERS["Content-Security-Policy"]
    assert "unsafe" not in PAGE_HEADERS["Content-Security-Policy"]
