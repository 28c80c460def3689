"""What a handshake brings; the contract asks over sockets which of them are refused."""

from __future__ import annotations

import pytest

from mcp_actors.adapters.http.endpoint_route import find_token, select_subprotocol


@pytest.mark.parametrize(
    ("authorization", "subprotocols", "in_query", "token"),
    [
        ("", [], [], None),
        ("Bearer a", ["mcp-actors.token.b"], ["c"], "a"),
        ("bearer  a ", [], [], "a"),
        ("Basic a", ["x", "mcp-actors.token.b"], ["c"], "b"),
        ("", [], ["c", "d"], "d"),
        ("Bearer", [], ["c"], ""),
    ],
)
def test_a_token_is_found_in_the_header_then_in_subprotocols_then_in_the_query(
    authorization: str, subprotocols: list[str], in_query: list[str], token: str | None
) -> None:
    assert find_token(authorization, subprotocols, in_query) == token


def test_the_subprotocol_with_the_token_is_never_chosen() -> None:
    assert select_subprotocol(["mcp-actors.token.b", "mcp-actors"]) == "mcp-actors"
    assert select_subprotocol(["mcp-actors.token.b", "chat"]) is None
