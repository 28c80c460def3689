"""The rules of the pages for operators: who may read metrics, and who may use the admin API."""

from __future__ import annotations

import ipaddress
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import structlog

from mcp_actors.adapters.http.endpoint_route import BEARER
from mcp_actors.adapters.http.exchange import text
from mcp_actors.adapters.http.origin_policy import MAX_ORIGIN, host_name
from mcp_actors.auth.grants import Permission
from mcp_actors.loopback import is_loopback
from mcp_actors.origins import sent_origin
from mcp_actors.protocol.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp_actors.adapters.http.exchange import Request, Response
    from mcp_actors.adapters.http.origin_policy import OriginPolicy
    from mcp_actors.auth.grants import Grant

log = structlog.get_logger("mcp_actors.admin")

PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""Headers of which a proxy sets at least one."""

LOCAL_OPERATOR = "operator on this machine"
"""The name of an operator without a token."""

REALM = 'Bearer realm="mcp_actors"'

OPERATORS_ONLY = "This is for operators: send a token whose `can` has `admin`, as in Authorization: Bearer <token>."
WITHOUT_TOKENS = (
    "This is for operators. This server takes no tokens (MCP_ACTORS_AUTH is off), so ask from the machine that it runs"
    " on and, if it may be behind a proxy, on MCP_ACTORS_ADMIN_PORT."
)
BEHIND_PROXY = (
    "This server may be behind a proxy, which would make all requests seem to come from this machine: send a token"
    " whose `can` has `admin`, or set MCP_ACTORS_ADMIN_PORT and ask there."
)
FOREIGN_PAGE = "Pages of other origins may not use what is for operators."


class Operator(NamedTuple):
    """The operator who sends a request: the `sub` of its token, or `LOCAL_OPERATOR`."""

    name: str
    address: str


class Denied(Exception):
    """A request that is not of an operator; `str(error)` says why, and what to do."""

    def __init__(self, status: HTTPStatus, reason: str, challenge: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.headers = {"WWW-Authenticate": challenge} if challenge else {}


class AdminPolicy:
    """Observers read metrics and the details of health; operators use the admin API and the console.

    Both are whoever has a token with `admin`. A request from this machine is an observer's, too, and an operator's if
    `trusts_this_machine`: not where a proxy may be in front that passes strangers on as if they were here. If the pages
    have a port of their own (`has_own_port`), whoever reaches it is an observer.

    `verify` returns what an access token grants, or raises `Unauthorized`; None if the server takes no tokens. `hosts`
    has the rules of the header `Host`. A web page of another origin is refused, whoever has it open.
    """

    def __init__(
        self,
        verify: Callable[[str], Grant] | None,
        hosts: OriginPolicy,
        *,
        trusts_this_machine: bool,
        has_own_port: bool = False,
    ) -> None:
        self._verify = verify
        self._hosts = hosts
        self._trusts_this_machine = trusts_this_machine
        self._has_own_port = has_own_port

    @property
    def has_own_port(self) -> bool:
        """Whether the pages have a port of their own."""
        return self._has_own_port

    def is_observer(self, request: Request) -> bool:
        """Whether a request is an observer's."""
        try:
            self.check_observer(request)
        except Denied:
            return False
        return True

    def check_observer(self, request: Request) -> None:
        """Raise `Denied` unless a request is an observer's."""
        if self._has_own_port:
            self._check_page(request.headers)
        elif not is_from_this_machine(request):
            self._token_holder(request)

    def check_operator(self, request: Request) -> Operator:
        """Return the operator who sends a request. Raises `Denied`."""
        self._check_page(request.headers)
        has_token = "Authorization" in request.headers
        if self._trusts_this_machine and not has_token and is_from_this_machine(request):
            return Operator(LOCAL_OPERATOR, request.address)
        return Operator(self._token_holder(request), request.address)

    def host_refusal(self, headers: Mapping[str, str]) -> str | None:
        """Return why the pages may not be asked for under the name that a request has, or None."""
        host = headers.get("Host", "")
        return None if self._has_own_port and _is_address(host) else self._hosts.host_refusal(host)

    def _check_page(self, headers: Mapping[str, str]) -> None:
        """Refuse what a web page sends from elsewhere, also under a name that it has made this machine's."""
        problem = self.host_refusal(headers)
        if problem is None and _is_of_foreign_page(headers, headers.get("Host", "")):
            problem = FOREIGN_PAGE
        if problem is not None:
            raise Denied(HTTPStatus.FORBIDDEN, problem)

    def _token_holder(self, request: Request) -> str:
        """Return the `sub` of the token of a request. Raises `Denied`."""
        if self._verify is None:
            raise Denied(HTTPStatus.FORBIDDEN, WITHOUT_TOKENS)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != BEARER:
            reason = BEHIND_PROXY if is_from_this_machine(request) else OPERATORS_ONLY
            raise Denied(HTTPStatus.UNAUTHORIZED, reason, REALM)
        try:
            grant = self._verify(token.strip())
        except Unauthorized as error:
            log.info("admin token refused", reason=str(error), address=request.address)
            raise Denied(HTTPStatus.UNAUTHORIZED, str(error), f'{REALM}, error="invalid_token"') from None
        if Permission.ADMIN not in grant.can:
            log.info("admin token refused", reason="no `admin`", sub=grant.sub, address=request.address)
            raise Denied(HTTPStatus.FORBIDDEN, OPERATORS_ONLY, f'{REALM}, error="insufficient_scope"')
        return grant.sub


def denied(error: Denied) -> Response:
    """Return the response to a request that is denied, as text for people."""
    return text(error.status, str(error), **error.headers)


def is_from_this_machine(request: Request) -> bool:
    """Whether a request came from a loopback address or to a Unix socket, under a name of this machine, by no proxy."""
    local = is_loopback(request.address) and is_loopback(host_name(request.headers.get("Host", "")))
    return local and not any(name in request.headers for name in PROXY_HEADERS)


def _is_of_foreign_page(headers: Mapping[str, str], host: str) -> bool:
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    if origin is None:
        return False
    page = sent_origin(origin) if len(origin) <= MAX_ORIGIN else None
    return page is None or page != sent_origin(f"{page.scheme}://{host}")


def _is_address(host: str) -> bool:
    """Whether a header `Host` names an address, which no page can have made its own."""
    try:
        ipaddress.ip_address(host_name(host))
    except ValueError:
        return False
    return True
