"""Pages show the pointers of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.web.pages import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.examples import Example
    from tests.web.pages import OpenPage

EXAMPLE = "cursors"
STANDS = """
([name, left, top]) => [...document.querySelectorAll(".cursor")].some(({textContent, style}) =>
  textContent === name && style.left === left && style.top === top)
"""


def move_until_seen(page: Page, other: Page, name: str) -> None:
    """Move the pointer here and there until the other page shows it there: positions that are lost are not repeated."""
    size = page.viewport_size
    assert size is not None
    for _ in range(int(DEADLINE * 10)):
        page.mouse.move(0, 0)
        page.mouse.move(size["width"] / 4, size["height"] / 2)
        if other.evaluate(STANDS, [name, "25%", "50%"]):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{name} was not shown")


def test_pointers_follow_each_other_and_disappear_with_their_page(example: Example, open_page: OpenPage) -> None:
    ada, bob = (open_page(example.url(name=name)) for name in ("Ada", "Bob"))
    for page, other, name in ((ada, bob, "Ada"), (bob, ada, "Bob")):
        move_until_seen(page, other, name)
    ada.goto("about:blank")
    expect(bob.locator(".cursor")).to_have_count(0)
