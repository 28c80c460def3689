"""Host names and origins as browsers send them, and patterns of them in settings."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import NamedTuple

_ALONE = {"*": "*", "null": "null", "file:": "file://"}
"""All origins, and those of pages without a host: from files or sandboxed frames, and in the WebViews of some
platforms."""

_ORIGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@\\:\[\]]+)(?::(?P<port>\d+))?")
_WRITTEN = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<host>\[[^\]]*\]|[^/?#\\:]*)(?::(?P<port>[^/?#\\]*))?(?P<rest>.*)"
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WEB_SOCKET = {"ws": "http", "wss": "https"}
_MAX_PORT = 65_535
_MAX_LABEL = 63


class Origin(NamedTuple):
    """An origin, or the pattern of one: a host `*.example.com` stands for all subdomains. A default port is None."""

    scheme: str
    host: str
    port: int | None

    def allows(self, other: Origin) -> bool:
        """Whether this is the origin of a page, or a pattern that it matches."""
        return self[::2] == other[::2] and host_matches(other.host, self.host)


def sent_origin(header: str) -> Origin | None:
    """Read an `Origin` header; None if it names no host."""
    found = _ORIGIN.fullmatch(header.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    return Origin(scheme, host.rstrip("."), _port(scheme, int(port)) if port else None)


def allowed_origin(text: str) -> Origin | str:
    """Read an origin as an operator writes it: `*`, `null`, `file://`, an origin, or the pattern of one.

    Raises `ValueError`, which says why no page can have such an origin.
    """
    alone = _ALONE.get(text.lower().rstrip("/"))
    if alone is not None:
        return alone
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError("an origin is scheme://host[:port], such as https://app.example.com")
    scheme, host, port, rest = found["scheme"].lower(), found["host"], found["port"], found["rest"]
    if scheme in _WEB_SOCKET:
        raise ValueError(f"it is the origin of a page, whose scheme is {_WEB_SOCKET[scheme]}")
    if rest not in ("", "/"):
        raise ValueError("an origin has no path, and nothing else behind its host and port")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
        raise ValueError(f"a port is a number from 1 to {_MAX_PORT}")
    if host == "*":
        raise ValueError("an asterisk stands for subdomains, as in https://*.example.com; alone, * allows every page")
    return Origin(scheme, host_pattern(host), _port(scheme, int(port)) if port else None)


def host_pattern(text: str) -> str:
    """Read a host name as an operator writes it: one name, `*.example.com`, `.example.com`, or `*`.

    `.example.com` includes `example.com`. Raises `ValueError`, which says why no host can have such a name.
    """
    prefix = next((one for one in ("*.", ".") if text.startswith(one)), "")
    return "*" if text == "*" else prefix + _host(text.removeprefix(prefix))


def host_matches(name: str, pattern: str) -> bool:
    """Whether a host has a name that a pattern stands for."""
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    return pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:]))


def _host(text: str) -> str:
    """A host name as browsers send it: an address in its shortest form, or a name in lower case and Punycode."""
    if ":" in text:
        return f"[{_address(text.removeprefix('[').removesuffix(']'))}]"
    labels = [_label(label) for label in re.split("[.\u3002]", text.rstrip("."))]
    return _address(".".join(labels)) if labels[-1].isdigit() else ".".join(labels)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text!r} is neither the name of a host nor its address") from None


def _label(label: str) -> str:
    """One label of a name, mapped as by UTS #46; ß and ς stay what they are."""
    folded = "".join(one if one in "ßς" else one.casefold() for one in unicodedata.normalize("NFKC", label))
    mapped = unicodedata.normalize("NFC", folded)
    found = mapped if mapped.isascii() else f"xn--{mapped.encode('punycode').decode()}"
    if len(found) > _MAX_LABEL or not _LABEL.fullmatch(found):
        raise ValueError(f"{label!r} is not a part of a host name")
    return found


def _port(scheme: str, port: int) -> int | None:
    return None if _DEFAULT_PORTS.get(scheme) == port else port
