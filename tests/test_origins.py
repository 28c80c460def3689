"""Origins and host names: how operators write them, and how browsers send them."""

from __future__ import annotations

import pytest

from mcp_actors.environment import load
from mcp_actors.origins import Origin, allowed_origin, host_matches, host_pattern, sent_origin
from mcp_actors.settings import SettingsError

WRITTEN = {
    "https://app.example.com:443": "https://app.example.com",
    "https://app.example.com/": "https://app.example.com",
    "HTTPS://App.Example.COM": "https://app.example.com",
    "http://app.example.com:80/": "http://app.example.com",
    "http://app.example.com:443": "http://app.example.com:443",
    "https://app.example.com.": "https://app.example.com",
    "https://münchen.example": "https://xn--mnchen-3ya.example",
    "https://xn--mnchen-3ya.example": "https://xn--mnchen-3ya.example",
    "https://faß.de": "https://xn--fa-hia.de",
    "https://STRAẞE.example": "https://strasse.example",
    "https://ΟΔΟΣ.example": "https://xn--pxavbq.example",
    "https://İstanbul.example": "https://xn--istanbul-o0e.example",
    "https://\uff21\uff22\u3002example": "https://ab.example",
    "https://日本語.jp:8443": "https://xn--wgv71a119e.jp:8443",
    "https://💩.la": "https://xn--ls8h.la",
    "http://[0:0::0001]:3000": "http://[::1]:3000",
    "http://127.0.0.1:5173": "http://127.0.0.1:5173",
    "http://my_pc:3000": "http://my_pc:3000",
    "capacitor://localhost": "capacitor://localhost",
    "chrome-extension://abcdefghijklmnop": "chrome-extension://abcdefghijklmnop",
}
"""What operators write, and what the `origin` of such a URL is in Chromium."""

NEVER = {
    "app.example.com": "an origin is scheme://host[:port]",
    "localhost:3000": "an origin is scheme://host[:port]",
    "https://app.example.com/app": "an origin has no path",
    "https://app.example.com?x": "an origin has no path",
    "wss://app.example.com": "whose scheme is https",
    "ws://app.example.com": "whose scheme is http",
    "https://*": "alone, * allows every page",
    "https://app.*.com": "'*' is not a part of a host name",
    "https://*app.example.com": "'*app' is not a part of a host name",
    "http://localhost:*": "a port is a number from 1 to 65535",
    "http://localhost:0": "a port is a number from 1 to 65535",
    "http://localhost:65536": "a port is a number from 1 to 65535",
    "https://": "'' is not a part of a host name",
    "https://a..b": "'' is not a part of a host name",
    "https://ada@example.com": "'ada@example' is not a part of a host name",
    "https://ex ample.com": "'ex ample' is not a part of a host name",
    "https://[::1]x": "an origin has no path",
    "https://[::g]": "neither the name of a host nor its address",
    "http://1.2.3": "neither the name of a host nor its address",
    "https://%s.example" % ("a" * 64): "is not a part of a host name",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_an_origin_is_read_as_browsers_send_it(written: str) -> None:
    allowed, sent = allowed_origin(written), sent_origin(WRITTEN[written])
    assert isinstance(allowed, Origin)
    assert allowed == sent
    assert allowed.allows(sent)


@pytest.mark.parametrize(
    ("written", "read"), [("*", "*"), ("NULL", "null"), ("file://", "file://"), ("file:///", "file://")]
)
def test_an_origin_without_a_host_is_read_as_it_is(written: str, read: str) -> None:
    assert allowed_origin(written) == read


@pytest.mark.parametrize("written", NEVER)
def test_an_origin_that_no_page_has_is_refused_at_start_and_the_error_says_why(written: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(environ={"CORS_ALLOWED_ORIGINS": f"https://ok.example, {written}"})
    assert str(caught.value).startswith(f"CORS_ALLOWED_ORIGINS is {written!r}, which is not valid: ")
    assert NEVER[written] in str(caught.value)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.preview.example.com", True),
        ("https://A.B.preview.example.com:443", True),
        ("https://preview.example.com", False),
        ("https://evilpreview.example.com", False),
        ("https://a.preview.example.com.evil.example", False),
        ("http://a.preview.example.com", False),
        ("https://a.preview.example.com:8443", False),
        ("https://a.preview.example.com/", False),
    ],
)
def test_an_asterisk_stands_for_all_subdomains(origin: str, allowed: bool) -> None:
    pattern, sent = allowed_origin("https://*.Preview.example.com:443/"), sent_origin(origin)
    assert isinstance(pattern, Origin)
    assert (sent is not None and pattern.allows(sent)) is allowed


@pytest.mark.parametrize(
    "header", ["", "null", "file://", "https://", "https://a b", "https://a/b", "a.example", "https://[::1"]
)
def test_a_header_without_a_host_is_no_origin_of_one(header: str) -> None:
    assert sent_origin(header) is None


@pytest.mark.parametrize(
    ("written", "names", "others"),
    [
        ("Call.Example", ["call.example"], ["a.call.example", "example"]),
        (".münchen.example", ["xn--mnchen-3ya.example", "a.xn--mnchen-3ya.example"], ["axn--mnchen-3ya.example"]),
        ("*.team.example", ["a.team.example", "a.b.team.example"], ["team.example", "ateam.example"]),
        ("*", ["any.example", "127.0.0.1"], []),
        ("10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
        ("0::1", ["[::1]"], ["[::2]"]),
        ("[0::1]", ["[::1]"], ["[::2]"]),
    ],
)
def test_a_host_pattern_stands_for_names(written: str, names: list[str], others: list[str]) -> None:
    pattern = host_pattern(written)
    assert [host_matches(name, pattern) for name in names + others] == [True] * len(names) + [False] * len(others)


@pytest.mark.parametrize(
    "written", ["ex*mple.com", "call.example:8000", "https://call.example", "a b", "1.2.3", "*.", "a..b"]
)
def test_a_host_that_no_server_has_is_refused_at_start(written: str) -> None:
    with pytest.raises(SettingsError, match="a host is a name or an address, without scheme and port"):
        load(environ={"ALLOWED_HOSTS": f"localhost,{written}"})
