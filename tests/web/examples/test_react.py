"""A call with the hook for React."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web.examples.call_page import assert_pages_call_each_other_and_change_rooms

if TYPE_CHECKING:
    from tests.support.examples import Example
    from tests.web.pages import OpenPage

EXAMPLE = "react"


def test_pages_call_each_other_and_change_rooms(example: Example, open_page: OpenPage) -> None:
    assert_pages_call_each_other_and_change_rooms(example, open_page)
