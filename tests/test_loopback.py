"""Names and addresses of this machine."""

from __future__ import annotations

import pytest

from mcp_actors.loopback import is_loopback, is_tamper_proof, plain_host


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LocalHost.",
        "a.localhost",
        "127.9.9.9",
        "::1",
        "[::1]",
        "::ffff:127.0.0.1",
        "[::ffff:127.0.0.1]",
        "unix:",
    ],
)
def test_names_of_this_machine_are_known(name: str) -> None:
    assert is_loopback(name)


def test_only_this_machine_reaches_a_unix_socket() -> None:
    assert is_loopback("unix:")
    assert is_loopback("unix:/run/mcp-actors/signaling.sock")
    assert not is_loopback("unix")


@pytest.mark.parametrize(
    "name", ["", "localhost.example", "127.0.0.1.example", "::ffff:192.0.2.1", "[::]", "192.0.2.1"]
)
def test_other_names_are_not_of_this_machine(name: str) -> None:
    assert not is_loopback(name)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("[::1]", "::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("signaling.example.com", "signaling.example.com"),
        ("", ""),
    ],
)
def test_a_host_is_plain_as_sockets_take_it(written: str, plain: str) -> None:
    assert plain_host(written) == plain


@pytest.mark.parametrize("url", ["https://login.example/keys", "http://localhost:8080/keys", "http://[::1]/"])
def test_what_comes_by_https_or_from_this_machine_cannot_be_changed_on_its_way(url: str) -> None:
    assert is_tamper_proof(url)


@pytest.mark.parametrize(
    "url", ["http://login.example/keys", "http://localhost.example/", "https:///keys", "ftp://localhost/", "localhost"]
)
def test_what_comes_by_other_ways_can_be_changed(url: str) -> None:
    assert not is_tamper_proof(url)
