"""The first reason that applies."""

from __future__ import annotations

from importlib.resources import files

import pytest

from mcp_actors.client.aiortc.diagnosis import Findings, Reason, diagnose

HOST, RELAY, NONE = frozenset({"host"}), frozenset({"relay"}), frozenset[str]()


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Findings(is_refused=True, is_away=True), Reason.REFUSED_BY_SERVER),
        (Findings(is_away=True, local=NONE), Reason.PEER_GONE),
        (Findings(is_unanswered=True, local=HOST), Reason.PEER_GONE),
        (Findings(is_ice_connected=True, local=HOST), Reason.DTLS_FAILED),
        (Findings(is_ice_connected=True, is_dtls_connected=True, local=HOST), Reason.CHECKS_FAILED),
        (Findings(is_turn_refused=True, local=NONE), Reason.TURN_REFUSED),
        (Findings(is_turn_refused=True, local=RELAY), Reason.CHECKS_FAILED),
        (Findings(local=NONE), Reason.NO_CANDIDATES),
        (Findings(local=HOST, remote=HOST), Reason.NO_TURN),
        (Findings(local=None, remote=HOST), Reason.NO_TURN),
        (Findings(local=HOST, remote=RELAY), Reason.CHECKS_FAILED),
        (Findings(local=HOST, remote=HOST, was_connected=True), Reason.CHECKS_FAILED),
    ],
)
def test_the_first_reason_that_applies_is_told(found: Findings, reason: Reason) -> None:
    assert diagnose(found) == reason


def test_the_reasons_are_those_of_the_protocol() -> None:
    text = (files("mcp_actors") / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")
    table = text.split("### Why a pair is not connected", 1)[1].split("\n## ", 1)[0]
    assert {reason for reason in Reason if f"| `{reason}` |" in table} == set(Reason)
    assert table.count("\n| `") == len(Reason)
