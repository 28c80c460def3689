"""Who may use the Model Context Protocol; sockets show the rest in test_http_page and test_websocket_route."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_actors.adapters.http.admin_policy import AdminPolicy, Denied
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.mcp.access import Access
from mcp_actors.auth.authorization import Authorizer, Handshake, Refused
from mcp_actors.auth.grants import DEFAULT_PERMISSIONS, Grant, Permission

HERE = Handshake("user", {"Host": "localhost"}, {}, "127.0.0.1")
ELSEWHERE = Handshake("user", {"Host": "localhost"}, {}, "192.0.2.1")
LOCAL = AdminPolicy(None, OriginPolicy((), (), loopback=True), trusts_this_machine=True)


def application(answer: Any, operators: AdminPolicy | None = LOCAL) -> Access:
    """The rules of an application that answers so; a string refuses, and an exception is a failure."""

    async def authorize(_request: Any) -> Any:
        if isinstance(answer, str):
            raise Refused(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Access(None, Authorizer(authorize, timeout=5, max_pending=5, id_length=64), operators)


async def test_an_application_says_who_an_agent_is_wherever_it_comes_from() -> None:
    caller = await application(Grant("ann")).caller(ELSEWHERE, None)
    assert (caller.user, caller.is_operator) == ("ann", False)
    assert caller.admission is not None
    admin = Grant("ann", can=[*DEFAULT_PERMISSIONS, Permission.ADMIN])
    assert (await application(admin).caller(ELSEWHERE, None)).is_operator


async def test_an_application_may_leave_it_to_the_joins() -> None:
    caller = await application(None).caller(ELSEWHERE, None)
    assert (caller.grant, caller.admission) == (None, (ELSEWHERE, None))


async def test_an_agent_that_an_application_refuses_is_told_why() -> None:
    with pytest.raises(Denied, match="Not today") as error:
        await application("Not today.").caller(HERE, None)
    assert error.value.status == 403


async def test_an_application_that_fails_lets_nobody_in(expected_logs: Any) -> None:
    expected_logs("mcp_actors.auth", "authorize failed")
    with pytest.raises(Denied) as error:
        await application(ValueError("a bug")).caller(HERE, None)
    assert error.value.status == 503


async def test_without_tokens_only_this_machine_is_served() -> None:
    access = Access(None, None, LOCAL)
    assert (await access.caller(HERE, None)).is_operator
    with pytest.raises(Denied, match="MCP_ACTORS_AUTH"):
        await access.caller(ELSEWHERE, None)


async def test_nobody_is_an_operator_where_that_has_a_port_of_its_own() -> None:
    assert not (await Access(None, None, None).caller(HERE, None)).is_operator
    admin = Grant("ann", can=[Permission.ADMIN])
    assert not (await application(admin, None).caller(HERE, None)).is_operator


async def test_an_agent_with_a_token_that_means_nothing_here_is_no_operator() -> None:
    assert not (await Access(None, None, LOCAL).caller(HERE, "token")).is_operator
