"""Patterns of paths."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.http.path_patterns import PathPatterns, is_pattern


def patterns() -> PathPatterns[str]:
    found: PathPatterns[str] = PathPatterns()
    for pattern in ("/api/rooms", "/api/rooms/{room}", "/api/rooms/{room}/members/{kind}/{id}"):
        found.add(pattern, pattern)
    return found


@pytest.mark.parametrize(
    ("path", "route", "parameters"),
    [
        ("/api/rooms/a", "/api/rooms/{room}", {"room": "a"}),
        ("/api/rooms/a%2Fb", "/api/rooms/{room}", {"room": "a/b"}),
        ("/api/rooms/%C3%A9%20%25", "/api/rooms/{room}", {"room": "é %"}),
        ("/api/%72ooms/a", "/api/rooms/{room}", {"room": "a"}),
        (
            "/api/rooms/a/members/peer/b%3F",
            "/api/rooms/{room}/members/{kind}/{id}",
            {"room": "a", "kind": "peer", "id": "b?"},
        ),
    ],
)
def test_the_variable_parts_of_a_path_are_decoded(path: str, route: str, parameters: dict[str, str]) -> None:
    assert patterns().find(path) == (route, parameters)


@pytest.mark.parametrize(
    "path", ["/", "", "*", "/api", "/api/rooms/", "/api/rooms/a/b", "/other/rooms/a", "/api/rooms/%FF"]
)
def test_other_paths_have_no_route(path: str) -> None:
    assert patterns().find(path) is None


def test_a_pattern_with_an_asterisk_stands_for_all_other_paths_below_its_first_part() -> None:
    found = patterns()
    found.add("/api/*", "others")
    assert found.find("/api/rooms/a") == ("/api/rooms/{room}", {"room": "a"})
    for path in ("/api", "/api/", "/api/rooms/a/b/c/d/e/f", "/api/rooms/%FF"):
        assert found.find(path) == ("others", {})
    assert found.find("/apis/x") is None


def test_a_pattern_has_braces_or_an_asterisk() -> None:
    assert [is_pattern(path) for path in ("/a/{b}", "/a/*", "/a/b", "/")] == [True, True, False, False]
