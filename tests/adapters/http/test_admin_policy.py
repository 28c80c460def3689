"""The rules of the pages for operators."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_actors.adapters.http.admin_policy import LOCAL_OPERATOR, AdminPolicy, Denied, Operator, denied
from mcp_actors.adapters.http.exchange import Request
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.auth.grants import Expectations
from mcp_actors.auth.tokens import Verifier, secret_key
from tests.support.tokens import SECRET, bearer

VERIFY = Verifier(lambda _id: secret_key(SECRET), Expectations("", "", 0, 100), max_bytes=4096).verify
HERE, THERE = "127.0.0.1", "192.0.2.1"


def admin() -> dict[str, str]:
    return bearer("ops", can=["admin"])


def request(address: str = HERE, host: str = "localhost:8000", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", {"Host": host, **named}, address)


def policy(*, hosts: tuple[str, ...] = (), **options: Any) -> AdminPolicy:
    return AdminPolicy(VERIFY, OriginPolicy(hosts, ()), **{"trusts_this_machine": True, **options})


def refused(rules: AdminPolicy, asked: Request) -> Denied:
    with pytest.raises(Denied) as error:
        rules.check_operator(asked)
    return error.value


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_a_request_from_this_machine_is_an_operators(host: str) -> None:
    assert policy().check_operator(request(host=host)) == Operator(LOCAL_OPERATOR, HERE)


@pytest.mark.parametrize(
    "stranger",
    [
        request(THERE),
        request(host="signaling.example"),
        request(host=""),
        *(request(**{name: "192.0.2.1"}) for name in ("X_Forwarded_For", "X_Real_IP", "Forwarded", "Via")),
    ],
    ids=str,
)
def test_a_request_that_came_from_elsewhere_needs_a_token(stranger: Request) -> None:
    error = refused(policy(), stranger)
    assert (error.status, error.headers) == (401, {"WWW-Authenticate": 'Bearer realm="mcp_actors"'})
    assert "`admin`" in str(error)
    assert not policy().is_observer(stranger)


def test_where_a_proxy_may_be_in_front_this_machine_observes_and_changes_nothing() -> None:
    rules = policy(trusts_this_machine=False)
    assert "MCP_ACTORS_ADMIN_PORT" in str(refused(rules, request()))
    assert rules.is_observer(request())


@pytest.mark.parametrize("address", [HERE, THERE])
def test_a_token_with_admin_is_an_operators_wherever_it_comes_from(address: str) -> None:
    asked = request(address, "call.example", **admin())
    for rules in (policy(), policy(trusts_this_machine=False), policy(has_own_port=True)):
        assert rules.check_operator(asked) == Operator("ops", address)
        assert rules.is_observer(asked)


@pytest.mark.parametrize("can", [None, [], ["moderate"], ["signal", "message", "moderate"]])
def test_a_token_without_admin_is_forbidden(can: list[str] | None) -> None:
    error = refused(policy(), request(THERE, **bearer("ada", can=can)))
    assert error.status == 403
    assert error.headers == {"WWW-Authenticate": 'Bearer realm="mcp_actors", error="insufficient_scope"'}


@pytest.mark.parametrize(
    "headers",
    [bearer("ops", -60, can=["admin"]), {"Authorization": "Bearer x"}, {"Authorization": "Bearer "}],
    ids=["ended", "malformed", "empty"],
)
def test_a_token_that_cannot_be_used_is_refused_also_on_this_machine(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    error = refused(policy(), request(**headers))
    assert error.status == 401
    assert error.headers == {"WWW-Authenticate": 'Bearer realm="mcp_actors", error="invalid_token"'}
    assert "admin token refused" in caplog.text


def test_another_scheme_is_no_token() -> None:
    assert refused(policy(), request(Authorization="Basic b3BzOg==")).status == 401


def test_a_server_without_tokens_says_where_its_operator_may_ask() -> None:
    rules = AdminPolicy(None, OriginPolicy((), ()), trusts_this_machine=True)
    assert rules.check_operator(request()).name == LOCAL_OPERATOR
    for asked in (request(THERE), request(THERE, **admin())):
        error = refused(rules, asked)
        assert (error.status, error.headers) == (403, {})
        assert "MCP_ACTORS_AUTH is off" in str(error)


def test_whoever_reaches_the_admin_port_observes_and_changes_nothing() -> None:
    rules = policy(has_own_port=True)
    assert rules.is_observer(request(THERE, "10.0.0.7:9000"))
    assert refused(rules, request(THERE, "10.0.0.7:9000")).status == 401


def test_a_name_that_a_page_made_this_machines_is_no_host_of_the_admin_port() -> None:
    rules = AdminPolicy(VERIFY, OriginPolicy((), (), loopback=True), trusts_this_machine=True, has_own_port=True)
    rebound = request(host="rebound.example:9000", Origin="http://rebound.example:9000")
    assert not rules.is_observer(rebound)
    assert refused(rules, rebound).status == 403
    assert refused(rules, rebound._replace(headers={**rebound.headers, **admin()})).status == 403


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://localhost:8000." + "x" * 600},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site", "Origin": "http://localhost:8000"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: str(headers)[:60])
def test_a_page_of_another_origin_is_refused_whoever_has_it_open(headers: dict[str, str]) -> None:
    for rules in (policy(), policy(has_own_port=True)):
        for more in ({}, admin()):
            assert str(refused(rules, request(**headers, **more))).startswith("Pages of other origins")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:8000"},
        {"Origin": "https://LOCALHOST:8000", "Sec_Fetch_Site": "same-origin"},
        {"Sec_Fetch_Site": "none"},
    ],
    ids=str,
)
def test_a_page_of_this_server_may_be_an_operators(headers: dict[str, str]) -> None:
    assert policy().check_operator(request(**headers)).name == LOCAL_OPERATOR


def test_a_denied_request_is_told_why_as_text() -> None:
    response = denied(refused(policy(), request(THERE)))
    assert (response.status, response.headers["Content-Type"]) == (401, "text/plain; charset=utf-8")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.body.startswith(b"This is for operators")
