"""The pages of the API: each checks who asks, reads what it is asked, and answers in JSON, also with its errors."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec
import structlog
from msgspec import Struct

from mcp_actors.adapters.admin.api_error import HEADERS, ApiError, error_response
from mcp_actors.adapters.http.admin_policy import Denied
from mcp_actors.adapters.http.exchange import JSON, Response, media_type
from mcp_actors.adapters.http.page import Page
from mcp_actors.line_limit import AUDIT
from mcp_actors.protocol.errors import Unavailable
from mcp_actors.protocol.events import Kind
from mcp_actors.protocol.identifiers import id_problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcp_actors.adapters.http.admin_policy import AdminPolicy, Operator
    from mcp_actors.adapters.http.exchange import Request

log = structlog.get_logger("mcp_actors.admin")
audit = structlog.get_logger(AUDIT)

TIMEOUT = 10.0
"""Seconds for a request to be carried out."""

CHOICES = {"kind": tuple(map(str, Kind)), "claim": ("jti", "sub")}
"""The parts of paths that are one of a few words."""

IDS = ("room", "id")
"""The parts of paths that follow the rules of ids."""

RETRY_AFTER = "1"
"""Seconds after which to try again what is not possible now."""


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No fields."""


class Call(NamedTuple):
    """A request that was checked. `parameters` are the variable parts of its path; `query` and `body` are typed."""

    operator: Operator
    parameters: Mapping[str, str]
    query: Any
    body: Any


class Operation(NamedTuple):
    """One method of a path. `run` may raise `ApiError` and `Unavailable`.

    `query`, `body` and `answer` are the types of these; `body` is None for a method that has none. `logged`: the line
    of the log that says that an operator did it; empty for what changes nothing.
    """

    summary: str
    run: Callable[[Call], Awaitable[Struct]]
    answer: type[Struct]
    query: type[Struct] = Nothing
    body: type[Struct] | None = None
    logged: str = ""


class ApiPage(Page):
    """The operations of one path, by their methods. `id_length`: the characters of the longest id."""

    takes_body: ClassVar[bool] = True

    def __init__(self, policy: AdminPolicy, operations: Mapping[str, Operation], *, id_length: int) -> None:
        self.operations = operations
        methods = (*operations, *(("HEAD",) if "GET" in operations else ()))
        self.methods = methods  # type: ignore[misc]
        self._policy = policy
        self._id_length = id_length

    async def respond(self, request: Request) -> Response:
        """Carry out what an operator asks."""
        try:
            operator = self._policy.check_operator(request)
            operation = self.operations["GET" if request.method == "HEAD" else request.method]
            call = Call(operator, self._parameters(request), _query(operation, request), _body(operation, request))
            async with asyncio.timeout(TIMEOUT):
                answer = await operation.run(call)
        except (Denied, ApiError) as error:
            return error_response(error.status, str(error), getattr(error, "headers", {}))
        except (Unavailable, TimeoutError) as error:
            message = str(error) or "The server is too slow now; try again."
            return error_response(HTTPStatus.SERVICE_UNAVAILABLE, message, {"Retry-After": RETRY_AFTER})
        except Exception:
            log.exception("admin request failed")
            return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; its log says more.", {})
        if operation.logged:
            log_change(operation.logged, call, answer)
        return Response(200, HEADERS, msgspec.json.encode(answer))

    def refuse(self, status: HTTPStatus, reason: str, **headers: str) -> Response:
        """Return the response to a request that is refused before it comes here."""
        return error_response(status, reason, headers)

    def _parameters(self, request: Request) -> Mapping[str, str]:
        for name, value in request.parameters.items():
            choices = CHOICES.get(name)
            if choices is not None:
                problem = None if value in choices else f"is {' or '.join(map(repr, choices))}, not {value!r}"
            elif name in IDS:
                problem = id_problem(value, self._id_length)
            else:
                problem = None
            if problem is not None:
                raise ApiError(HTTPStatus.BAD_REQUEST, f"The {name} in the path {problem}.")
        return request.parameters


class MissingPage(Page):
    """Any path of the API that there is not."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

    def respond(self, request: Request) -> Response:
        """Say that there is nothing."""
        return self.refuse(HTTPStatus.NOT_FOUND, "There is no such path; /api/v1/openapi.json lists all.")

    def refuse(self, status: HTTPStatus, reason: str, **headers: str) -> Response:
        """Return the response to a request that is refused before it comes here."""
        return error_response(status, reason, headers)


def _query(operation: Operation, request: Request) -> Struct:
    try:
        return msgspec.convert(dict(request.query), operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"The query cannot be used: {error}.") from None


def _body(operation: Operation, request: Request) -> Struct:
    """Return the body of a request; a missing one counts as an empty object.

    It must be called JSON: a web page of another origin cannot send that without asking first (CORS).
    """
    body = request.body
    if body and media_type(request.headers) != JSON:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send the body as JSON, with Content-Type: {JSON}.")
    try:
        return msgspec.json.decode(body or b"{}", type=operation.body or Nothing)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"The body cannot be used: {error}.") from None


def log_change(event: str, call: Call, answer: Struct) -> None:
    """Write the line of the log that says that an operator has done something."""
    outcome = {name: value for name, value in msgspec.structs.asdict(answer).items() if isinstance(value, bool)}
    audit.info(event, by=call.operator.name, address=call.operator.address, **call.parameters, **outcome)
