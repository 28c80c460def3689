"""Targets of requests, by themselves and over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.http.request_target import RequestTarget, decoded_target, request_target
from tests.adapters.tornado.test_web_app import ask
from tests.support.socket import HANDSHAKE

if TYPE_CHECKING:
    from tests.support.server import Server

TARGETS = {
    "/": RequestTarget("/"),
    "*": RequestTarget("*"),
    "/ws/signaling/": RequestTarget("/ws/signaling/"),
    "//ws/signaling/": RequestTarget("/ws/signaling/"),
    "/ws///signaling//": RequestTarget("/ws/signaling/"),
    "http://call.example": RequestTarget("/", "call.example"),
    "http://call.example:8000/ws/mcp": RequestTarget("/ws/mcp", "call.example:8000"),
    "HTTPS://[::1]:8000//ws/mcp/": RequestTarget("/ws/mcp/", "[::1]:8000"),
    "ws://call.example/ws/mcp/": RequestTarget("/ws/mcp/", "call.example"),
    "wss://call.example/ws/mcp/": RequestTarget("/ws/mcp/", "call.example"),
}
NO_TARGETS = [
    "",
    "ws/signaling/",
    "ftp://call.example/",
    "http:///x",
    "http://ada@call.example/",
    "call.example:443",
    "http:/x",
]


@pytest.mark.parametrize("path", TARGETS)
def test_a_target_is_a_path_or_a_url(path: str) -> None:
    found = request_target(path)
    assert found is not None
    assert found[:2] == TARGETS[path][:2]


def test_a_target_keeps_its_path_as_it_was_sent() -> None:
    for path in ("/a%2Fb//c", "http://call.example/a%2Fb//c"):
        found = request_target(path)
        assert found is not None
        assert (found.path, found.encoded) == ("/a/b/c", "/a%2Fb//c")


def test_a_target_that_is_decoded_already_may_come_with_its_path_as_it_was_sent() -> None:
    for encoded, kept in (("/a%2Fb", "/a%2Fb"), ("", "/a/b")):
        found = decoded_target("/a/b", encoded)
        assert found is not None
        assert (found.path, found.encoded) == ("/a/b", kept)


@pytest.mark.parametrize("path", NO_TARGETS)
def test_anything_else_is_no_target(path: str) -> None:
    assert request_target(path) is None


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1/ws/signaling/",
        "ws://127.0.0.1/ws/signaling/?token=x",
        "//ws/signaling/",
        "/ws//signaling",
        "///ws/mcp",
    ],
)
async def test_a_handshake_may_have_an_absolute_target_and_repeated_slashes(server: Server, target: str) -> None:
    request = HANDSHAKE.decode().replace("/ws/signaling/", target)
    assert (await ask(server, request))[0] == 101


async def test_the_host_of_an_absolute_target_counts_and_not_the_header(server: Server) -> None:
    request = "GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
    assert (await ask(server, request % ("localhost", "evil.example")))[0] == 200
    status, _, body = await ask(server, request % ("evil.example", "localhost"))
    assert (status, "Host 'evil.example' is not allowed" in body) == (403, True)


@pytest.mark.parametrize("target", ["ws/signaling/", "ftp://localhost/", "http://ada@localhost/healthz"])
async def test_a_wrong_target_is_refused_with_a_clear_error(server: Server, target: str) -> None:
    status, _, body = await ask(server, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (status, body) == (400, "The target of a request is a path, such as /ws/signaling/, or a whole URL.\n")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/demo/app.js", "//healthz", "http://localhost/healthz"])
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_probes_may_use_head_and_http_1_0(server: Server, path: str, version: str) -> None:
    request = f"%s {path} {version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    status, headers, body = await ask(server, request % "GET")
    assert status == 200
    assert body
    told, same, _ = await ask(server, request % "HEAD", body=False)
    assert (told, same["content-length"], same["content-type"]) == (
        200,
        headers["content-length"],
        headers["content-type"],
    )


async def test_a_probe_with_http_1_0_needs_no_host(server: Server) -> None:
    assert (await ask(server, "GET /healthz HTTP/1.0\r\n\r\n"))[0] == 200
    status, _, body = await ask(server, "GET / HTTP/1.0\r\n\r\n")
    assert (status, body) == (403, "The request names no host, which this server checks; send the header Host.\n")


async def test_a_handshake_without_an_upgrade_is_told_what_proxies_must_do(server: Server) -> None:
    status, _, body = await ask(server, "GET /ws/signaling/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert status == 400
    assert "a proxy in between must use HTTP/1.1 and pass on Upgrade and Connection" in body
