"""The pages made of files: the browser client, the demo page and the console."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_actors.adapters.http.console import FOLDER as CONSOLE
from mcp_actors.adapters.http.console import console_pages
from mcp_actors.adapters.http.pages import AbsentPage, FilePage
from mcp_actors.adapters.http.static_files import read_files
from mcp_actors.gateway_setup import announced_gateways

if TYPE_CHECKING:
    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.site import Route
    from mcp_actors.settings import Settings

WEB = Path(str(files("mcp_actors") / "web"))
"""The browser client and the demo page, and the console in a folder."""

DEMO = "/demo/"
"""The folder of the demo page; the page itself is beside it."""

SWITCHED_OFF = "This is a WebRTC signaling server. Its demo page is switched off (MCP_ACTORS_DEMO)."


def client_pages(settings: Settings, policy: OriginPolicy) -> dict[str, Route]:
    """Return what browsers of clients load: the client and, unless it is switched off, the demo page."""
    gateways = announced_gateways(settings.gateways)
    found = {path: file for path, file in read_files(WEB).items() if not path.startswith(f"{CONSOLE}/")}
    pages: dict[str, Route] = {path: FilePage(policy, file.with_gateways(gateways)) for path, file in found.items()}
    return pages if settings.http.demo else _without_demo(pages)


def _without_demo(pages: dict[str, Route]) -> dict[str, Route]:
    kept = {path: page for path, page in pages.items() if path != "/index.html" and not path.startswith(DEMO)}
    return {**kept, "/": AbsentPage(SWITCHED_OFF)}


def operator_console(settings: Settings, policy: AdminPolicy, hosts: OriginPolicy) -> dict[str, Route]:
    """Return the pages of the console. `hosts`: the rules for those who may not see it."""
    public = policy.has_own_port or settings.http.console
    return {**console_pages(read_files(WEB / CONSOLE[1:]), policy, FilePage(hosts, None), public=public)}
