"""The console in a browser: what operators see of two processes that share rooms, and what they can do there."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bench.ports import free_ports
from tests.support.tokens import OPTIONAL, SECRET, token
from tests.web.conftest import Watch, serving
from tests.web.pages import DEADLINE, wait_until
from tests.web.peer import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import APIResponse, Browser, Locator, Page, Route

    from tests.web.peer import Peer

PHONE = {"width": 390, "height": 844}
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"
STRANGERS_TEXT = "<img src=x onerror=alert(1)>"


class Nodes(NamedTuple):
    """The ports of two processes that share rooms."""

    one: int
    other: int


@pytest.fixture(scope="module")
def nodes(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two processes, which trust this machine."""
    environ = {
        "MCP_ACTORS_REDIS_URL": redis_url,
        "MCP_ACTORS_REDIS_PREFIX": "console",
        "MCP_ACTORS_SECRET_KEY": SECRET,
        "MCP_ACTORS_DRAIN_SECONDS": "0",
    }
    directory = tmp_path_factory.mktemp("nodes")
    with serving(directory, environ) as one, serving(directory, environ) as other:
        yield Nodes(one, other)


@contextmanager
def console(
    chromium: Browser, port: int, watch: Watch | None = None, without: str = "", **options: Any
) -> Iterator[Page]:
    """The console in a browser context of its own, without errors at the end. `without`: a path that is missing."""
    watch = watch or Watch(set())
    watch.hosts.add(f"127.0.0.1:{port}")
    with chromium.new_context(**options) as context:
        context.set_default_timeout(DEADLINE * 1000)
        watch.over(context)
        page = context.new_page()
        if without:
            page.route(f"**{without}", lambda route: route.fulfill(status=404))
        page.goto(f"http://127.0.0.1:{port}/console")
        yield page
    assert watch.complaints == []


@pytest.fixture
def room(nodes: Nodes) -> Iterator[tuple[str, Peer, Peer]]:
    """A room with ana at one process and bob at the other."""
    name = f"room {uuid4().hex[:8]}"
    with connected(nodes.one) as ana, connected(nodes.other) as bob:
        ana.join(name, "ana", name="Ana")
        bob.join(name, "bob")
        yield name, ana, bob


def row(page: Page, name: str) -> Locator:
    """The row of the table of rooms or members whose name is this one."""
    return page.get_by_role("row").filter(
        has=page.get_by_role("rowheader").filter(has_text=re.compile(re.escape(name)))
    )


def test_an_operator_sees_and_moderates_a_room_of_two_processes(
    chromium: Browser, nodes: Nodes, room: tuple[str, Peer, Peer]
) -> None:
    name, ana, bob = room
    with console(chromium, nodes.one) as page:
        expect(page.locator("#status")).to_have_text("Live")
        expect(page.locator("#nodes-body tr")).to_have_count(2)
        expect(row(page, name).get_by_role("cell")).to_have_text(["2", "0", "2", "2"])
        page.get_by_role("link", name=name).click()
        assert page.url.endswith("/console/#/rooms/" + name.replace(" ", "%20"))
        expect(page.locator("#room-summary")).to_have_text("2 peers · 0 user connections · 2 nodes")
        expect(row(page, "ana")).to_contain_text('{"name":"Ana"}')

        page.get_by_role("button", name="Send a message").click()
        page.get_by_label("Message", exact=True).fill("five minutes")
        page.get_by_role("dialog").get_by_role("button", name="Send").click()
        expect(page.locator("#toast")).to_have_text("The message was sent to all members.")
        for peer in (ana, bob):
            assert peer.expect("announcement")["payload"]["content"] == {"text": "five minutes"}

        page.get_by_role("button", name="Message to bob").click()
        page.get_by_label("Message", exact=True).fill('{"level": 3}')
        page.get_by_label("Send as JSON").check()
        page.get_by_role("dialog").get_by_role("button", name="Send").click()
        assert bob.expect("announcement")["payload"]["content"] == {"level": 3}

        page.get_by_role("button", name="Kick bob").click()
        page.get_by_label("Message (optional)").fill("Please be kind.")
        page.get_by_label("Ban", exact=True).select_option("1 hour")
        page.get_by_role("dialog").get_by_role("button", name="Kick").click()
        assert bob.expect("kicked")["payload"]["message"] == "Please be kind."
        expect(page.locator("#toast")).to_have_text("bob was kicked and is banned.")
        expect(page.locator("#members-body tr")).to_have_count(1)
        expect(page.locator("#bans")).to_contain_text("Please be kind.")
        page.get_by_role("button", name="Lift the ban of bob").click()
        expect(page.locator("#bans")).to_be_hidden()

        page.get_by_role("button", name="Lock").click()
        ana.expect("room-locked")
        expect(page.locator("#room-locked")).to_be_visible()
        page.get_by_role("button", name="Unlock").click()
        ana.expect("room-unlocked")
        expect(page.locator("#room-locked")).to_be_hidden()

        page.get_by_role("button", name="Close the room").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#members-body tr")).to_have_count(1)
        page.get_by_role("button", name="Close the room").click()
        page.get_by_role("dialog").get_by_role("button", name="Close the room").click()
        ana.expect("room-closed")
        expect(page.locator("#members-empty")).to_have_text("Nobody is in this room.")


def test_figures_and_charts_follow_what_happens(chromium: Browser, nodes: Nodes, room: tuple[str, Peer, Peer]) -> None:
    name, ana, _ = room
    with console(chromium, nodes.one) as page:
        figure = page.locator(".tile", has=page.get_by_role("heading", name="Messages in"))
        expect(figure.locator(".number")).to_have_text("0")
        for _again in range(50):
            ana.say("signal", name, {"target_peer_id": "nobody", "data": {}})
            ana.expect("error")
        chart = figure.get_by_role("img")
        expect(chart).to_have_attribute("aria-label", re.compile(r"from 0 to \d+ /s in the last two minutes$"))
        expect(page.locator("#breakdown-body")).to_contain_text("error: peer-not-found50")
        assert len(figure.locator(".line").get_attribute("d") or "") > 10


def test_without_metrics_the_console_says_so_and_shows_the_rest(
    chromium: Browser, nodes: Nodes, room: tuple[str, Peer, Peer]
) -> None:
    """As behind a proxy that does not pass on /metrics."""
    with console(chromium, nodes.one, watch=Watch(set(), statuses={404}), without="/metrics") as page:
        expect(page.locator("#no-metrics")).to_be_visible()
        expect(page.locator("#figures")).to_be_hidden()
        expect(row(page, room[0])).to_be_visible()
        expect(page.locator("#server")).to_have_text(re.compile(r"^version \S+ · up "))


def test_rooms_are_searched_paged_and_sorted(chromium: Browser, nodes: Nodes) -> None:
    prefix = f"p{uuid4().hex[:6]}-"
    with ExitStack() as clients, console(chromium, nodes.other) as page:
        peers = [clients.enter_context(connected(nodes.one)) for _ in range(4)]
        for number in range(103):
            peers[number // 30].join(f"{prefix}{number:03}", "p")
        clients.enter_context(connected(nodes.one)).join(f"{prefix}007", "q")
        search = page.get_by_label("Rooms whose names begin with")
        search.fill(prefix)
        expect(page.locator("#rooms-body tr")).to_have_count(100)
        page.get_by_role("button", name="Next").click()
        expect(page.locator("#rooms-body tr")).to_have_count(3)
        page.get_by_role("button", name="Back").click()
        expect(page.locator("#rooms-body tr")).to_have_count(100)
        search.fill(prefix + "00")
        expect(page.locator("#rooms-body tr")).to_have_count(10)
        expect(page.locator("#pager")).to_be_hidden()
        page.get_by_role("button", name="Members").click()
        expect(page.locator("#rooms-body tr").first).to_contain_text(prefix + "007")
        expect(page.get_by_role("columnheader", name="Members")).to_have_attribute("aria-sort", "descending")
        search.fill(prefix + "x")
        expect(page.locator("#rooms-empty")).to_have_text(f"No room has a name that begins with “{prefix}x”.")


def test_the_keyboard_is_enough(chromium: Browser, nodes: Nodes, room: tuple[str, Peer, Peer]) -> None:
    name, _, bob = room
    with console(chromium, nodes.one) as page:
        expect(row(page, name)).to_be_visible()
        press = page.keyboard.press
        press("/")
        page.keyboard.type(name)
        expect(page.locator("#rooms-body tr")).to_have_count(1)
        press("ArrowDown")
        expect(page.get_by_role("link", name=name)).to_be_focused()
        press("Enter")
        expect(page.locator("#room-name")).to_be_focused()
        press("/")
        page.keyboard.type("bo")
        expect(page.locator("#members-body tr")).to_have_count(1)
        press("Tab")
        press("Tab")
        expect(page.get_by_role("button", name="Kick bob")).to_be_focused()
        press("Enter")
        expect(page.get_by_label("Message (optional)")).to_be_focused()
        press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name="Kick bob")).to_be_focused()
        press("Enter")
        page.keyboard.type("Bye")
        press("Enter")
        assert bob.expect("kicked")["payload"]["message"] == "Bye"
        expect(page.locator("#main")).to_be_focused()
        press("Escape")
        expect(page.locator("#overview")).to_be_visible()
        expect(page.get_by_label("Rooms whose names begin with")).to_be_focused()


def test_the_console_is_accessible_and_fits_a_phone(chromium: Browser, nodes: Nodes) -> None:
    """Also with names and metadata of strangers, which are text and not markup."""
    name = f"{STRANGERS_TEXT} {'x' * 80}"
    with connected(nodes.one) as mallory, console(chromium, nodes.one, viewport=PHONE) as page:
        mallory.join(name, "<b>" + "m" * 120, name=STRANGERS_TEXT, much="<script>alert(1)</script>" * 20)
        expect(page.get_by_role("link", name=name)).to_be_visible()
        assert_good(page)
        page.get_by_role("link", name=name).click()
        expect(page.locator("#room-name")).to_have_text(name)
        page.locator("summary").click()
        expect(page.locator("pre")).to_contain_text('"much": "<script>alert(1)</script><script>')
        assert_good(page)
        page.get_by_role("button", name="Kick <b>").click()
        assert_good(page)
        assert page.locator("img").count() == 1  # that of the title


def assert_good(page: Page) -> None:
    """The page has no violations of accessibility rules, light or dark, and is no wider than the window."""
    page.emulate_media(color_scheme="light")
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    assert violations(page, runOnly=["color-contrast"]) == []
    width, window = page.evaluate(WIDTHS)
    assert width <= window


def violations(page: Page, **options: Any) -> list[tuple[str, list[str]]]:
    """The rules of axe-core that the page violates, and the elements that do."""
    found = Axe().run(page, options=options).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def test_an_answer_that_comes_after_the_token_is_forgotten_shows_nothing_again(
    chromium: Browser, tmp_path: Path
) -> None:
    settings = {f"MCP_ACTORS_{key.upper()}": value for key, value in OPTIONAL.items()}
    settings |= {"MCP_ACTORS_CONSOLE": "True", "MCP_ACTORS_ALLOWED_HOSTS": "127.0.0.1"}
    held: list[tuple[Route, APIResponse]] = []
    with (
        serving(tmp_path, settings) as port,
        console(chromium, port, watch=Watch(set(), statuses={401})) as page,
    ):
        field = page.get_by_label("Token with admin")
        expect(field).to_be_focused()
        page.route("**/api/v1/nodes", lambda route: held.append((route, route.fetch())))
        field.fill(token("ops", can=["admin"]))
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("Live")
        wait_until(page, lambda: bool(held), "the answer")
        page.get_by_role("button", name="Forget the token").click()
        expect(page.locator("#main")).to_be_hidden()
        route, answer = held[0]
        route.fulfill(response=answer)
        expect(page.locator("#nodes-body tr")).to_have_count(1)
        expect(page.locator("#status")).to_have_text("No access")
        expect(page.locator("#main")).to_be_hidden()


def test_a_token_is_asked_for_once_and_a_wrong_one_is_explained(chromium: Browser, tmp_path: Path) -> None:
    settings = {f"MCP_ACTORS_{key.upper()}": value for key, value in OPTIONAL.items()}
    watch = Watch(set(), statuses={401, 403})
    with (
        serving(tmp_path, {**settings, "MCP_ACTORS_CONSOLE": "True", "MCP_ACTORS_ALLOWED_HOSTS": "127.0.0.1"}) as port,
        console(chromium, port, watch=watch) as page,
    ):
        dialog, field = page.get_by_role("dialog"), page.get_by_label("Token with admin")
        expect(field).to_be_focused()
        for wrong, why in [
            ("not a token!", "A token consists of letters, digits"),
            ("nonsense", "not signed with a key of this server"),
            (token("eve"), "`can` has `admin`"),
            (token("ops", ttl=-60, can=["admin"]), "expired"),
        ]:
            field.fill(wrong)
            page.keyboard.press("Enter")
            expect(page.locator("#sign-in-reason")).to_contain_text(re.compile(why))
        field.fill(good := token("ops", can=["admin"]))
        page.keyboard.press("Enter")
        expect(page.locator("#rooms-empty")).to_have_text("There are no rooms with members.")
        page.reload()
        expect(page.locator("#status")).to_have_text("Live")
        expect(dialog).to_have_count(0)
        assert good not in page.url
        assert page.evaluate("[document.cookie, localStorage.length, Object.keys(sessionStorage)]") == [
            "",
            0,
            ["mcp_actors.console.token"],
        ]
        page.get_by_role("button", name="Forget the token").click()
        expect(field).to_be_focused()
        expect(page.locator("#main")).to_be_hidden()
        assert page.evaluate("sessionStorage.length") == 0


def test_the_console_goes_on_when_the_server_was_restarted(chromium: Browser, tmp_path: Path) -> None:
    port = free_ports()
    with (
        ExitStack() as server,
        console(chromium, port_of(server, tmp_path, port), watch=Watch(set(), server_may_be_away=True)) as page,
    ):
        expect(page.locator("#status")).to_have_text("Live")
        server.pop_all().close()
        expect(page.locator("#status")).to_have_text("Not connected")
        expect(page.locator("#problem")).to_have_text("The server cannot be reached. Trying again.")
        port_of(server, tmp_path, port)
        expect(page.locator("#status")).to_have_text("Live")
        expect(page.locator("#problem")).to_be_hidden()
        with connected(port) as peer:
            peer.join("r", "p")
            expect(page.get_by_role("link", name="r", exact=True)).to_be_visible()
        server.close()


def port_of(stack: ExitStack, directory: Path, port: int) -> int:
    """Run a server until the stack is closed, and return its port."""
    return stack.enter_context(serving(directory, port=port))
