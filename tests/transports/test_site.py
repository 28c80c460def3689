"""What all answers have in common, read off a socket: what a client library would tidy up is seen here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mcp_actors import __version__
from mcp_actors.transports.site import HEADERS, PAGE_HEADERS
from tests.support.client import DEADLINE
from tests.support.socket import HANDSHAKE

if TYPE_CHECKING:
    from tests.support.server import Server

GET = "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
EVERY_KIND = {
    "the page": (GET % "/", 200),
    "a module": (GET % "/app.js", 200),
    "health": (GET % "/healthz", 200),
    "readiness": (GET % "/readyz", 200),
    "no such file": (GET % "/nothing", 404),
    "no route at all": ("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 404),
    "a wrong method": ((GET % "/").replace("GET", "POST"), 405),
    "a wrong method of a socket": ((GET % "/ws/signaling/").replace("GET", "PUT"), 405),
    "a method nobody knows": ((GET % "/healthz").replace("GET", "BREW"), 405),
    "a socket without an upgrade": (GET % "/ws/signaling/", 400),
    "another host": ((GET % "/").replace("127.0.0.1", "evil.example"), 403),
    "another origin": (GET.replace("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n") % "/ws/mcp/", 403),
    "a handshake": (HANDSHAKE.decode(), 101),
    "a URL beyond the limit": (GET % f"/{'a' * 8192}", 414),
    "a handshake with a URL beyond the limit": (HANDSHAKE.decode().replace("/ HTTP", f"/?{'a' * 8192} HTTP"), 414),
    "headers beyond the limit": ((GET % "/").replace("\r\n\r\n", "\r\n" + "X-A: b\r\n" * 63 + "\r\n"), 431),
}
OF_THE_PAGE = {"the page", "a module"}


async def ask(server: Server, request: str) -> tuple[int, dict[str, str], str]:
    """Send a request as it is; the status, the headers by their names in small letters, and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.app.port)
    writer.write(request.encode("latin-1"))
    async with asyncio.timeout(DEADLINE):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
        headers = {name.lower(): value for name, value in lines}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return int(head.split()[1]), headers, body.decode()


@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_every_answer_has_the_headers_that_keep_browsers_in_and_no_banner(server: Server, kind: str) -> None:
    request, expected = EVERY_KIND[kind]
    status, headers, _ = await ask(server, request)
    assert status == expected
    assert "server" not in headers
    assert "tornado" not in str(headers).lower()
    for name, value in HEADERS.items():
        assert headers[name.lower()] == (PAGE_HEADERS.get(name, value) if kind in OF_THE_PAGE else value)


@pytest.mark.settings(server_banner=True)
@pytest.mark.parametrize("kind", EVERY_KIND)
async def test_a_banner_is_there_when_it_is_asked_for(server: Server, kind: str) -> None:
    _, headers, _ = await ask(server, EVERY_KIND[kind][0])
    assert headers["server"] == f"mcp_actors/{__version__}"


@pytest.mark.parametrize("path", ["/", "/index.html", "/app.js", "/ticker.js", "/style.css", "/favicon.svg"])
async def test_the_page_and_its_files_may_do_what_they_need_and_no_more(server: Server, path: str) -> None:
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
async def test_a_refusal_is_plain_text_that_nobody_keeps(server: Server, kind: str) -> None:
    _, headers, body = await ask(server, EVERY_KIND[kind][0])
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert body
    assert "<" not in body


@pytest.mark.settings(max_url_bytes=64, max_headers=16)
@pytest.mark.parametrize("path", ["/healthz", "/ws/signaling/", "/"])
async def test_the_longest_url_and_the_most_headers_that_are_allowed_are_served(server: Server, path: str) -> None:
    url = f"{path}?{'a' * (63 - len(path))}"
    most = (GET % url).replace("\r\n\r\n", "\r\n" + "X-A: b\r\n" * 14 + "\r\n")
    status, _, _ = await ask(server, most)
    assert status in (200, 400)  # a socket without an upgrade
    assert (await ask(server, most.replace("?", "?a")))[0] == 414
    assert (await ask(server, most.replace("X-A: b\r\n", "X-A: b\r\nX-A: b\r\n", 1)))[0] == 431


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
async def test_a_head_that_is_no_http_is_refused_without_a_word_too_many(server: Server, head: str) -> None:
    status, headers, body = await ask(server, head)
    assert status in (400, 403)
    assert "server" not in headers
    assert "127.0.0.1" not in body or status == 403
