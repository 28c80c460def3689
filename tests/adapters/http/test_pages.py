"""Pages, without a server; the contract asks them over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.http.admin_policy import AdminPolicy
from mcp_actors.adapters.http.exchange import Request
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.pages import FilePage, HealthPage, ReadyPage
from mcp_actors.adapters.http.static_files import StaticFile
from mcp_actors.connection.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY = AdminPolicy(None, OriginPolicy([], []), trusts_this_machine=True)
FILE = StaticFile(b"content", "text/css", '"e"', 0)


class Broker:
    """A broker that is ready or not."""

    def __init__(self, *, ready: bool) -> None:
        self.ready = ready

    def health(self) -> Mapping[str, object]:
        return {"rooms": 3}


def request(method: str = "GET", address: str = "127.0.0.1", **headers: str) -> Request:
    return Request(method, {"Host": "localhost", **headers}, address)


@pytest.mark.parametrize(("ready", "status"), [(True, 200), (False, 503)])
def test_readiness_is_that_of_the_broker(ready: bool, status: int) -> None:
    response = ReadyPage(Broker(ready=ready), Connections(1, 0), POLICY).respond(request())
    assert (response.status, json.loads(response.body)) == (status, {"ready": ready})


def test_a_process_that_stops_is_up_but_not_ready() -> None:
    connections = Connections(1, 0)
    connections.stop_accepting()
    assert ReadyPage(Broker(ready=True), connections, POLICY).respond(request()).status == 503
    health = HealthPage(Broker(ready=True), connections, POLICY).respond(request())
    assert (health.status, json.loads(health.body)) == (200, {"status": "ok", "ready": False, "rooms": 3})


@pytest.mark.parametrize(
    "stranger",
    [request(address="192.0.2.1"), request(Host="call.example"), request(Via="1.1 proxy"), request(Host="")],
    ids=["address", "name", "proxy", "no name"],
)
def test_only_an_operator_on_this_machine_is_told_details(stranger: Request) -> None:
    response = HealthPage(Broker(ready=True), Connections(1, 0), POLICY).respond(stranger)
    assert json.loads(response.body) == {"status": "ok", "ready": True}


def test_a_file_has_its_type_only_where_it_is_sent() -> None:
    page = FilePage(OriginPolicy([], []), FILE)
    assert page.respond(request()).headers["Content-Type"] == "text/css"
    kept = page.respond(request(**{"If-None-Match": '"e"'}))
    assert (kept.status, kept.body, "Content-Type" in kept.headers) == (304, b"", False)


def test_an_unknown_file_is_refused_to_pages_that_may_not_ask() -> None:
    page = FilePage(OriginPolicy([], []), None)
    assert page.respond(request()).status == 404
    assert page.respond(request(Origin="http://evil.example")).status == 403
