"""Where a client is: what proxies say of it is believed as far as they are trusted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.transports.hops import Hops

HOPS = Hops(["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"])
TRUSTED = st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="2001:db8::/32")
OUTSIDE = (st.ip_addresses(v=4) | st.ip_addresses(v=6)).filter(
    lambda address: (
        getattr(address, "ipv4_mapped", None) is None
        and not any(address in ipaddress.ip_network(net) for net in ("10.0.0.0/8", "127.0.0.1", "2001:db8::/32"))
    )
)


def forwarded(*addresses: object) -> dict[str, str]:
    return {"X-Forwarded-For": ", ".join(str(address) for address in addresses)}


@given(st.lists(st.text() | OUTSIDE | TRUSTED), OUTSIDE, st.lists(TRUSTED), TRUSTED)
def test_it_is_at_the_last_address_that_is_no_trusted_proxy_whatever_it_says_itself(
    said: list[object], client: object, proxies: list[object], peer: object
) -> None:
    assert HOPS.client(str(peer), forwarded(*said, client, *proxies)) == str(client)


@given(OUTSIDE, st.lists(OUTSIDE | TRUSTED, min_size=1))
def test_who_is_no_trusted_proxy_cannot_say_that_it_is_elsewhere(peer: object, said: list[object]) -> None:
    headers = forwarded(*said) | {"X-Real-IP": str(said[0])}
    assert HOPS.client(str(peer), headers) == str(peer)


@given(st.lists(OUTSIDE | TRUSTED), st.text().filter(lambda text: not _is_address(text)), st.lists(TRUSTED), TRUSTED)
def test_what_is_no_address_leaves_that_of_the_socket(
    said: list[object], nonsense: str, proxies: list[object], peer: object
) -> None:
    nonsense = nonsense.replace(",", ";")
    assert HOPS.client(str(peer), forwarded(*said, nonsense, *proxies)) == str(peer)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.replace(",", ";").strip())
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB9::1", "2001:db9::1"),
        ("[2001:db9::1]:4711", "2001:db9::1"),
        ("[2001:db9::1]", "2001:db9::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("10.0.0.7", "10.0.0.7"),
        ("192.0.2.1, 10.0.0.7", "192.0.2.1"),
        ("192.0.2.9, 192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:http", "127.0.0.1"),
        ("192.0.2.1:²", "127.0.0.1"),
        ("[2001:db9::1", "127.0.0.1"),
        ("fe80::1%eth0", "127.0.0.1"),
        ("192.0.2.1,", "127.0.0.1"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_addresses_are_read_as_proxies_write_them(written: str, meant: str) -> None:
    assert HOPS.client("127.0.0.1", {"X-Forwarded-For": written}) == meant


def test_a_proxy_may_name_the_address_alone() -> None:
    assert HOPS.client("127.0.0.1", {"X-Real-IP": "192.0.2.1"}) == "192.0.2.1"
    both = {"X-Real-IP": "192.0.2.1", "X-Forwarded-For": "192.0.2.2"}
    assert HOPS.client("127.0.0.1", both) == "192.0.2.2"


def test_a_proxy_that_comes_by_an_ipv6_socket_is_known_by_its_ipv4_address() -> None:
    assert HOPS.client("::ffff:10.1.2.3", forwarded("192.0.2.1")) == "192.0.2.1"


def test_without_trusted_proxies_the_socket_tells() -> None:
    assert Hops().client("127.0.0.1", forwarded("192.0.2.1")) == "127.0.0.1"
