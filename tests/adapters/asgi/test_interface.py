"""The headers of a scope."""

from __future__ import annotations

from mcp_actors.adapters.asgi.interface import Headers


def test_headers_are_found_in_any_case() -> None:
    headers = Headers([(b"host", b"a"), (b"X-Real-IP", b"192.0.2.1")])
    assert (headers["Host"], headers["x-real-ip"]) == ("a", "192.0.2.1")
    assert "HOST" in headers
    assert headers.get("Origin") is None
    assert len(list(headers)) == len(headers) == 2


def test_several_headers_of_one_name_count_as_a_list() -> None:
    assert Headers([(b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b")])["X-Forwarded-For"] == "a,b"


def test_the_host_of_a_target_replaces_that_of_the_headers() -> None:
    headers = Headers([(b"host", b"a"), (b"via", b"b")])
    assert dict(headers.with_host("c")) == {"host": "c", "via": "b"}
    assert headers["Host"] == "a"
