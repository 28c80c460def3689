"""The table and its JSON."""

from __future__ import annotations

import json

from mcp_actors import __version__
from mcp_actors.probe.report import Report, failed, ok, skipped

REPORT = Report(
    "http://localhost:8000",
    [ok("address", "it answers", 1.26), skipped("TLS", "not used"), failed("TURN", "no answer", "open the port")],
)


def test_a_table_has_a_line_for_each_check_and_says_what_to_change() -> None:
    assert REPORT.as_text().splitlines() == [
        f"mcp-actors {__version__} probes http://localhost:8000",
        "",
        "  ok       address  it answers (1.3 ms)",
        "  skipped  TLS      not used",
        "  failed   TURN     no answer",
        "                    -> open the port",
        "",
        "3 checks: 1 ok, 1 failed, 1 skipped",
    ]


def test_json_has_the_same() -> None:
    found = json.loads(REPORT.as_json())
    assert (found["url"], found["version"]) == ("http://localhost:8000", __version__)
    assert [(check["name"], check["outcome"]) for check in found["checks"]] == [
        ("address", "ok"),
        ("TLS", "skipped"),
        ("TURN", "failed"),
    ]
    assert found["checks"][0]["milliseconds"] == 1.3
    assert found["checks"][2]["advice"] == "open the port"


def test_only_a_failed_check_makes_a_report_fail() -> None:
    assert REPORT.has_failed
    assert not Report("", REPORT.checks[:2]).has_failed


def test_a_single_check_is_counted_as_one() -> None:
    assert Report("", REPORT.checks[:1]).as_text().endswith("\n1 check: 1 ok")
