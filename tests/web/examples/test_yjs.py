"""Two pages edit one text over the gateway for y-webrtc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.support.examples import Example
    from tests.web.pages import OpenPage

EXAMPLE = "yjs"


def test_two_pages_edit_one_text(example: Example, open_page: OpenPage) -> None:
    pages = [open_page(example.url()) for _ in range(2)]
    first, second = (page.get_by_label("Notes") for page in pages)
    for page in pages:
        expect(page.locator("#others")).to_have_text("1")
    first.press_sequentially("world")
    expect(second).to_have_value("world")
    second.press("Home")
    second.press_sequentially("Hello, ")
    first.press_sequentially("!")  # where it was writing, which the other page has moved, or will
    for area in (first, second):
        expect(area).to_have_value("Hello, world!")
    second.press("End")
    second.press("Backspace")
    expect(first).to_have_value("Hello, world")
