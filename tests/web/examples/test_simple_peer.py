"""Two pages with simple-peer, over one process and over two: data, with and without trickle, and a camera later."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from mcp_actors.auth.secret import make
from tests.web.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

    from tests.support.examples import Example
    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

EXAMPLE = "simple-peer"
PLAYING = "[...document.querySelectorAll('video')].some((video) => video.videoWidth > 0)"


@pytest.fixture(scope="module", params=[1, 2], ids=["one process", "two processes"])
def servers(request: pytest.FixtureRequest, example: Example) -> Iterator[list[str]]:
    """The addresses of two pages' servers; with one process they are the same."""
    if request.param == 1:
        yield [example.server] * 2
        return
    shared = {
        "REDIS_URL": request.getfixturevalue("redis_url"),
        "MCP_ACTORS_REDIS_PREFIX": f"simple-peer-{uuid4().hex}",
        "MCP_ACTORS_SECRET_KEY": make(),
    }
    with ExitStack() as running:
        yield [f"http://127.0.0.1:{running.enter_context(serving(example.folder, shared))}" for _ in range(2)]


def signals_of(page: Page) -> list[Any]:
    """What the page sends to other pages from now on, which is the data of its signals."""
    found: list[Any] = []

    def sent(frame: str) -> None:
        message = json.loads(frame)
        if message["type"] == "signal":
            found.append(message["payload"]["data"])

    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent(str(frame))))
    return found


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send", exact=True).click()


@pytest.mark.parametrize("trickle", ["on", "off"])
def test_two_pages_talk_and_add_their_cameras_later(
    example: Example, servers: list[str], trickle: str, open_page: OpenPage, watch: Watch
) -> None:
    watch.hosts |= {urlsplit(url).netloc for url in servers}
    room, sent = uuid4().hex, []
    pages = []
    for server in servers:
        url = example.url(server, room=room, trickle=trickle)
        pages.append(open_page(url, websockets=lambda page: sent.append(signals_of(page))))
        expect(pages[-1].get_by_text("joined")).to_be_visible()
    first, second = pages
    for page in pages:
        expect(page.get_by_text("connected")).to_be_visible()
    say(first, "hello")
    expect(second.get_by_text("they: hello")).to_be_visible()
    say(second, "hi")
    expect(first.get_by_text("they: hi")).to_be_visible()
    initial = [{data["type"] for data in of} for of in sent]
    assert initial == (
        [{"answer", "candidate"}, {"offer", "candidate"}] if trickle == "on" else [{"answer"}, {"offer"}]
    )

    for page, other in ((first, second), (second, first)):
        page.get_by_role("button", name="Send my camera").click()
        other.wait_for_function(PLAYING)
    assert {"renegotiate", "transceiverRequest"} <= {data["type"] for data in sent[0]}  # the first one may not offer
