"""Takes pictures of the demo page in all its states, on windows of five sizes, light and dark.

python -m tests.web.screenshots DIRECTORY [STATE ...]
"""

from __future__ import annotations

import argparse
import html
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.web.conftest import FAKE_CAMERA, FLAGS, find_chromium, serving
from tests.web.scenes import BEFORE, DURING, OPEN, SIZES, STRICT, Studio, resize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from playwright.sync_api import Browser, Page

SCENES = {**BEFORE, **DURING}
SCHEMES = ("light", "dark")
PAGE = """<!doctype html><meta charset="utf-8"><title>The demo page</title>
<style>body{font:14px sans-serif;display:flex;flex-wrap:wrap;gap:16px}
figure{margin:0}img{max-width:420px;max-height:420px}</style>
"""
SETTLING = 300
"""Milliseconds that a page has to arrange itself in a window of another size."""


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("directory", type=Path, help="where to write PNG files and index.html")
    parser.add_argument("states", nargs="*", metavar="STATE", help=f"one of {', '.join(SCENES)}; all by default")
    chosen = parser.parse_args()
    if unknown := set(chosen.states) - set(SCENES):
        parser.error(f"there is no state {', '.join(sorted(unknown))}; choose from {', '.join(SCENES)}")
    take(chosen.directory, chosen.states or SCENES)


def take(directory: Path, states: Iterable[str]) -> None:
    """Write the pictures of these states, and a page that shows them."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = stack.enter_context(serving(folder, OPEN)), stack.enter_context(serving(folder, STRICT))
        driver = stack.enter_context(sync_playwright())
        browser = driver.chromium.launch(executable_path=find_chromium(), args=[*FLAGS, *FAKE_CAMERA])
        stack.callback(browser.close)
        for state in states:
            _take_one(browser, ports, state, directory)
    (directory / "index.html").write_text(_index(directory), encoding="utf-8")


def _take_one(browser: Browser, ports: tuple[int, int], state: str, directory: Path) -> None:
    with ExitStack() as stack:
        width, height = SIZES["desktop"]
        options = {"viewport": {"width": width, "height": height}, "reduced_motion": "reduce"}
        studio = Studio(browser, *ports, filmed=True, options=options, stack=stack)
        page = SCENES[state](studio)
        for name in _variants(page, state):
            file = directory / f"{state}-{name}.png"
            page.screenshot(path=file)
            sys.stdout.write(f"{file}\n")


def _variants(page: Page, state: str) -> Iterator[str]:
    """Show the page in each size and scheme in turn, and name it."""
    for size in SIZES:
        resize(page, size, state)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            page.wait_for_timeout(SETTLING)
            yield f"{size}-{scheme}"


def _index(directory: Path) -> str:
    names = [html.escape(path.stem) for path in sorted(directory.glob("*.png"))]
    return PAGE + "".join(
        f'<figure><img src="{name}.png" alt=""><figcaption>{name}</figcaption></figure>\n' for name in names
    )


if __name__ == "__main__":
    main()
