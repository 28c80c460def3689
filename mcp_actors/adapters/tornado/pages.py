"""Plain HTTP: the demo page, health and readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from mcp_actors.adapters.tornado.origin_policy import refuse
from mcp_actors.adapters.tornado.web_app import PAGE_HEADERS, SafeHandler
from mcp_actors.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_actors.adapters.tornado.origin_policy import OriginPolicy
    from mcp_actors.adapters.tornado.static_files import StaticFile
    from mcp_actors.connection.connections import Connections


class Status(Protocol):
    """The broker, as probes see it."""

    @property
    def ready(self) -> bool:
        """Whether rooms can be joined now."""

    def health(self) -> Mapping[str, Any]:
        """Return what operators want to know, as JSON."""


PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""Headers of which a proxy sets at least one."""


class HealthHandler(SafeHandler):
    """/healthz: the process is up. Open to any host name, as probes call by address.

    The state of the broker is for operators on this machine: requests from a loopback address, under a name of this
    machine, that came through no proxy.
    """

    def initialize(self, broker: Status, connections: Connections) -> None:
        """Take what the route gives."""
        self._broker = broker
        self._connections = connections

    @property
    def _ready(self) -> bool:
        return self._broker.ready and not self._connections.stopping

    @property
    def _for_operator(self) -> bool:
        request = self.request
        local = is_loopback(str(request.remote_ip)) and is_loopback(request.host_name)
        return local and not any(name in request.headers for name in PROXY_HEADERS)

    def get(self) -> None:
        """Say that the process is up, and whether it is ready."""
        self.set_header("Cache-Control", "no-store")
        self.finish({"status": "ok", "ready": self._ready, **(self._broker.health() if self._for_operator else {})})

    def head(self) -> None:
        """Answer without a body."""
        self.get()


class ReadyHandler(HealthHandler):
    """/readyz: rooms can be joined here, now."""

    def get(self) -> None:
        """Answer with 200 or 503."""
        self.set_header("Cache-Control", "no-store")
        self.set_status(200 if self._ready else 503)
        self.finish({"ready": self._ready})


class PageHandler(SafeHandler):
    """A file of the demo page, for browsers that the Host and Origin rules allow. `file`: None for an unknown path."""

    methods = ("GET", "HEAD", "OPTIONS")

    def initialize(self, policy: OriginPolicy, file: StaticFile | None) -> None:
        """Take what the route gives."""
        self._policy = policy
        self._file = file

    def prepare(self) -> None:
        """Refuse what the rules do not allow, and let allowed pages of other origins read the answer (CORS)."""
        headers = self.request.headers
        refusal = self._policy.refusal(headers)
        if refusal is not None:
            refuse(self, 403, refusal)
            return
        self.set_header("Vary", "Origin")
        if "Origin" in headers:
            self.set_header("Access-Control-Allow-Origin", headers["Origin"])

    def options(self) -> None:
        """Answer the preflight request of a browser."""
        methods = ", ".join(self.methods)
        self.set_header("Access-Control-Allow-Methods", methods)
        self.set_header("Allow", methods)
        self.set_status(204)

    def get(self) -> None:
        """Answer with the file, or with 304 if the client has it. Browsers revalidate it each time."""
        file = self._file
        if file is None:
            self.send_error(404)
            return
        for headers in (file.headers, PAGE_HEADERS):
            for name, value in headers.items():
                self.set_header(name, value)
        self.set_header("Cache-Control", "no-cache")
        if self._has(file):
            self.set_status(304)
        else:
            self.write(file.content)

    def head(self) -> None:
        """Answer without the file."""
        self.get()

    def _has(self, file: StaticFile) -> bool:
        """Whether the client has the file (RFC 9110, section 13.2.2)."""
        headers = self.request.headers
        if "If-None-Match" in headers:
            known = headers["If-None-Match"]
            return known.strip() == "*" or file.etag in known  # a weak one contains the same
        return headers.get("If-Modified-Since") == file.headers["Last-Modified"]
