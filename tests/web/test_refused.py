"""What a page learns when its handshake is refused with a close frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.conftest import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

CONNECT = """
(url) => new Promise((done) => {
  const socket = new WebSocket(url, ["mcp-actors", "mcp-actors.token.x"]);
  const told = [];
  socket.onopen = () => { told.push("open"); socket.send("{}"); };
  socket.onclose = ({code, reason, wasClean}) => done([...told, code, reason, wasClean]);
})
"""


@pytest.mark.parametrize(("origins", "allowed"), [("https://app.example", False), ("null", True)])
def test_a_page_without_an_origin_is_told_that_it_may_not_connect(
    open_page: OpenPage, watch: Watch, tmp_path: Path, origins: str, allowed: bool
) -> None:
    environ = {
        "CORS_ALLOWED_ORIGINS": origins,
        "MCP_ACTORS_REFUSE_WITH_CLOSE": "True",
        "MCP_ACTORS_MAX_BAD_MESSAGES": "1",
    }
    file = tmp_path / "page.html"
    file.write_text("<!doctype html><title>A page from a file</title>")
    with serving(tmp_path, environ) as port:
        watch.hosts |= {f"127.0.0.1:{port}", ""}
        page = open_page(file.as_uri())
        opened, code, reason, clean = page.evaluate(CONNECT, f"ws://127.0.0.1:{port}/ws/signaling/")
        assert (opened, clean) == ("open", True)
        if allowed:
            assert (code, reason) == (4500, "bad-message")
        else:
            assert code == 4506
            assert reason.startswith("forbidden: Pages of 'null' may not use this server")
