"""The address of a client behind trusted proxies."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_actors.adapters.http.proxy_headers import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "127.0.0.1", "2001:db8::/32"])
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
def test_a_client_is_at_the_last_address_that_is_no_trusted_proxy(
    claimed: list[object], client: object, proxies: list[object], peer: object
) -> None:
    assert PROXIES.client(str(peer), forwarded(*claimed, client, *proxies)) == str(client)


@given(OUTSIDE, st.lists(OUTSIDE | TRUSTED, min_size=1))
def test_headers_of_a_client_that_is_no_trusted_proxy_are_ignored(peer: object, claimed: list[object]) -> None:
    headers = forwarded(*claimed) | {"X-Real-IP": str(claimed[0])}
    assert PROXIES.client(str(peer), headers) == str(peer)


@given(st.lists(OUTSIDE | TRUSTED), st.text().filter(lambda text: not _is_address(text)), st.lists(TRUSTED), TRUSTED)
def test_headers_that_make_no_sense_are_ignored(
    claimed: list[object], nonsense: str, proxies: list[object], peer: object
) -> None:
    nonsense = nonsense.replace(",", ";")
    assert PROXIES.client(str(peer), forwarded(*claimed, nonsense, *proxies)) == str(peer)


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
def test_addresses_are_parsed_as_proxies_write_them(written: str, meant: str) -> None:
    assert PROXIES.client("127.0.0.1", {"X-Forwarded-For": written}) == meant


ALL = {"X-Forwarded-For": "192.0.2.1", "X-Real-IP": "192.0.2.2", "Forwarded": "for=192.0.2.3"}


@pytest.mark.parametrize(
    ("header", "address"), [("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "192.0.2.2"), ("forwarded", "192.0.2.3")]
)
def test_one_header_is_believed_and_others_are_ignored(header: str, address: str) -> None:
    proxies = TrustedProxies(["127.0.0.1"], header)
    assert proxies.client("127.0.0.1", ALL) == address
    others = {name: value for name, value in ALL.items() if name.lower() != header}
    assert proxies.client("127.0.0.1", others) == "127.0.0.1"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("proto=https; For=192.0.2.60", "192.0.2.60"),
        ('for="192.0.2.60:4711"', "192.0.2.60"),
        ('for="[2001:db9::1]:4711"', "2001:db9::1"),
        ('for=192.0.2.9, for="[2001:db9::1]";host="a,b"', "2001:db9::1"),
        ("for=192.0.2.60, for=10.0.0.7", "192.0.2.60"),
        ('for="192.0.2.9, for=192.0.2.60', "192.0.2.60"),
        ("for=192.0.2.9, for=unknown", "127.0.0.1"),
        ("for=_hidden", "127.0.0.1"),
        ("by=192.0.2.60", "127.0.0.1"),
        ("192.0.2.60", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_forwarded_is_parsed_as_rfc_7239_says(written: str, meant: str) -> None:
    proxies = TrustedProxies(["10.0.0.0/8", "127.0.0.1"], "forwarded")
    assert proxies.client("127.0.0.1", {"Forwarded": written}) == meant


def test_x_real_ip_holds_one_address() -> None:
    proxies = TrustedProxies(["127.0.0.1"], "x-real-ip")
    assert proxies.client("127.0.0.1", {"X-Real-IP": "192.0.2.1, 192.0.2.2"}) == "127.0.0.1"


def test_a_proxy_on_an_ipv6_socket_is_known_by_its_ipv4_address() -> None:
    assert PROXIES.client("::ffff:10.1.2.3", forwarded("192.0.2.1")) == "192.0.2.1"


def test_a_proxy_at_a_unix_socket_is_trusted_if_it_is_named() -> None:
    headers = forwarded("192.0.2.1", "192.0.2.2", "10.0.0.1")
    assert TrustedProxies(["unix:", "10.0.0.0/8"]).client("unix:", headers) == "192.0.2.2"
    assert TrustedProxies(["unix:"]).client("unix:", {}) == "unix:"
    assert TrustedProxies(["unix:"]).client("192.0.2.3", headers) == "192.0.2.3"
    assert PROXIES.client("unix:", headers) == "unix:"
    assert [TrustedProxies([trusted]).is_proxy("unix:") for trusted in ("unix:", "0.0.0.0/0")] == [True, False]


def test_without_trusted_proxies_the_address_of_the_socket_counts() -> None:
    assert TrustedProxies().client("127.0.0.1", forwarded("192.0.2.1")) == "127.0.0.1"
