"""A file goes from one page to another."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.examples import Example
    from tests.web.pages import OpenPage

EXAMPLE = "file-transfer"
SIZE = 3_000_000
"""More than waits for the network at once."""


def test_a_file_arrives_as_it_was(example: Example, open_page: OpenPage, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(SIZE)  # noqa: S311 - no secret
    (tmp_path / "picture.bin").write_bytes(content)
    pages = [open_page(example.url()) for _ in range(2)]
    for page in pages:
        expect(page.locator("#connected")).to_have_text("1")
    for sender, receiver in (pages, reversed(pages)):
        sender.get_by_label("Send to all").set_input_files(tmp_path / "picture.bin")
        link = receiver.get_by_role("link", name="picture.bin")
        with receiver.expect_download() as download:
            link.click()
        assert download.value.suggested_filename == "picture.bin"
        assert download.value.path().read_bytes() == content


def test_an_empty_file_arrives(example: Example, open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    pages = [open_page(example.url(room="another")) for _ in range(2)]
    for page in pages:
        expect(page.locator("#connected")).to_have_text("1")
    pages[0].get_by_label("Send to all").set_input_files(tmp_path / "empty.txt")
    expect(pages[1].get_by_role("link", name="empty.txt")).to_be_visible()
