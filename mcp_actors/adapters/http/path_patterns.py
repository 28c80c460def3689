"""Paths with variable parts, such as /rooms/{room}/members."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote

T = TypeVar("T")


def is_pattern(path: str) -> bool:
    """Whether a path has variable parts."""
    return "{" in path or path.endswith("/*")


class _Pattern(NamedTuple, Generic[T]):
    parts: tuple[str, ...]
    route: T


class PathPatterns(Generic[T]):
    """Routes by patterns of their paths. A part in braces stands for any part that is not empty.

    The percent-encoding of parts is undone one by one, so that a name may contain a slash. The pattern `/first/*`
    stands for all other paths below its first part.
    """

    def __init__(self) -> None:
        self._patterns: dict[tuple[str, int], list[_Pattern[T]]] = {}  # by the first part and the number of parts
        self._others: dict[str, T] = {}  # by the first part

    def add(self, pattern: str, route: T) -> None:
        """Add a route, which comes after those that were added before. The first part must be fixed."""
        parts = tuple(pattern.split("/"))
        if parts[-1] == "*":
            self._others[parts[1]] = route
        else:
            self._patterns.setdefault((parts[1], len(parts)), []).append(_Pattern(parts, route))

    def find(self, encoded: str) -> tuple[T, dict[str, str]] | None:
        """Return the route of a path as it was sent, and the variable parts by their names; None if there is none."""
        first = encoded[1:].partition("/")[0]
        if first not in self._others and (first, encoded.count("/") + 1) not in self._patterns:
            return None
        found = self._match(first, encoded.split("/"))
        if found is None and first in self._others:
            return self._others[first], {}
        return found

    def _match(self, first: str, encoded: list[str]) -> tuple[T, dict[str, str]] | None:
        candidates = self._patterns.get((first, len(encoded)), [])
        try:
            parts = [unquote(part, errors="strict") for part in encoded] if candidates else []
        except UnicodeDecodeError:
            return None
        for pattern in candidates:
            pairs = tuple(zip(pattern.parts, parts, strict=True))
            if all(part if name.startswith("{") else name == part for name, part in pairs):
                return pattern.route, {name[1:-1]: part for name, part in pairs if name.startswith("{")}
        return None
