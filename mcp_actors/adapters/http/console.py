"""The console: a page for operators, which shows what the admin API and the metrics of this server say."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mcp_actors.adapters.http.admin_policy import is_from_this_machine
from mcp_actors.adapters.http.exchange import text
from mcp_actors.adapters.http.mount import to_folder
from mcp_actors.adapters.http.page import Page
from mcp_actors.adapters.http.pages import FilePage, serve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.adapters.http.exchange import Request, Response
    from mcp_actors.adapters.http.static_files import StaticFile

FOLDER = "/console"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex",
}
"""Headers of the console's files: it runs only its own scripts, makes no markup of text, and asks no other server."""


class ConsolePage(Page):
    """A file of the console. It holds no secret, and a browser sends no token as it opens a page.

    If it is `public`, it is for everybody; otherwise for requests from this machine, and strangers get the response of
    `missing`, as for unknown paths. `file`: None for the path of the folder without its slash. Pages of other origins
    may link to the console, but cannot read or frame it.
    """

    methods: ClassVar[tuple[str, ...]] = FilePage.methods  # a stranger notices no difference to an unknown path

    def __init__(self, policy: AdminPolicy, file: StaticFile | None, missing: FilePage, *, public: bool) -> None:
        self._policy = policy
        self._file = file
        self._missing = missing
        self._public = public

    def respond(self, request: Request) -> Response:
        """Serve the file, or send the browser to the folder."""
        visible = self._public or is_from_this_machine(request)
        if request.method == "OPTIONS" or not visible:
            return self._missing.respond(request)
        refusal = self._policy.host_refusal(request.headers)
        if refusal is not None:
            return text(403, refusal)
        return to_folder(FOLDER, "") if self._file is None else serve(request, self._file, HEADERS)


def console_pages(
    files: Mapping[str, StaticFile], policy: AdminPolicy, missing: FilePage, *, public: bool
) -> dict[str, ConsolePage]:
    """Return the pages of the console by their paths. `files`: by their paths in its folder, such as `/console.js`."""
    found: dict[str, StaticFile | None] = {FOLDER: None, **{FOLDER + path: file for path, file in files.items()}}
    return {path: ConsolePage(policy, file, missing, public=public) for path, file in found.items()}
