"""Pages, without a server; the contract asks them over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcp_actors.adapters.http.admin_policy import AdminPolicy
from mcp_actors.adapters.http.exchange import Request
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.pages import FilePage, HealthPage, ReadyPage
from mcp_actors.adapters.http.readiness import Readiness
from mcp_actors.adapters.http.static_files import StaticFile
from mcp_actors.connection.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY = AdminPolicy(None, OriginPolicy([], []), trusts_this_machine=True)
FILE = StaticFile(b"content", "text/css", '"e"', 0)


class Broker:
    """A broker that is ready or not."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready = ready

    def health(self) -> Mapping[str, object]:
        return {"rooms": 3}


def readiness(*, ready: bool = True) -> Readiness:
    return Readiness(Broker(ready=ready), Connections(1, 0))


def request(method: str = "GET", address: str = "127.0.0.1", **headers: str) -> Request:
    return Request(method, {"Host": "localhost", **headers}, address)


@pytest.mark.parametrize(
    ("ready", "status", "told"),
    [(True, 200, {"ready": True}), (False, 503, {"ready": False, "reason": "redis unavailable"})],
)
def test_readiness_has_a_status_and_a_reason(ready: bool, status: int, told: dict[str, object]) -> None:
    response = ReadyPage(readiness(ready=ready)).respond(request())
    assert (response.status, json.loads(response.body)) == (status, told)


def test_a_process_that_stops_is_up_but_not_ready() -> None:
    stopping = readiness()
    stopping.stopping = True
    assert ReadyPage(stopping).respond(request()).status == 503
    health = HealthPage(Broker(), stopping, POLICY).respond(request())
    told = {"status": "ok", "ready": False, "reason": "draining", "rooms": 3}
    assert (health.status, json.loads(health.body)) == (200, told)


@pytest.mark.parametrize(
    "stranger",
    [request(address="192.0.2.1"), request(Host="call.example"), request(Via="1.1 proxy"), request(Host="")],
    ids=["address", "name", "proxy", "no name"],
)
def test_only_an_operator_on_this_machine_is_told_details(stranger: Request) -> None:
    response = HealthPage(Broker(), readiness(), POLICY).respond(stranger)
    assert json.loads(response.body) == {"status": "ok"}


def test_a_file_has_its_type_only_where_it_is_sent() -> None:
    page = FilePage(OriginPolicy([], []), FILE)
    assert page.respond(request()).headers["Content-Type"] == "text/css"
    kept = page.respond(request(**{"If-None-Match": '"e"'}))
    assert (kept.status, kept.body, "Content-Type" in kept.headers) == (304, b"", False)


def test_an_unknown_file_is_refused_to_pages_that_may_not_ask() -> None:
    page = FilePage(OriginPolicy([], []), None)
    assert page.respond(request()).status == 404
    assert page.respond(request(Origin="http://evil.example")).status == 403
