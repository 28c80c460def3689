"""The site below a prefix of a Tornado application."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tornado.routing import Router

from mcp_actors.adapters.http.mount import below, to_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest

    from mcp_actors.adapters.tornado.web_app import WebApp


class MountedSite(Router):
    """Routes the requests below a prefix to the application that `find` returns, as paths without the prefix."""

    def __init__(self, prefix: str, find: Callable[[], WebApp]) -> None:
        self._prefix = prefix
        self._find = find

    def find_handler(self, request: HTTPServerRequest, **_kwargs: Any) -> Any:
        """Return the handler of a request."""
        path = below(self._prefix, request.path)
        if path:
            request.path = path
            return self._find().find_handler(request)
        return self._find().respond(request, to_folder(self._prefix, request.query))
