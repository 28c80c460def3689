"""What the pages of the examples for React and for Vue have in common: a call in a room that can be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.support.examples import Example
    from tests.web.pages import OpenPage

PLAYING = "[...document.querySelectorAll('video')].some((video) => video.videoWidth > 2)"


def assert_pages_call_each_other_and_change_rooms(example: Example, open_page: OpenPage) -> None:
    """Two pages connect, show the camera of each other, and are alone once one of them is elsewhere."""
    ada, bob = (open_page(example.url(name=name)) for name in ("Ada", "Bob"))
    expect(ada.get_by_text("Bob: connected")).to_be_visible()
    expect(bob.get_by_text("Ada: connected")).to_be_visible()
    for page, other in ((ada, bob), (bob, ada)):
        page.get_by_role("button", name="Show my camera").click()
        other.wait_for_function(PLAYING)
    bob.get_by_label("Room").fill("elsewhere")
    bob.get_by_label("Room").press("Tab")
    for page in (ada, bob):
        expect(page.locator("video")).to_have_count(0)
    bob.get_by_label("Room").fill(ada.get_by_label("Room").input_value())
    bob.get_by_label("Room").press("Tab")
    expect(ada.get_by_text("Bob: connected")).to_be_visible()
    bob.wait_for_function(PLAYING)
