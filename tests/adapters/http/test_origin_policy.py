"""The Host and Origin rules by themselves, and in real handshakes and requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient
from tornado.httputil import HTTPHeaders
from websockets.exceptions import InvalidStatus

from mcp_actors.adapters.http.origin_policy import OriginPolicy

if TYPE_CHECKING:
    from tests.support.server import Server


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def refused(hosts: list[str], origins: list[str], host: str, origin: str | None) -> str | None:
    headers = HTTPHeaders({"Host": host} | ({"Origin": origin} if origin is not None else {}))
    return OriginPolicy(hosts, origins).refusal(headers)


@pytest.mark.parametrize(
    ("host", "origin", "allowed"),
    [
        ("localhost:8000", None, True),
        ("localhost:8000", "http://localhost:8000", True),
        ("localhost:8000", "http://localhost:3000", True),
        ("localhost:8000", "http://127.0.0.1:5173", True),
        ("localhost:8000", "http://[::1]:5173", True),
        ("localhost:8000", "https://evil.example", False),
        ("localhost:8000", "http://localhost.evil.example", False),
        ("localhost:8000", "http://127.0.0.1.evil.example", False),
        ("localhost:8000", "null", False),
        ("localhost:8000", "", False),
        ("localhost:8000", "http://[broken", False),
        ("call.example", "https://call.example", True),
        ("call.example", "https://CALL.example", True),
        ("call.example:443", "https://call.example", True),
        ("call.example", "http://call.example:80", True),
        ("call.example:444", "https://call.example", False),
    ],
)
def test_without_settings_pages_of_the_same_origin_and_of_this_machine_may_connect(
    host: str, origin: str | None, allowed: bool
) -> None:
    assert (refused([], [], host, origin) is None) is allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost:8000", True),
        ("127.0.0.1", True),
        ("[::1]:8000", True),
        ("app.localhost", True),
        ("rebound.example:8000", False),
        ("", False),
    ],
)
def test_a_server_that_listens_on_this_machine_alone_accepts_only_its_names(host: str, allowed: bool) -> None:
    headers = HTTPHeaders({"Host": host, "Origin": f"http://{host}"})
    refusal = OriginPolicy([], [], loopback=True).refusal(headers)
    assert (refusal is None) is allowed
    assert OriginPolicy(["*"], ["*"], loopback=True).refusal(headers) is None


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("call.example", True),
        ("call.example.", True),
        ("CALL.example:8000", True),
        ("a.team.example", True),
        ("team.example", True),
        ("notteam.example", False),
        ("evil.example", False),
        ("", False),
        ("[::1]:8000", True),
        ("[broken", False),
    ],
)
def test_allowed_hosts_are_hosts_domains_and_addresses(host: str, allowed: bool) -> None:
    refusal = refused(["call.example", ".team.example", "[::1]"], [], host, None)
    assert (refusal is None) is allowed
    if not allowed:
        assert refusal is not None
        assert ("ALLOWED_HOSTS" if host else "send the header Host") in refusal


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True),
        ("https://APP.example", True),
        ("http://app.example", False),
        ("https://app.example:444", False),
        ("http://localhost:3000", False),
        ("https://call.example", True),
        (None, True),
    ],
)
def test_only_allowed_origins_and_the_same_origin_may_connect(origin: str | None, allowed: bool) -> None:
    refusal = refused([], ["https://app.example/"], "call.example", origin)
    assert (refusal is None) is allowed
    if not allowed:
        assert refusal is not None
        assert "CORS_ALLOWED_ORIGINS" in refusal


@pytest.mark.parametrize("origin", ["https://whatever.example", "null", "file://", "about:blank"])
def test_a_star_allows_everything(origin: str) -> None:
    assert refused(["*"], ["*"], "any.example", origin) is None


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://app.example:443", "https://app.example"),
        ("https://*.preview.example", "https://a.preview.example"),
        ("https://münchen.example", "https://xn--mnchen-3ya.example"),
        ("file://", "file://"),
        ("null", "null"),
    ],
)
def test_an_origin_may_be_written_as_operators_do(written: str, origin: str) -> None:
    assert refused([], [written], "call.example", origin) is None
    for other in ("https://other.example", "null", "file://"):
        assert (refused([], [written], "call.example", other) is None) == (other == origin)


def test_a_host_name_may_be_written_as_operators_do() -> None:
    for written in ("*.Example.com", ".münchen.example", "0::1"):
        refusals = [
            refused([written], [], host, None) for host in ("a.example.com", "xn--mnchen-3ya.example", "[::1]:80")
        ]
        assert [refusal is None for refusal in refusals].count(True) == 1


@pytest.mark.settings(allowed_hosts=["127.0.0.1"], cors_allowed_origins=["http://app.example"])
@pytest.mark.parametrize("path", ["/ws/signaling/", "/ws/mcp/"])
async def test_the_handshake_is_refused_with_a_reason(server: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        await server.client(path, Origin="http://evil.example")
    assert refusal.value.response.status_code == 403
    assert b"CORS_ALLOWED_ORIGINS" in refusal.value.response.body
    response = await AsyncHTTPClient().fetch(
        server.url(path, "http"), headers={"Host": "evil.example", **UPGRADE}, raise_error=False
    )
    assert response.code == 403
    assert b"ALLOWED_HOSTS" in response.body
    await server.client(path, Origin="http://app.example")
    await server.client(path)


@pytest.mark.settings(allowed_hosts=["127.0.0.1"], cors_allowed_origins=["http://app.example"])
@pytest.mark.parametrize("path", ["/", "/client/index.js"])
async def test_plain_http_follows_the_same_rules(server: Server, path: str) -> None:
    client = AsyncHTTPClient()
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        response = await client.fetch(server.url(path, "http"), headers=headers, raise_error=False)
        assert response.code == 403
        assert b"ALLOWED_" in response.body
    allowed = await client.fetch(server.url(path, "http"), headers={"Origin": "http://app.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "http://app.example"
    assert "Origin" in allowed.headers["Vary"]
    preflight = await client.fetch(server.url(path, "http"), method="OPTIONS", headers={"Origin": "http://app.example"})
    assert preflight.code == 204


def test_a_server_on_this_machine_only_answers_to_its_names_beside_the_allowed_ones() -> None:
    policy = OriginPolicy(["signaling.example.com"], [], loopback=True)
    allowed = [
        policy.refusal(HTTPHeaders({"Host": name})) is None for name in ("signaling.example.com", "localhost:80")
    ]
    assert allowed == [True, True]
    assert policy.refusal(HTTPHeaders({"Host": "rebound.example"})) is not None
