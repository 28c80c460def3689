"""Plain HTTP: the demo page, and whether the server is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tornado.web import HTTPError, StaticFileHandler

from mcp_actors.transports.access import refuse
from mcp_actors.transports.site import PAGE_HEADERS, SafeHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.transports.access import AccessPolicy
    from mcp_actors.transports.connections import Connections


class GuardedHandler(SafeHandler):
    """A handler that applies the Host and Origin rules, and tells browsers of allowed pages so (CORS)."""

    def initialize(self, policy: AccessPolicy) -> None:
        """Take what the route gives."""
        self._policy = policy

    def prepare(self) -> None:
        """Refuse whom the policy refuses; let the pages it allows read the answer."""
        refusal = self._policy.refusal(self.request.headers)
        if refusal is not None:
            refuse(self, 403, refusal)
            return
        self.set_header("Vary", "Origin")
        origin = self.request.headers.get("Origin")
        if origin is not None:
            self.set_header("Access-Control-Allow-Origin", origin)

    def log_exception(self, kind: Any, value: BaseException | None, trace: Any) -> None:
        """Say nothing of requests that are wrong, which Tornado warns of: clients make them, not operators."""
        if not isinstance(value, HTTPError):
            super().log_exception(kind, value, trace)

    def options(self, *_args: str) -> None:
        """Answer a browser's preflight request."""
        self.set_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
        self.set_status(204)


class Reporting(Protocol):
    """The broker, as probes see it."""

    @property
    def ready(self) -> bool:
        """Whether joins can be done now."""

    def health(self) -> Mapping[str, Any]:
        """What an operator may want to know, as JSON."""


class HealthHandler(SafeHandler):
    """/healthz: the process is up and its loop turns. Open to any host name, as probes call by address."""

    def initialize(self, broker: Reporting, connections: Connections) -> None:
        """Take what the route gives."""
        self._broker = broker
        self._connections = connections

    @property
    def _ready(self) -> bool:
        return self._broker.ready and not self._connections.stopping

    def get(self) -> None:
        """Say so, and how it stands with the other nodes."""
        self.set_header("Cache-Control", "no-store")
        self.finish({"status": "ok", "ready": self._ready, **self._broker.health()})

    def head(self) -> None:
        """Say so, without a body."""
        self.get()


class ReadyHandler(HealthHandler):
    """/readyz: joins can be done here, now."""

    def get(self) -> None:
        """Say so, with 200 or 503."""
        self.set_header("Cache-Control", "no-store")
        self.set_status(200 if self._ready else 503)
        self.finish({"ready": self._ready})


class PageHandler(GuardedHandler, StaticFileHandler):
    """The demo page and its modules."""

    def initialize(self, policy: AccessPolicy, **kwargs: Any) -> None:  # type: ignore[override]
        """Take what the route gives."""
        GuardedHandler.initialize(self, policy)
        StaticFileHandler.initialize(self, **kwargs)

    @classmethod
    def get_absolute_path(cls, root: str, path: str) -> str:
        """The file a path means. No file has a NUL in its name, and the system fails on one."""
        if "\0" in path:
            raise HTTPError(404)
        return super().get_absolute_path(root, path)

    def set_extra_headers(self, path: str) -> None:
        """Always ask whether a file is still the same; let the page do what it must, and no more."""
        self.set_header("Cache-Control", "no-cache")
        for name, value in PAGE_HEADERS.items():
            self.set_header(name, value)
