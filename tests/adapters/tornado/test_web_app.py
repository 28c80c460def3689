"""Headers and limits of all answers, byte for byte from a socket."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from mcp_actors import __version__
from mcp_actors.adapters.http.exchange import HEADERS, PAGE_HEADERS, SEEN_TO_COME
from tests.support.client import DEADLINE
from tests.support.socket import HANDSHAKE

if TYPE_CHECKING:
    from tests.support.server import Server

GET = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
EVERY_KIND = {
    "the page": (GET % "/", 200),
    "a module": (GET % "/demo/app.js", 200),
    "health": (GET % "/healthz", 200),
    "readiness": (GET % "/readyz", 200),
    "no such file": (GET % "/nothing", 404),
    "the server itself": ("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 204),
    "a wrong method": ((GET % "/").replace("GET", "POST"), 405),
    "a wrong method of a socket": ((GET % "/ws/signaling/").replace("GET", "PUT"), 405),
    "a method nobody knows": ((GET % "/healthz").replace("GET", "BREW"), 405),
    "a socket without an upgrade": (GET % "/ws/signaling/", 400),
    "another host": ((GET % "/").replace("127.0.0.1", "evil.example"), 403),
    "another origin": (GET.replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n") % "/ws/mcp/", 403),
    "a handshake": (HANDSHAKE.decode(), 101),
    "a URL beyond the limit": (GET % f"/{'a' * 8192}", 414),
    "a handshake with a URL beyond the limit": (HANDSHAKE.decode().replace("/ HTTP", f"/?{'a' * 8192} HTTP"), 414),
    "another version of the protocol": (HANDSHAKE.decode().replace("Version: 13", "Version: 8"), 426),
    "a body in chunks": ((GET % "/").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 411),
    "headers beyond the limit": ((GET % "/").replace("\r\n\r\n", "\r\n" + "X-A: b\r\n" * 63 + "\r\n"), 431),
}
REPLACED = {
    **dict.fromkeys(("the page", "a module"), PAGE_HEADERS),
    **dict.fromkeys(("a socket without an upgrade", "another origin", "another version of the protocol"), SEEN_TO_COME),
}
"""The kinds of answers with other security headers, and these."""


async def ask(
    server: Server, request: str, *, body: bool = True, source: str = "127.0.0.1"
) -> tuple[int, dict[str, str], str]:
    """Send a raw request; return the status, the headers by lower-case names, and the body if there is to be one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
    writer.write(request.encode("latin-1"))
    async with asyncio.timeout(DEADLINE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
        headers = {name.lower(): value for name, value in lines}
        content = await reader.readexactly(int(headers.get("content-length", 0)) if body else 0)
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return int(head.split()[1]), headers, content.decode()


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_every_answer_has_the_security_headers_and_no_banner(server: Server, kind: str) -> None:
    request, expected = EVERY_KIND[kind]
    status, headers, _ = await ask(server, request)
    assert status == expected
    assert parsedate_to_datetime(headers["date"]).tzinfo is not None
    assert "server" not in headers
    assert "tornado" not in str(headers).lower()
    for name, value in HEADERS.items():
        assert headers[name.lower()] == (REPLACED[kind].get(name, value) if kind in REPLACED else value)


@pytest.mark.settings(server_banner=True)
@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_banner_is_sent_if_the_operator_wants_one(server: Server, kind: str) -> None:
    _, headers, _ = await ask(server, EVERY_KIND[kind][0])
    assert headers["server"] == f"mcp_actors/{__version__}"


@pytest.mark.parametrize("path", ["/", "/index.html", "/demo/app.js", "/demo/ticker.js", "/demo/call.css"])
async def test_the_page_and_its_files_have_a_strict_policy(server: Server, path: str) -> None:
    _, headers, _ = await ask(server, GET % path)
    for name, value in PAGE_HEADERS.items():
        assert headers[name.lower()] == value
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-cache"
    assert headers["etag"]


@pytest.mark.parametrize("kind", [kind for kind, (_, status) in EVERY_KIND.items() if status in (403, 404, 405, 414)])
async def test_a_refusal_is_plain_text_that_is_not_cached(server: Server, kind: str) -> None:
    _, headers, body = await ask(server, EVERY_KIND[kind][0])
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert body
    assert "<" not in body


@pytest.mark.settings(max_url_bytes=64, max_headers=16)
@pytest.mark.parametrize("path", ["/healthz", "/ws/signaling/", "/"])
async def test_the_longest_url_and_the_most_headers_are_accepted(server: Server, path: str) -> None:
    url = f"{path}?{'a' * (63 - len(path))}"
    most = (GET % url).replace("\r\n\r\n", "\r\n" + "X-A: b\r\n" * 14 + "\r\n")
    status, _, _ = await ask(server, most)
    assert status in (200, 400)  # a socket without an upgrade
    assert (await ask(server, most.replace("?", "?a")))[0] == 414
    assert (await ask(server, most.replace("X-A: b\r\n", "X-A: b\r\nX-A: b\r\n", 1)))[0] == 431


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, OPTIONS"),
        ("/nothing", "GET, HEAD, OPTIONS"),
        ("/healthz", "GET, HEAD"),
        ("/ws/mcp", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"])
async def test_a_wrong_method_is_told_the_right_ones(server: Server, path: str, allowed: str, method: str) -> None:
    status, headers, _ = await ask(server, (GET % path).replace("GET", method))
    assert (status, headers["allow"]) == (405, allowed)


async def test_a_preflight_request_is_told_the_methods(server: Server) -> None:
    _, headers, _ = await ask(server, (GET % "/").replace("GET", "OPTIONS"))
    assert headers["access-control-allow-methods"] == headers["allow"] == "GET, HEAD, OPTIONS"


LIMITED = {"address_request_rate": 0.5, "address_request_burst": 3}
NO_HANDSHAKES = {
    "a page": GET % "/",
    "no page": GET % "/nothing",
    "health": GET % "/healthz",
    "another host": (GET % "/").replace("127.0.0.1", "evil.example"),
    "a wrong method of a socket": (GET % "/ws/mcp/").replace("GET", "BREW"),
    "a page with the headers of a handshake": HANDSHAKE.decode().replace("/ws/signaling/", "/"),
    "a URL beyond the limit": GET % f"/{'a' * 8192}",
    "a wrong target": GET % "nonsense",
}


@pytest.mark.settings(**LIMITED)
@pytest.mark.parametrize("kind", NO_HANDSHAKES)
async def test_an_address_that_sends_too_many_requests_is_told_to_wait(server: Server, kind: str) -> None:
    request = NO_HANDSHAKES[kind]
    for _ in range(3):
        assert (await ask(server, request))[0] != 429
    status, headers, _ = await ask(server, request)
    assert status == 429
    assert int(headers["retry-after"]) in (1, 2)
    for name, value in HEADERS.items():
        assert headers[name.lower()] == value
    assert (await ask(server, HANDSHAKE.decode()))[0] == 101
    assert (await ask(server, request, source="127.0.0.2"))[0] != 429


@pytest.mark.settings(**LIMITED, trusted_proxies=("127.0.0.1",))
async def test_requests_through_a_proxy_count_for_the_client(server: Server) -> None:
    request = (GET % "/").replace("\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n")
    for _ in range(3):
        assert (await ask(server, request % 1))[0] == 200
    status, headers, body = await ask(server, request % 1)
    assert (status, body) == (
        429,
        f"Address 192.0.2.1 sends too many requests. Try again in {headers['retry-after']} s.\n",
    )
    assert (await ask(server, request % 2))[0] == 200


@pytest.mark.settings(
    **LIMITED, address_connection_rate=0.5, address_connection_burst=1, allowed_hosts=["call.example"]
)
async def test_handshakes_that_are_refused_count_for_the_limit_of_their_address(server: Server) -> None:
    """The limit comes before the rules for hosts and origins."""
    assert (await ask(server, HANDSHAKE.decode().replace("127.0.0.1", "evil.example")))[0] == 403
    assert (await ask(server, HANDSHAKE.decode().replace("127.0.0.1", "evil.example")))[0] == 429
    assert (await ask(server, HANDSHAKE.decode().replace("127.0.0.1", "evil.example"), source="127.0.0.2"))[0] == 403


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: evil@127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1/../evil\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: \x00\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: 127.0.0.1\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        "NONSENSE\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_a_malformed_head_is_refused_without_details(server: Server, head: str) -> None:
    status, headers, body = await ask(server, head)
    assert status in (400, 403)
    assert "server" not in headers
    assert "127.0.0.1" not in body or status == 403
