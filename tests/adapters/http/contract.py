"""The contract of every adapter with plain HTTP, and with handshakes. A subclass gives `server`."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import pytest
from tornado.httpclient import AsyncHTTPClient
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from mcp_actors import __version__
from mcp_actors.adapters.http.exchange import HEADERS, JSON, PAGE_HEADERS, Request, Response, media_type
from mcp_actors.adapters.http.page import Page
from mcp_actors.auth.tokens import mint, secret_key
from tests.support.client import DEADLINE, Client, Closed

if TYPE_CHECKING:
    from tornado.httpclient import HTTPResponse

    from mcp_actors.app import App

SECRET = "a secret that is only used in this test"  # noqa: S105
EVIL = {"Origin": "http://evil.example"}
TOKENS = {"secret_key": SECRET, "auth": "required"}
LIMITED = {"address_request_rate": 0.5, "address_request_burst": 2}


class Serving(Protocol):
    """A server, as the contract uses it."""

    @property
    def app(self) -> App:
        """The parts of the server."""

    @property
    def port(self) -> int:
        """The port on this machine."""

    def url(self, path: str, scheme: str = "") -> str:
        """A URL of the server, for a WebSocket by default."""

    async def peer(self, **headers: str) -> Client:
        """Open a connection to /ws/signaling/."""


async def ask(
    server: Serving, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> HTTPResponse:
    """Return the response to a request; header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await AsyncHTTPClient().fetch(
        server.url(path, "http"),
        method=method,
        headers=named,
        body=body,
        raise_error=False,
        follow_redirects=False,
        allow_nonstandard_methods=True,
    )


class EchoPage(Page):
    """Says what it is asked, a while later."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST", "DELETE")
    takes_body = True

    async def respond(self, request: Request) -> Response:
        await asyncio.sleep(0)
        told = {
            "parameters": dict(request.parameters),
            "query": dict(request.query),
            "body": request.body.decode(),
            "type": media_type(request.headers),
        }
        return Response(200, {"Content-Type": JSON}, json.dumps(told).encode())


class SlowPage(Page):
    """Responds when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_respond = asyncio.Event()
        self.responded = asyncio.Event()

    async def respond(self, request: Request) -> Response:
        self.asked.set()
        await self.may_respond.wait()
        self.responded.set()
        return Response(204)


async def refused(server: Serving, **headers: str) -> tuple[int, str, dict[str, str]]:
    """The status, the text and the headers with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        await server.peer(**headers)
    response = error.value.response
    return (
        response.status_code,
        response.body.decode(),
        {name.lower(): response.headers[name] for name in response.headers},
    )


def token_of(sub: str) -> str:
    """An access token."""
    return mint(secret_key(SECRET), {"sub": sub, "exp": time.time() + 60})


class HttpContract:
    """The contract of adapters with HTTP."""

    @pytest.mark.parametrize(
        "path",
        ["/", "/index.html", "/demo/app.js", "/demo/call.css", "/favicon.svg", "//demo/app.js", "/demo/%61pp.js"],
    )
    async def test_the_page_and_its_files_have_a_strict_policy(self, server: Serving, path: str) -> None:
        response = await ask(server, path)
        assert response.code == 200
        assert response.body
        for name, value in {**HEADERS, **PAGE_HEADERS}.items():
            assert response.headers[name] == value
        assert response.headers["Cache-Control"] == "no-cache"
        assert int(response.headers["Content-Length"]) == len(response.body)

    async def test_a_file_that_the_client_has_is_not_sent_again(self, server: Serving) -> None:
        first = await ask(server, "/demo/app.js")
        for method in ("GET", "HEAD"):
            again = await ask(server, "/demo/app.js", method, If_None_Match=first.headers["Etag"])
            assert (again.code, again.body) == (304, b"")
            assert again.headers["Etag"] == first.headers["Etag"]
        head = await ask(server, "/demo/app.js", "HEAD")
        assert (head.body, head.headers["Content-Length"]) == (b"", first.headers["Content-Length"])

    @pytest.mark.parametrize("path", ["/nothing", "/../app.py", "/%2e%2e/app.py", "/echo", "/ws/other/"])
    async def test_an_unknown_path_is_not_found(self, server: Serving, path: str) -> None:
        response = await ask(server, path)
        assert (response.code, response.body) == (404, b"404: Not Found\n")
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"

    @pytest.mark.parametrize(("path", "allowed"), [("/", "GET, HEAD, OPTIONS"), ("/healthz", "GET, HEAD")])
    async def test_a_wrong_method_is_told_the_right_ones(self, server: Serving, path: str, allowed: str) -> None:
        response = await ask(server, path, "DELETE")
        assert (response.code, response.headers["Allow"]) == (405, allowed)
        options = await ask(server, "/", "OPTIONS")
        assert (options.code, options.headers["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, OPTIONS")

    async def test_an_operator_on_this_machine_is_told_details_of_its_health(self, server: Serving) -> None:
        local = json.loads((await ask(server, "/healthz")).body)
        assert local == {"status": "ok", "ready": True, "broker": "memory", "rooms": 0, "bans": 0}
        through_proxy = json.loads((await ask(server, "/healthz", X_Real_IP="192.0.2.1")).body)
        assert through_proxy == {"status": "ok"}
        ready = await ask(server, "/readyz")
        assert (ready.code, json.loads(ready.body)) == (200, {"ready": True})

    async def test_an_operator_on_this_machine_reads_metrics(self, server: Serving) -> None:
        peer = await server.peer()
        await peer.join("r", "a")
        response = await ask(server, "/metrics", Accept="text/plain")
        assert (response.code, response.headers["Cache-Control"]) == (200, "no-store")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = response.body.decode().splitlines()
        assert {'mcp_actors_connections{endpoint="signaling"} 1.0', "mcp_actors_rooms 1.0"} <= set(lines)
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        assert (await ask(server, "/metrics", X_Real_IP="192.0.2.1")).code == 403

    @pytest.mark.settings(allowed_hosts=["call.example"])
    async def test_only_allowed_hosts_are_served(self, server: Serving) -> None:
        assert (await ask(server, "/", Host="call.example")).code == 200
        response = await ask(server, "/", Host="evil.example")
        assert response.code == 403
        assert b"'evil.example'" in response.body
        assert (await ask(server, "/healthz", Host="evil.example")).code == 200

    @pytest.mark.settings(cors_allowed_origins=["http://app.example"])
    async def test_only_allowed_pages_may_connect(self, server: Serving) -> None:
        status, body, headers = await refused(server, **EVIL)
        assert status == 403
        assert "CORS_ALLOWED_ORIGINS" in body
        assert headers["referrer-policy"] == "no-referrer"
        await (await server.peer(Origin="http://app.example")).join("r", "a")
        page = await ask(server, "/", Origin="http://app.example")
        assert page.headers["Access-Control-Allow-Origin"] == "http://app.example"

    @pytest.mark.settings(cors_allowed_origins=["http://app.example"], refuse_with_close=True)
    async def test_a_page_can_be_refused_with_a_close_frame(self, server: Serving) -> None:
        peer = await server.peer(**EVIL)
        with pytest.raises(Closed) as closed:
            await peer.hear()
        assert closed.value.code == 4506
        assert str(closed.value.reason).startswith("forbidden: Pages of 'http://evil.example'")

    @pytest.mark.settings(**LIMITED)
    async def test_an_address_that_sends_too_many_requests_is_told_to_wait(self, server: Serving) -> None:
        assert [(await ask(server, path)).code for path in ("/", "/nothing")] == [200, 404]
        response = await ask(server, "/healthz")
        assert response.code == 429
        assert int(response.headers["Retry-After"]) in (1, 2)
        await (await server.peer()).join("r", "a")

    @pytest.mark.settings(address_connection_rate=0.5, address_connection_burst=1, trusted_proxies=("127.0.0.1",))
    async def test_an_address_that_connects_too_often_is_told_to_wait(self, server: Serving) -> None:
        await server.peer(**{"X-Forwarded-For": "192.0.2.1"})
        status, body, headers = await refused(server, **{"X-Forwarded-For": "192.0.2.1"})
        assert status == 429
        assert body.startswith("Address 192.0.2.1 connects too often.")
        assert int(headers["retry-after"]) in (1, 2)
        await server.peer(**{"X-Forwarded-For": "192.0.2.2"})

    @pytest.mark.settings(max_url_bytes=64)
    async def test_a_long_url_is_refused(self, server: Serving) -> None:
        for path in (f"/?{'a' * 62}", f"/ws/mcp/?{'a' * 55}"):
            assert (await ask(server, path[:-1])).code in (200, 400)
            assert (await ask(server, f"{path}a")).code == 414

    async def test_an_endpoint_asks_for_a_websocket(self, server: Serving) -> None:
        for path in ("/ws/signaling/", "/ws/mcp"):
            response = await ask(server, path)
            assert response.code == 400
            assert b"connect with a WebSocket client" in response.body

    @pytest.mark.settings(**TOKENS)
    async def test_a_handshake_brings_a_token_in_one_of_three_ways(self, server: Serving) -> None:
        url, token = server.url("/ws/signaling/"), token_of("ada")
        ways: list[tuple[str, dict[str, Any]]] = [
            (url, {"additional_headers": {"Authorization": f"Bearer {token}"}}),
            (f"{url}?token={token}", {}),
            (url, {"subprotocols": [Subprotocol(f"mcp-actors.token.{token}"), Subprotocol("mcp-actors")]}),
        ]
        for where, options in ways:
            async with connect(where, proxy=None, **options) as socket:
                client = Client(socket)
                await client.expect("authenticated", sub="ada")
                assert socket.subprotocol == ("mcp-actors" if "subprotocols" in options else None)

    @pytest.mark.settings(**TOKENS)
    async def test_a_handshake_with_a_token_that_cannot_be_used_is_told_so_and_closed(self, server: Serving) -> None:
        peer = await server.peer(Authorization="Bearer nonsense")
        await peer.expect_error("unauthorized")
        await peer.expect_close(4502)

    @pytest.mark.settings(**TOKENS)
    async def test_a_token_is_not_logged(self, server: Serving, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG")
        token = token_of("ada")
        assert (await ask(server, f"/?token={token}")).code == 200
        async with connect(f"{server.url('/ws/signaling/')}?token={token}", proxy=None) as socket:
            await Client(socket).expect("authenticated")
        told = [line for line in caplog.records if line.name.startswith("mcp_actors") or line.levelname != "DEBUG"]
        assert told
        assert not [line for line in told if token in line.getMessage()]

    @pytest.mark.settings(server_banner=True)
    async def test_a_banner_is_sent_if_the_operator_wants_one(self, server: Serving) -> None:
        assert f"mcp_actors/{__version__}" in (await ask(server, "/")).headers.get_list("Server")

    async def test_a_page_is_told_the_parts_of_its_path_its_query_and_its_body(self, server: Serving) -> None:
        server.app.site.add("/echo/{room}/{id}", EchoPage())
        response = await ask(server, "/echo/a%2Fb/%C3%A9?x=1&x=2&y=%26", "POST", b'{"a": 1}', Content_Type=JSON)
        assert json.loads(response.body) == {
            "parameters": {"room": "a/b", "id": "é"},
            "query": {"x": "2", "y": "&"},
            "body": '{"a": 1}',
            "type": JSON,
        }
        assert (await ask(server, "/echo/a/b/c")).code == 404
        assert json.loads((await ask(server, "/echo/a/b", "DELETE")).body)["body"] == ""

    async def test_a_page_that_responds_later_holds_up_nobody(self, server: Serving) -> None:
        page = SlowPage()
        server.app.site.add("/slow", page)
        slow = asyncio.create_task(ask(server, "/slow"))
        await asyncio.wait_for(page.asked.wait(), DEADLINE)
        assert (await ask(server, "/readyz")).code == 200
        page.may_respond.set()
        assert (await slow).code == 204

    async def test_a_client_may_go_before_the_response(self, server: Serving) -> None:
        page = SlowPage()
        server.app.site.add("/slow", page)
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(page.asked.wait(), DEADLINE)
        writer.transport.abort()
        page.may_respond.set()
        await asyncio.wait_for(page.responded.wait(), DEADLINE)
        assert (await ask(server, "/readyz")).code == 200

    @pytest.mark.settings(max_request_bytes=1024)
    async def test_a_body_that_is_too_long_is_refused(self, server: Serving) -> None:
        server.app.site.add("/echo", EchoPage())
        for size, status in ((1024, 200), (1025, 413), (100_000, 413)):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(b"x" * min(size, 1025))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
            assert head.split()[1] == str(status).encode()
            writer.close()

    @pytest.mark.settings(request_timeout=0.2)
    async def test_a_body_that_does_not_arrive_holds_no_connection(self, server: Serving) -> None:
        server.app.site.add("/echo", EchoPage())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
        writer.close()
