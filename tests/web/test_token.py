"""The browser client and the demo page with access tokens, which they renew before or after they expire."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from playwright.sync_api import expect

from tests.support.tokens import REQUIRED, token
from tests.web.conftest import serving
from tests.web.pages import frames_decoded, id_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.web.conftest import Watch
    from tests.web.pages import OpenPage

LIFETIME = 8
"""Seconds until a token expires, where a test waits for that."""

SETTINGS = {f"MCP_ACTORS_{name.upper()}": value for name, value in REQUIRED.items()}


def page_of(port: int, sub: str, room: str, **claims: Any) -> str:
    """The address of the demo page, with a token."""
    return f"http://127.0.0.1:{port}/?{urlencode({'room': room, 'token': token(sub, **claims)})}"


def test_the_demo_page_takes_the_token_out_of_its_address(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    with serving(tmp_path, SETTINGS) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        ada, zoe = pages = [open_page(page_of(port, sub, "team-1", rooms=["team-*"])) for sub in ("ada", "Zoë ✓")]
        assert [id_of(page) for page in pages] == ["ada", "Zoë ✓"]
        for one, other in permutations(pages):
            assert frames_decoded(one, id_of(other)) > 0
        ada.locator("#chat-input").fill("Hello")
        ada.locator("#chat-send").click()
        expect(zoe.locator("#chat-log .text").filter(has_text="Hello")).to_be_visible()
        expect(zoe.locator("#roster")).to_contain_text("ada")
        assert urlsplit(ada.url).query == "room=team-1"
        ada.reload()
        assert frames_decoded(ada, "Zoë ✓") > 0
        assert id_of(ada) == "ada"
        ada.locator("#leave").click()
        ada.locator("#room-input").fill("staff")
        ada.locator("#join-button").click()
        expect(ada.locator("#join-problem")).to_have_text("Your access token does not let you into the room “staff”.")
        for page in pages:
            page.goto("about:blank")


def test_the_demo_page_asks_for_a_token_if_one_is_required(open_page: OpenPage, watch: Watch, tmp_path: Path) -> None:
    with serving(tmp_path, SETTINGS) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        page = open_page(f"http://127.0.0.1:{port}/?room=team-1")
        field, problem = page.locator("#token-input"), page.locator("#join-problem")
        expect(problem).to_contain_text("with an access token only")
        expect(field).to_be_focused()
        field.fill("not a token")
        field.press("Enter")
        expect(problem).to_contain_text("with an access token only")  # the input is invalid and was not used
        for refused, why in (("no.such.token", "did not accept"), (token("ada", ttl=-60), "has expired")):
            with page.expect_navigation():
                field.fill(refused)
                field.press("Enter")
            expect(problem).to_contain_text(why)
            expect(field).to_be_visible()
        good = token("ada", rooms=["team-*"])
        field.fill(f" {good} ")
        field.press("Enter")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        expect(field).to_be_hidden()
        assert id_of(page) == "ada"
        assert urlsplit(page.url).query == "room=team-1"
        assert good not in page.content()
        page.goto("about:blank")


NO_STORAGE = "Object.defineProperty(globalThis, 'sessionStorage', {get() { throw new DOMException('forbidden'); }});"


def test_a_demo_page_without_storage_says_that_it_cannot_keep_a_token(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    with serving(tmp_path, SETTINGS) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        page = open_page(f"http://127.0.0.1:{port}/", init_script=NO_STORAGE)
        page.locator("#token-input").fill(token("ada"))
        page.locator("#token-input").press("Enter")
        expect(page.locator("#toast")).to_contain_text("cannot keep a token")
        page.goto("about:blank")


def test_the_demo_page_asks_for_a_new_token_when_its_own_has_expired(
    open_page: OpenPage, watch: Watch, tmp_path: Path
) -> None:
    with serving(tmp_path, SETTINGS | {"MCP_ACTORS_AUTH_LEEWAY": "0"}) as port:
        watch.hosts.add(f"127.0.0.1:{port}")
        page = open_page(page_of(port, "ada", "team-1", ttl=LIFETIME))
        expect(page.locator("#join-problem")).to_contain_text("has expired")
        page.locator("#token-input").fill(token("ada"))
        page.locator("#token-input").press("Enter")
        expect(page.locator("#status")).to_have_attribute("data-state", "open")
        page.goto("about:blank")
