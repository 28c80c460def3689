"""A person in the demo page and an agent on the official SDK talk in one room."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.server import END_DEADLINE
from tests.web.conftest import serving
from tests.web.pages import id_of, rename

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def agent(url: str, room: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """An agent, which must end by itself."""
    command = [sys.executable, "-m", "tests.web.agent", url, room, name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
            assert process.wait(END_DEADLINE) == 0
        finally:
            process.kill()


def test_a_person_and_an_agent_talk_in_one_room(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    with serving(tmp_path, {"MCP_ACTORS_MCP": "true"}) as port:
        site = f"http://127.0.0.1:{port}"
        watch.hosts.add(f"127.0.0.1:{port}")
        ada = open_page(f"{site}/?room=team")
        expect(ada.locator("#chat-log .notice", has_text="You are in room")).to_have_count(1)
        rename(ada, "Ada")
        with agent(f"{site}/mcp", "team", "helper") as helper:
            expect(ada.locator("#chat-log .notice").last).to_have_text("helper joined as an agent.")
            eve = open_page(f"{site}/?room=team")
            expect(eve.locator("#chat-log .notice", has_text="helper is here as an agent.")).to_have_count(1)
            for text in ("Hello <b>helper</b>", "bye"):
                ada.get_by_label("Message").fill(text)
                ada.get_by_label("Message").press("Enter")
                for page in (ada, eve):
                    answer = page.locator("#chat-log .message", has_text=f"You said: {text}")
                    expect(answer.locator(".author")).to_have_text("helper")
            told, _ = helper.communicate(timeout=END_DEADLINE)
        heard = [json.loads(line) for line in told.splitlines()]
        assert [(one["from"], one["content"]) for one in heard] == [
            (id_of(ada), {"name": "Ada", "text": text}) for text in ("Hello <b>helper</b>", "bye")
        ]
        expect(ada.locator("#chat-log .notice", has_text="helper left.")).to_have_count(1)
        for page in (ada, eve):
            page.goto("about:blank")
