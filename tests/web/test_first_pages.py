"""The pages that newcomers write first: that of the quickstart, and the client in README.md."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.docs.pages import DOCS, ROOT, blocks, commands
from tests.support.examples import Example

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

CALL_PAGE = DOCS / "quickstart" / "call.md"
PROTOCOL = ROOT / "mcp_actors" / "protocol" / "PROTOCOL.md"
SERVE_FILES = next(line for line in commands(CALL_PAGE) if "http.server" in line)


@pytest.fixture
def served(tmp_path: Path, watch: Watch) -> Iterator[Example]:
    """A folder that is served as the quickstart says, beside a signaling server."""
    example = Example(tmp_path, {})
    with ExitStack() as running:
        example.take("mcp-actors serve &", running)
        example.take(SERVE_FILES, running)
        watch.hosts |= example.addresses
        yield example


def write(example: Example, html: str) -> str:
    """Write the page; return its address."""
    (example.folder / "index.html").write_text(html.replace("http://localhost:8000", example.server))
    return f"{example.page}/"


def test_visitors_of_the_page_of_the_quickstart_see_each_other(served: Example, open_page: OpenPage) -> None:
    [html] = [block.text for block in blocks(CALL_PAGE) if block.language == "html"]
    address = write(served, html)
    pages = [open_page(address) for _ in range(2)]
    for page in pages:
        expect(page.locator("#state")).to_have_text("In a call with 1: connected")
        expect(page.locator("video")).to_have_count(1)
        page.wait_for_function("() => document.querySelector('video').videoWidth > 0")
    pages[0].close()
    expect(pages[1].locator("#state")).to_have_text("In a call with 0: ")


def test_visitors_of_the_minimal_client_of_the_protocol_see_each_other(served: Example, open_page: OpenPage) -> None:
    program = next(block.text for block in blocks(PROTOCOL) if block.language == "js")
    here = program.replace("ws://localhost:8000", served.server.replace("http", "ws"))
    address = write(served, f'<body></body><script type="module">{here}</script>')
    pages = []
    for number in range(3):
        pages.append(open_page(address))
        for page in pages:
            expect(page.locator("video")).to_have_count(number)
    for page in pages:
        page.wait_for_function("() => [...document.querySelectorAll('video')].every((one) => one.videoWidth > 0)")
    pages[0].close()
    for page in pages[1:]:
        expect(page.locator("video")).to_have_count(1)


def test_the_client_in_the_readme_says_hello(served: Example, open_page: OpenPage) -> None:
    [program] = [block.text for block in blocks(ROOT / "README.md") if block.language == "js"]
    address = write(served, f'<script type="module">{program}</script>')
    first = open_page(address)
    with first.expect_console_message(lambda message: message.text.endswith(" Hello!")):
        open_page(address)
