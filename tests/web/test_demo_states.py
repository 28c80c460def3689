"""The demo page in all its states: accessible, in order on windows of all sizes, and without errors."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.web.conftest import serving
from tests.web.scenes import BEFORE, DURING, OPEN, SIZES, STRICT, Studio, resize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

# Sets the problems of the layout against each other: what lies outside, overlaps, or has lost its shape.
INSPECT = """
() => {
  const boxOf = (element) => element.getBoundingClientRect();
  const visible = (element) => element.checkVisibility() && boxOf(element).width > 0;
  const beside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1;
  const within = (a, b) => beside(a, b) && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const apart = (a, b) => Math.max(a.left - b.right, b.left - a.right, a.top - b.bottom, b.top - a.bottom) >= -1;
  const screen = {left: 0, top: 0, right: innerWidth, bottom: innerHeight};
  const problems = [];
  const check = (good, what, element) => good || problems.push(`${what}: ${element.id || element.className}`);
  check(document.documentElement.scrollWidth <= innerWidth, "wider than the window", document.body);
  for (const list of [...document.querySelectorAll(".tiles")].filter(visible)) {
    const tiles = [...list.querySelectorAll(":scope > .tile")];
    const scrolls = list.dataset.scrolls === "true";
    check(within(boxOf(list), screen), "outside of the window", list);
    tiles.forEach((tile, index) => {
      const box = boxOf(tile);
      check(scrolls ? beside(box, boxOf(list)) : within(box, boxOf(list)), "a tile outside of its list", list);
      check(Math.abs(box.width / box.height - 16 / 9) < 0.05, "a tile without its shape", list);
      check(box.width >= 100, "a tile too small", list);
      for (const other of tiles.slice(0, index)) check(apart(box, boxOf(other)), "tiles overlap", list);
      for (const label of [...tile.querySelectorAll(".caption > *")].filter(visible)) {
        check(within(boxOf(label), box), "a label outside of its tile", label);
      }
    });
  }
  for (const button of [...document.querySelectorAll(".controls button, .top > *")].filter(visible)) {
    check(within(boxOf(button), screen), "outside of the window", button);
  }
  return [...new Set(problems)];
}
"""


LIGHT = {"kicked", "server-down", "chat", "locked", "removing", "reconnecting", "offer-refused"}
"""The states with all the colours, which are inspected in light, too; all are in dark."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of a server that lets everybody in, and of one that refuses."""
    directory = tmp_path_factory.mktemp("demo")
    with serving(directory, OPEN) as everybody, serving(directory, STRICT) as few:
        yield everybody, few


@pytest.fixture
def studio(chromium: Browser, servers: tuple[int, int]) -> Iterator[Studio]:
    """Where a scene is set up."""
    with ExitStack() as stack:
        yield Studio(chromium, *servers, options={"reduced_motion": "reduce"}, stack=stack)


def violations(page: Page, **options: Any) -> list[tuple[str, list[str]]]:
    """The rules of axe-core that the page violates, and the elements that do."""
    found = Axe().run(page, options=options).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


@pytest.mark.parametrize("state", [*BEFORE, *DURING])
def test_each_state_is_accessible_and_fits_all_windows(studio: Studio, state: str) -> None:
    page = {**BEFORE, **DURING}[state](studio)
    for size in SIZES:
        resize(page, size, state)
        assert page.evaluate(INSPECT) == [], size
        if size == "desktop" and state in LIGHT:
            assert violations(page) == []
        if size == "phone":
            page.emulate_media(color_scheme="dark", reduced_motion="reduce")
            assert violations(page) == []
