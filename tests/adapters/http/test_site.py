"""Which route serves a request, and what refuses it before that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp_actors.adapters.http.exchange import Response
from mcp_actors.adapters.http.origin_policy import OriginPolicy
from mcp_actors.adapters.http.pages import FilePage
from mcp_actors.adapters.http.proxy_headers import TrustedProxies
from mcp_actors.adapters.http.request_target import RequestTarget
from mcp_actors.adapters.http.site import BodyLimits, Site
from mcp_actors.limits import ip_limits
from mcp_actors.settings import AddressSettings, ConnectionSettings

if TYPE_CHECKING:
    from http import HTTPStatus

PAGE, MISSING = (FilePage(OriginPolicy([], []), None) for _ in range(2))


def site(**limits: float) -> Site:
    addresses = ip_limits(ConnectionSettings(), AddressSettings(**limits))  # type: ignore[arg-type]
    return Site(
        TrustedProxies(), addresses, {"/": PAGE}, MISSING, banner="", max_url_bytes=100, bodies=BodyLimits(100, 1)
    )


def status(found: object) -> int:
    assert isinstance(found, Response)
    return found.status


async def test_a_path_is_served_by_its_route_and_others_by_the_one_for_missing_paths() -> None:
    served = site()
    assert served.find("GET", RequestTarget("/"), "a", 1).serves is PAGE
    assert served.find("GET", RequestTarget("/nothing"), "a", 8).serves is MISSING
    served.add("/nothing", PAGE)
    assert served.find("GET", RequestTarget("/nothing"), "a", 8).serves is PAGE


async def test_a_request_is_refused_for_its_target_its_length_or_its_method() -> None:
    served = site()
    assert status(served.find("GET", None, "a", 8).serves) == 400
    assert status(served.find("GET", RequestTarget("/"), "a", 101).serves) == 414
    assert status(served.find("PUT", RequestTarget("/"), "a", 1).serves) == 405


async def test_the_limit_of_an_address_comes_first() -> None:
    served = site(request_rate=0.001, request_burst=2)
    assert status(served.find("GET", None, "a", 8).serves) == 400
    found = [status(served.find("GET", None, "a", 8).serves) for _ in range(2)]
    assert found[-1] == 429
    assert status(served.find("GET", None, "b", 8).serves) == 400


async def test_the_host_of_a_target_is_told() -> None:
    assert site().find("GET", RequestTarget("/", "call.example"), "a", 1).host == "call.example"


async def test_a_pattern_serves_the_paths_that_have_no_route_of_their_own() -> None:
    served = site()
    served.add("/rooms/{room}", PAGE)
    found = served.find("GET", RequestTarget("/rooms/a/b", None, "/rooms/a%2Fb"), "a", 8)
    assert (found.serves, found.parameters) == (PAGE, {"room": "a/b"})
    assert served.find("GET", RequestTarget("/rooms/a/b", None, "/rooms/a/b"), "a", 8).serves is MISSING


class Loud(FilePage):
    """A page that refuses in its own words."""

    def refuse(self, status: HTTPStatus, reason: str, **headers: str) -> Response:
        return Response(status, headers, reason.upper().encode())


async def test_a_page_says_itself_why_a_request_is_refused_before_it() -> None:
    served = site()
    served.add("/loud", Loud(OriginPolicy([], []), None))
    refused = served.find("PUT", RequestTarget("/loud"), "a", 8).serves
    assert refused == Response(405, {"Allow": "GET, HEAD, OPTIONS"}, b"405: METHOD NOT ALLOWED")
