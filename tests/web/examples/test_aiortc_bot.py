"""The bot sends its picture to a page that comes after it, and to one that was there before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support import loopback
from tests.web.pages import a_room, frames_decoded

if TYPE_CHECKING:
    from tests.support.examples import Example
    from tests.web.pages import OpenPage

EXAMPLE = "aiortc-bot"
ENVIRON = {"PYTHONPATH": os.pathsep.join([*loopback.__path__, os.environ.get("PYTHONPATH", "")])}
"""Lets the bot use the loopback, which may be the only network here, and which aioice leaves out on its own."""


def test_a_page_sees_the_bot(example: Example, open_page: OpenPage) -> None:
    page = open_page(f"{example.server}/?room=team-1")
    assert frames_decoded(page, "bot", over=5) > 5


def test_the_bot_calls_a_page_that_was_there_before(example: Example, open_page: OpenPage) -> None:
    path = a_room()
    page = open_page(example.server + path)
    page.wait_for_function("() => globalThis.mcpActors?.parts().call")  # a function: the page allows no eval
    room = path.partition("=")[2]
    with example.running(f"python3 bot.py {example.server} {room}"):
        assert frames_decoded(page, "bot", over=5) > 5
