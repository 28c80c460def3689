"""The browser client beyond its rate limits: it waits as long as the server demands, and resumes its session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web.conftest import serving
from tests.web.pages import RECORD, STATES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

LIMITS = {
    "MCP_ACTORS_CONNECTION_MESSAGE_RATE": "100",
    "MCP_ACTORS_CONNECTION_MESSAGE_BURST": "100",
    "MCP_ACTORS_MAX_SLOWED_SECONDS": "0.2",
    "MCP_ACTORS_MAX_REFUSED_MESSAGES": "20",
}
FLOOD = """
() => {
  const signals = Array.from({length: 300}, () => mcpActors.parts().room.signal("nobody", 0).catch(({code}) => code));
  globalThis.flooded = Promise.all(signals);
}
"""


def test_a_page_that_floods_is_closed_and_resumes_after_a_pause(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    with serving(tmp_path, LIMITS) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        page = open_page(f"http://127.0.0.1:{port}")
        page.wait_for_function(f"() => {STATES} === 'open,open'")
        page.evaluate(RECORD)
        page.evaluate(FLOOD)
        page.wait_for_function("() => pause")
        assert page.evaluate("pause.code") == 4004
        assert page.evaluate("pause.delay") > 500
        assert set(page.evaluate("flooded")) == {"peer-not-found", "rate-limited"}
        page.wait_for_function(f"() => {STATES} === 'open,open'")
        assert page.evaluate("happened") == []
        page.goto("about:blank")
