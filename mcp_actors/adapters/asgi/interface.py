"""The types of ASGI 3 (asgi.readthedocs.io), and the headers of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]


class Headers(Mapping[str, str]):
    """The headers of a scope, found in any case. Of several with one name, the values are joined with commas."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: dict[str, str] = {}
        for name, value in raw:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            known = self._values.get(key)
            self._values[key] = text if known is None else f"{known},{text}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def with_host(self, host: str) -> Headers:
        """Return the same headers, but with this `Host`."""
        changed = Headers(())
        changed._values = {**self._values, "host": host}
        return changed


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as an ASGI server takes them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
