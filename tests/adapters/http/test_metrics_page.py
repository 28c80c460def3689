"""/metrics, without a server; the contract asks it over HTTP."""

from __future__ import annotations

from typing import NamedTuple

from mcp_actors.adapters.http.admin_policy import AdminPolicy
from mcp_actors.adapters.http.exchange import Request
from mcp_actors.adapters.http.metrics_page import MetricsPage
from mcp_actors.adapters.http.origin_policy import OriginPolicy


class Metrics(NamedTuple):
    content_type: str
    body: bytes


class Scraper:
    """Records for which formats it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def scrape(self, accept: str) -> Metrics:
        self.asked.append(accept)
        return Metrics("text/x-metrics", b"up 1\n")


def page(scraper: Scraper) -> MetricsPage:
    return MetricsPage(scraper.scrape, AdminPolicy(None, OriginPolicy([], []), trusts_this_machine=True))


async def test_an_observer_gets_the_format_that_it_accepts() -> None:
    scraper = Scraper()
    headers = {"Host": "localhost", "Accept": "application/openmetrics-text"}
    response = await page(scraper).respond(Request("GET", headers, "127.0.0.1"))
    assert (response.status, response.body, response.headers["Content-Type"]) == (200, b"up 1\n", "text/x-metrics")
    assert scraper.asked == ["application/openmetrics-text"]


async def test_nothing_is_read_for_a_stranger() -> None:
    scraper = Scraper()
    response = await page(scraper).respond(Request("GET", {"Host": "localhost"}, "192.0.2.1"))
    assert response.status == 403
    assert not scraper.asked
