"""The pages: files of the demo page, health and readiness."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mcp_actors.adapters.http.exchange import PAGE_HEADERS, Response, text
from mcp_actors.adapters.http.page import Page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from mcp_actors.adapters.http.exchange import Request
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.adapters.http.readiness import Readiness
    from mcp_actors.adapters.http.static_files import StaticFile


class Status(Protocol):
    """The broker, as an operator sees it."""

    def health(self) -> Mapping[str, Any]:
        """Return what operators want to know, as JSON."""


class HealthPage(Page):
    """/healthz: the process is up, and its event loop turns. Open to any host name, as probes call by address.

    The rest is for observers; see `AdminPolicy`.
    """

    def __init__(self, broker: Status, readiness: Readiness, policy: AdminPolicy) -> None:
        self._broker = broker
        self._readiness = readiness
        self._policy = policy

    def respond(self, request: Request) -> Response:
        """Say that the process is up, and tell an observer more."""
        is_observer = self._policy.is_observer(request)
        details = {**_ready(self._readiness), **self._broker.health()} if is_observer else {}
        return _json(200, {"status": "ok", **details})


class ReadyPage(Page):
    """/readyz: rooms can be joined here, now; or the reason why not."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def respond(self, request: Request) -> Response:
        """Answer with 200 or 503."""
        return _json(200 if self._readiness.problem is None else 503, _ready(self._readiness))


class AbsentPage(Page):
    """A path that is served only if it is turned on; says how."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def respond(self, request: Request) -> Response:
        """Say so."""
        return text(404, self._reason)


class FilePage(Page):
    """A file of the demo page, for browsers that the Host and Origin rules allow. `file`: None for an unknown path."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "OPTIONS")

    def __init__(self, policy: OriginPolicy, file: StaticFile | None) -> None:
        self._policy = policy
        self._file = file

    def respond(self, request: Request) -> Response:
        """Refuse what the rules do not allow, and let allowed pages of other origins read the response (CORS)."""
        refusal = self._policy.refusal(request.headers)
        if refusal is not None:
            return text(403, refusal)
        cors = {"Vary": "Origin"}
        if "Origin" in request.headers:
            cors["Access-Control-Allow-Origin"] = request.headers["Origin"]
        found = self._options() if request.method == "OPTIONS" else self._get(request)
        return found._replace(headers={**found.headers, **cors})

    def _options(self) -> Response:
        """Answer the preflight request of a browser."""
        methods = ", ".join(self.methods)
        return Response(204, {"Access-Control-Allow-Methods": methods, "Allow": methods})

    def _get(self, request: Request) -> Response:
        return text(404, "404: Not Found") if self._file is None else serve(request, self._file, PAGE_HEADERS)


def serve(request: Request, file: StaticFile, page_headers: Mapping[str, str]) -> Response:
    """Return a file, or 304 if the client has it. Browsers revalidate it each time."""
    headers = {**file.headers, **page_headers, "Cache-Control": "no-cache"}
    if _has(request, file):
        del headers["Content-Type"]
        return Response(304, headers)
    return Response(200, headers, file.content)


def _ready(readiness: Readiness) -> dict[str, Any]:
    problem = readiness.problem
    return {"ready": True} if problem is None else {"ready": False, "reason": problem}


def _json(status: int, content: Mapping[str, Any]) -> Response:
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return Response(status, headers, json.dumps(content).encode())


def _has(request: Request, file: StaticFile) -> bool:
    """Whether the client has the file (RFC 9110, section 13.2.2)."""
    headers = request.headers
    if "If-None-Match" in headers:
        known = headers["If-None-Match"]
        return known.strip() == "*" or file.etag in known  # a weak one contains the same
    return headers.get("If-Modified-Since") == file.headers["Last-Modified"]
