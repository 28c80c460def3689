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
    from mcp_actors.adapters.http.static_files import StaticFile
    from mcp_actors.connection.connections import Connections


class Status(Protocol):
    """The broker, as probes see it."""

    @property
    def ready(self) -> bool:
        """Whether rooms can be joined now."""

    def health(self) -> Mapping[str, Any]:
        """Return what operators want to know, as JSON."""


class HealthPage(Page):
    """/healthz: the process is up. Open to any host name, as probes call by address.

    The state of the broker is for observers; see `AdminPolicy`.
    """

    def __init__(self, broker: Status, connections: Connections, policy: AdminPolicy) -> None:
        self._broker = broker
        self._connections = connections
        self._policy = policy

    @property
    def _ready(self) -> bool:
        return self._broker.ready and not self._connections.stopping

    def respond(self, request: Request) -> Response:
        """Say that the process is up, and whether it is ready."""
        details = self._broker.health() if self._policy.is_observer(request) else {}
        return _json(200, {"status": "ok", "ready": self._ready, **details})


class ReadyPage(HealthPage):
    """/readyz: rooms can be joined here, now."""

    def respond(self, request: Request) -> Response:
        """Answer with 200 or 503."""
        return _json(200 if self._ready else 503, {"ready": self._ready})


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
        """Answer with the file, or with 304 if the client has it. Browsers revalidate it each time."""
        file = self._file
        if file is None:
            return text(404, "404: Not Found")
        headers = {**file.headers, **PAGE_HEADERS, "Cache-Control": "no-cache"}
        if _has(request, file):
            del headers["Content-Type"]
            return Response(304, headers)
        return Response(200, headers, file.content)


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
