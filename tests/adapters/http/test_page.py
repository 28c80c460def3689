"""Pages: what they refuse; the contract asks them over HTTP."""

from __future__ import annotations

from mcp_actors.adapters.http.exchange import Request, Response
from mcp_actors.adapters.http.page import Page, is_given_body, too_long


class Plain(Page):
    """A page with nothing of its own."""

    def respond(self, request: Request) -> Response:
        return Response(200)


def test_a_page_takes_no_body_and_is_only_read_unless_it_says_so() -> None:
    assert (Plain().methods, Plain().takes_body) == (("GET", "HEAD"), False)


class Taking(Plain):
    """A page that takes bodies."""

    takes_body = True


def test_the_body_of_a_method_that_only_reads_has_no_meaning() -> None:
    assert [is_given_body(Taking(), method) for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE")] == [
        *[False] * 3,
        *[True] * 2,
    ]
    assert not is_given_body(Plain(), "POST")


def test_a_body_that_is_too_long_is_refused_with_the_setting_to_change() -> None:
    response = too_long(Plain(), 5)
    assert response.status == 413
    assert b"at most 5 bytes here (MCP_ACTORS_MAX_REQUEST_BYTES)" in response.body
