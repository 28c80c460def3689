"""Plain HTTP: health, readiness, and the demo page."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from mcp_actors.adapters.http.proxy_headers import TrustedProxies
from tests.adapters.tornado.test_web_app import ask
from tests.support.client import DEADLINE

if TYPE_CHECKING:
    from tests.conftest import ExpectedLogs
    from tests.support.server import Server


async def test_health_is_reported(server: Server) -> None:
    response = await AsyncHTTPClient().fetch(server.url("/healthz", "http"))
    assert json.loads(response.body) == {"status": "ok", "ready": True, "broker": "memory", "rooms": 0, "bans": 0}


HEALTH = "GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"
OPERATORS = [{"host": "127.0.0.1"}, {"host": "localhost:8000"}, {"host": "[::1]:8000"}]
STRANGERS = [
    {"host": "signaling.example"},
    {"more": "X-Forwarded-For: 192.0.2.1\r\n"},
    {"more": "X-Forwarded-For: 127.0.0.1\r\n"},
    {"more": "X-Forwarded-For: \r\n"},
    {"more": "X-Real-IP: 192.0.2.1\r\n"},
    {"more": "Forwarded: for=192.0.2.1\r\n"},
    {"more": "Via: 1.1 proxy\r\n"},
]


@pytest.mark.settings(allowed_hosts=["signaling.example"])
@pytest.mark.parametrize("request_of", [*OPERATORS, *STRANGERS], ids=str)
async def test_only_an_operator_on_this_machine_is_told_details(server: Server, request_of: dict[str, str]) -> None:
    status, _, body = await ask(server, HEALTH.format_map({"host": "localhost", "more": "", **request_of}))
    assert status == 200
    details = json.loads(body)
    assert details.pop("status") == "ok"
    assert bool(details) == (request_of in OPERATORS)


@pytest.mark.settings(trusted_proxies=("127.0.0.1",))
async def test_a_client_of_a_trusted_proxy_is_no_operator(server: Server) -> None:
    for forwarded in ("192.0.2.1", "127.0.0.1", "nonsense"):
        request = HEALTH.format(host="localhost", more=f"X-Forwarded-For: {forwarded}\r\n")
        assert json.loads((await ask(server, request))[2]) == {"status": "ok"}


async def test_a_client_of_another_machine_is_no_operator(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrustedProxies, "client", lambda *_: "192.0.2.1")
    _, _, body = await ask(server, HEALTH.format(host="localhost", more=""))
    assert json.loads(body) == {"status": "ok"}


async def test_readiness_is_reported(server: Server) -> None:
    response = await AsyncHTTPClient().fetch(server.url("/readyz", "http"))
    assert json.loads(response.body) == {"ready": True}


@pytest.mark.settings(allowed_hosts=["signaling.example"])
async def test_health_is_reported_under_any_host_name(server: Server) -> None:
    for method in ("GET", "HEAD"):
        response = await AsyncHTTPClient().fetch(server.url("/healthz", "http"), method=method)
        assert response.code == 200


@pytest.mark.settings(max_request_bytes=1024)
@pytest.mark.parametrize("path", ["/", "/healthz", "/ws/signaling/"])
async def test_a_body_or_head_beyond_the_limit_is_not_read(
    server: Server, path: str, expected_logs: ExpectedLogs
) -> None:
    expected_logs.allow("tornado", "")
    for request in (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n",
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: {'x' * 2000}\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request.encode())
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 4",))
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.settings(request_timeout=0.2)
async def test_a_request_that_does_not_arrive_in_time_is_closed(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /ws/signaling/ HTTP/1.1\r\n")
    assert await asyncio.wait_for(reader.read(), DEADLINE) == b""
    writer.close()


@pytest.mark.parametrize("path", ["/", "/?room=a%20room", "/index.html"])
async def test_the_demo_page_is_at_the_root(server: Server, path: str) -> None:
    response = await AsyncHTTPClient().fetch(server.url(path, "http"))
    assert response.headers["Content-Type"].startswith("text/html")
    assert b"<title>" in response.body


async def test_a_file_that_the_client_has_is_not_sent_again(server: Server) -> None:
    client, url = AsyncHTTPClient(), server.url("/demo/app.js", "http")
    first = await client.fetch(url)
    etag, modified = first.headers["Etag"], first.headers["Last-Modified"]
    for condition in (
        {"If-None-Match": etag},
        {"If-None-Match": f"W/{etag}"},
        {"If-None-Match": f'"other", {etag}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": modified},
        {"If-None-Match": etag, "If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ):
        for method in ("GET", "HEAD"):
            again = await client.fetch(url, method=method, headers=condition, raise_error=False)
            assert (again.code, again.body) == (304, b""), condition
            for name in ("Etag", "Last-Modified", "Cache-Control", "Vary"):
                assert again.headers[name] == first.headers[name]
    for condition in (
        {"If-None-Match": '"other"'},
        {"If-None-Match": etag[:-2] + '"'},
        {"If-Modified-Since": "nonsense"},
        {"If-None-Match": '"other"', "If-Modified-Since": modified},
    ):
        assert (await client.fetch(url, headers=condition)).body == first.body


async def test_a_head_of_a_file_says_how_long_it_is(server: Server) -> None:
    client, url = AsyncHTTPClient(), server.url("/demo/app.js", "http")
    told, file = await client.fetch(url, method="HEAD"), await client.fetch(url)
    assert (told.body, told.headers["Content-Length"]) == (b"", str(len(file.body)))


async def test_a_path_may_be_percent_encoded(server: Server) -> None:
    assert (await AsyncHTTPClient().fetch(server.url("/demo/%61pp%2Ejs", "http"))).code == 200


DEEP = {
    "segments": "/" + "a/" * 4000,
    "slashes": "/" * 8000,
    "doubled slashes": "//a" * 2600,
    "percent-encoding": "/" + "%61/" * 2000,
    "dots": "/" + "../" * 2600,
    "a query": "/?" + "a=&" * 2600,
}


@pytest.mark.parametrize("path", DEEP.values(), ids=DEEP)
async def test_a_long_target_costs_hardly_more_than_a_short_one(server: Server, path: str) -> None:
    async def cost(target: str) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        before = time.process_time()
        for _ in range(5):
            writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            async with asyncio.timeout(DEADLINE):
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))
                await reader.readexactly(15 if b" 404 " in head else 0)
            if b" 400 " in head:
                break
        spent = time.process_time() - before
        writer.close()
        return spent

    await cost("/nothing")
    assert min([await cost(path) for _ in range(3)]) < 4 * max([await cost("/nothing") for _ in range(3)])


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Transfer-Encoding: chunked", b"1\r\na\r\n" * 2000 + b"0\r\n\r\n", 411),
        ("transfer-encoding: Chunked", b"0\r\n\r\n", 411),
        ("Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 6", b"--x---", 200),
        ("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6000", b"a=&" * 2000, 200),
    ],
)
async def test_a_body_is_not_parsed(server: Server, headers: str, body: bytes, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n\r\n".encode() + body)
    assert (await asyncio.wait_for(reader.readline(), DEADLINE)).split()[1] == str(status).encode()
    writer.close()


async def test_modules_are_served_as_javascript_and_nothing_outside_the_page_is_served(server: Server) -> None:
    client = AsyncHTTPClient()
    module = await client.fetch(server.url("/client/index.js", "http"))
    assert "javascript" in module.headers["Content-Type"]
    for path in ("/nothing.js", "/../config.py", "/%2e%2e/config.py", "/..%2fconfig.py", "/%00", "/a%00b"):
        response = await client.fetch(server.url(path, "http"), raise_error=False)
        assert response.code == 404
        assert b"import" not in response.body
