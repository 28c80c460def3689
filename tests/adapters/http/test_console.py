"""Which requests get the console, and with which headers."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.http.admin_policy import AdminPolicy
from mcp_actors.adapters.http.console import console_pages
from mcp_actors.adapters.http.exchange import Request, Response
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.pages import FilePage
from mcp_actors.adapters.http.static_files import StaticFile

HOSTS = OriginPolicy(["localhost", "call.example"], [])
MISSING = FilePage(HOSTS, None)
FILES = {
    "/": StaticFile(b"page", "text/html", '"p"', 0),
    "/console.js": StaticFile(b"script", "text/javascript", '"s"', 0),
}
HERE = Request("GET", {"Host": "localhost"}, "127.0.0.1")
STRANGER = Request("GET", {"Host": "call.example"}, "192.0.2.1")


def respond(request: Request, path: str = "/console/", *, public: bool = False, has_own_port: bool = False) -> Response:
    policy = AdminPolicy(None, HOSTS, trusts_this_machine=False, has_own_port=has_own_port)
    return console_pages(FILES, policy, MISSING, public=public)[path].respond(request)


@pytest.mark.parametrize(("path", "body"), [("/console/", b"page"), ("/console/console.js", b"script")])
def test_this_machine_gets_the_files_of_the_console(path: str, body: bytes) -> None:
    response = respond(HERE, path)
    assert (response.status, response.body) == (200, body)
    assert (
        respond(HERE._replace(headers={**HERE.headers, "If-None-Match": response.headers["Etag"]}), path).status == 304
    )


def test_the_folder_without_its_slash_leads_to_it() -> None:
    response = respond(HERE, "/console")
    assert (response.status, response.headers["Location"]) == (308, "console/")


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/console.js"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "stranger",
    [STRANGER, HERE._replace(headers={"Host": "localhost", "X-Forwarded-For": "192.0.2.1"})],
    ids=["elsewhere", "through a proxy"],
)
def test_a_stranger_cannot_tell_the_console_from_an_unknown_path(path: str, method: str, stranger: Request) -> None:
    request = stranger._replace(method=method)
    assert respond(request, path) == MISSING.respond(request)


@pytest.mark.parametrize("path", ["/console", "/console/", "/console/console.js"])
def test_everybody_gets_a_public_console(path: str) -> None:
    assert respond(STRANGER, path, public=True) == respond(HERE, path)


def test_other_pages_may_link_to_the_console_and_not_read_it() -> None:
    headers = {"Host": "call.example", "Origin": "https://wiki.example", "Sec-Fetch-Site": "cross-site"}
    response = respond(STRANGER._replace(headers=headers), public=True)
    assert response.status == 200
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_name_that_is_not_the_servers_is_refused() -> None:
    rebound = STRANGER._replace(headers={"Host": "rebound.example"})
    assert respond(rebound, public=True).status == 403
    assert respond(rebound, public=True, has_own_port=True).status == 403
    by_address = STRANGER._replace(headers={"Host": "198.51.100.1:9000"})
    assert respond(by_address, public=True).status == 403
    assert respond(by_address, public=True, has_own_port=True).status == 200


def test_the_console_runs_nothing_but_its_own_scripts() -> None:
    policy = respond(HERE).headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
