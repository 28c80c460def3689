"""The server process, as an operator sees it: listening, greeting, signals and logs."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.request
from typing import TYPE_CHECKING

import pytest
from tornado.httpclient import AsyncHTTPClient

from bench.ports import free_ports
from mcp_actors import site_setup
from mcp_actors.adapters.http.admin_policy import Denied, denied
from mcp_actors.adapters.http.exchange import Request, Response
from mcp_actors.adapters.http.page import Page
from mcp_actors.auth.secret import make
from tests.support.certificate import make_certificate
from tests.support.client import Client
from tests.support.server import END_DEADLINE, Process, Server
from tests.support.tokens import REQUIRED, bearer

if TYPE_CHECKING:
    from pathlib import Path

    from tornado.httpclient import HTTPResponse

    from mcp_actors.adapters.http.admin_policy import AdminPolicy
    from tests.conftest import ExpectedLogs


def test_the_greeting_names_the_addresses_of_the_page_and_the_endpoints(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        with urllib.request.urlopen(f"http://localhost:{server.port}/", timeout=END_DEADLINE) as page:
            assert b"<html" in page.read()
        assert server.stop() == 0


@pytest.mark.parametrize("host", ["[::1]", "::1", "::ffff:127.0.0.1", "127.0.0.1"])
def test_addresses_of_this_machine_need_no_secret_and_the_greeting_answers(tmp_path: Path, host: str) -> None:
    hosts = {"MCP_ACTORS_ALLOWED_HOSTS": "signaling.example.com"}
    with Process(tmp_path, "serve", "--host", host, "--port", "0", **hosts) as server:
        server.wait_until_serving()
        greeting = "".join(server.greeting)
        url = greeting.split("demo call")[1].split()[0]
        with urllib.request.urlopen(url, timeout=END_DEADLINE) as page:  # noqa: S310
            assert b"<html" in page.read()
        assert server.stop() == 0


def test_the_greeting_names_an_allowed_host(tmp_path: Path) -> None:
    server = Server(tmp_path, host="0.0.0.0", allowed_hosts=(".example.com",))  # noqa: S104
    assert server._server._name() == "example.com"


@pytest.mark.parametrize("mcp", [pytest.param(mcp, marks=pytest.mark.settings(mcp=mcp)) for mcp in (True, False)])
async def test_the_greeting_names_the_way_in_for_agents_where_there_is_one(server: Server, *, mcp: bool) -> None:
    assert (server.url("/mcp ", "http") in server._server._greeting()) is mcp


def test_a_port_in_use_is_an_error_that_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, err = Process(tmp_path, "serve", "--host", "127.0.0.1", "--port", port).finish()
    assert status == 1
    assert f"port {port}" in err
    assert "--port" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("host", ["nosuch.invalid", "a" * 100, "é..x"])
def test_a_host_that_cannot_be_listened_on_is_an_error_that_names_it(tmp_path: Path, host: str) -> None:
    status, _, err = Process(tmp_path, "serve", "--host", host, "--port", "0", MCP_ACTORS_SECRET_KEY=make()).finish()
    assert status == 1
    assert err.startswith(f"mcp-actors: Cannot listen on {host}")
    assert "--host" in err
    assert "Traceback" not in err


async def test_the_shutdown_delay_ends_by_itself(tmp_path: Path) -> None:
    server = Server(tmp_path, shutdown_delay=0.3)
    await server.start()
    peer = await server.peer()
    loop = asyncio.get_running_loop()
    began = loop.time()  # by the clock of its timers
    await server.shut_down()
    assert loop.time() - began >= 0.3
    await peer.expect_close(1001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_closes_every_connection_with_1001_and_exits_0_promptly(tmp_path: Path, number: int) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        url = f"ws://localhost:{server.port}/ws/signaling/"
        peers = [await Client.open(url) for _ in range(50)]
        for index, peer in enumerate(peers):
            await peer.join("r", str(index))
        peers[0].stop_reading()
        server.process.send_signal(number)
        status = await asyncio.to_thread(server.process.wait, END_DEADLINE)
        assert status == 0
        for peer in peers[1:]:
            await peer.expect_close(1001)
        for peer in peers:
            await peer.end()


async def test_listening_on_all_interfaces_without_allowed_hosts_is_a_warning(
    tmp_path: Path, expected_logs: ExpectedLogs
) -> None:
    expected_logs("mcp_actors", "reachable under any host name; set MCP_ACTORS_ALLOWED_HOSTS")
    server = Server(tmp_path, host="0.0.0.0")  # noqa: S104
    await server.start()
    await server.stop()


def test_logs_are_json_lines_where_standard_error_is_not_a_terminal(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0") as server:
        server.wait_until_serving()
        server.process.send_signal(signal.SIGTERM)
        _, _, err = server.finish()
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["listening", "stopped"]
    assert {line["level"] for line in lines} == {"info"}


async def test_messages_between_peers_are_logged_at_no_level(tmp_path: Path) -> None:
    with Process(tmp_path, "serve", "--port", "0", MCP_ACTORS_DEBUG="True") as server:
        server.wait_until_serving()
        a, b = [await Client.open(f"ws://localhost:{server.port}/ws/signaling/") for _ in range(2)]
        await a.join("r", "a")
        await b.join("r", "b")
        payload = {"target_peer_id": "b", "offer": {"type": "offer", "sdp": "v=0 SECRET-ADDRESS"}}
        await a.say("offer", "r", payload)
        await a.say("offer", "r", payload | {"target_peer_id": "nobody"})
        await b.expect("offer")
        await a.expect("peer-joined")
        await a.expect_error("peer-not-found")
        await a.end()
        await b.end()
        server.process.send_signal(signal.SIGTERM)
        _, _, err = server.finish()
    events = [json.loads(line) for line in err.splitlines()]
    assert {"opened", "member joined", "error"} <= {event["event"] for event in events}
    assert any(event.get("room") == "r" and event.get("peer") == "a" for event in events)
    assert "SECRET-ADDRESS" not in err


async def ask(port: int, path: str, **headers: str) -> HTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}{path}", headers=named, raise_error=False)


class Figures(Page):
    """A page for operators."""

    def __init__(self, policy: AdminPolicy) -> None:
        self._policy = policy

    def respond(self, request: Request) -> Response:
        try:
            self._policy.check_observer(request)
        except Denied as error:
            return denied(error)
        return Response(200)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_setup, "operator_pages", lambda _settings, _app, policy: {"/figures": Figures(policy)})


@pytest.mark.usefixtures("figures")
async def test_pages_for_operators_are_on_the_admin_port_alone(tmp_path: Path) -> None:
    server = Server(tmp_path, admin_port=free_ports())
    await server.start()
    try:
        through_proxy = {"X_Real_IP": "192.0.2.1"}
        assert (await ask(server.admin_port, "/figures", **through_proxy)).code == 200
        assert (await ask(server.port, "/figures")).code == 404
        health = [
            json.loads((await ask(port, "/healthz", **through_proxy)).body) for port in (server.admin_port, server.port)
        ]
        assert ["broker" in one for one in health] == [True, False]
        assert [(await ask(port, "/readyz")).code for port in (server.admin_port, server.port)] == [200, 200]
        assert [(await ask(server.admin_port, path)).code for path in ("/", "/ws/signaling/", "/demo/app.js")] == [
            404
        ] * 3
        assert (await ask(server.admin_port, "/figures", Host="rebound.example")).code == 403
    finally:
        await server.stop()
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection("127.0.0.1", server.admin_port)


@pytest.mark.parametrize(
    ("settings", "seen_here", "seen_elsewhere"), [({}, 200, 404), ({"console": True}, 200, 200)], ids=["off", "on"]
)
async def test_other_machines_get_the_console_where_it_is_turned_on(
    tmp_path: Path, settings: dict[str, bool], seen_here: int, seen_elsewhere: int
) -> None:
    server = Server(tmp_path, **settings)
    await server.start()
    try:
        assert (await ask(server.port, "/console/")).code == seen_here
        assert (await ask(server.port, "/console/", X_Real_IP="192.0.2.1")).code == seen_elsewhere
    finally:
        await server.stop()


async def test_the_console_is_on_the_admin_port_alone_for_all_who_reach_that(tmp_path: Path) -> None:
    server = Server(tmp_path, admin_port=free_ports(), console=True)
    await server.start()
    try:
        for path in ("/console/", "/console/console.js"):
            found = [(await ask(port, path, X_Real_IP="192.0.2.1")).code for port in (server.admin_port, server.port)]
            assert found == [200, 404]
    finally:
        await server.stop()


@pytest.mark.usefixtures("figures")
async def test_without_an_admin_port_the_pages_for_operators_are_where_clients_connect(tmp_path: Path) -> None:
    server = Server(tmp_path, **REQUIRED)
    await server.start()
    try:
        assert (await ask(server.port, "/figures")).code == 200
        assert (await ask(server.port, "/figures", X_Real_IP="192.0.2.1")).code == 401
        admin = bearer("ops", can=["admin"])
        assert (await ask(server.port, "/figures", X_Real_IP="192.0.2.1", **admin)).code == 200
    finally:
        await server.stop()


@pytest.mark.parametrize(("host", "has_tls"), [("localhost", False), ("0.0.0.0", True)])  # noqa: S104
def test_the_admin_port_has_tls_only_where_other_machines_can_connect(tmp_path: Path, host: str, has_tls: bool) -> None:
    certificate = str(make_certificate(tmp_path / "server.pem"))
    server = Server(tmp_path, admin_port=9000, admin_host=host, tls_cert_file=certificate)
    (admin_server,) = server._server._admin_servers
    assert (admin_server.ssl_options is not None) is has_tls


def test_an_admin_port_in_use_is_an_error_that_names_its_settings(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, _, err = Process(tmp_path, "--port", "0", MCP_ACTORS_ADMIN_PORT=port).finish()
    assert status == 1
    assert f"port {port}" in err
    assert "MCP_ACTORS_ADMIN_PORT" in err
    assert "Traceback" not in err
