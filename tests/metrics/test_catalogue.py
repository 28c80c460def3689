"""The catalogue of metrics: docs/reference/metrics.md has the same, and files in deploy/ use no other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcp_actors.metrics.catalogue import METRICS, PREFIX
from mcp_actors.metrics.exposition import read_library

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
ROW = re.compile(r"^\| `(mcp_actors_\w+)` \| (\w+) \| ([^|]*) \| (.*) \|$", re.MULTILINE)

NAME = re.compile(r"\b(?:mcp_actors|process|python)_\w+")
GROUPING = re.compile(r"\bby \(([^)]*)\)")
MATCHER = re.compile(r'(\w+)\s*(?:=~|=|!=|!~)\s*"')
OF_THE_TARGET = {"job", "instance", "process", "le"}


def test_the_document_has_every_metric_with_its_type_labels_and_help() -> None:
    rows = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in ROW.findall(DOCUMENT)
    }
    assert rows == {PREFIX + one.name: (one.kind, one.labels, one.help) for one in METRICS.values()}


@pytest.mark.parametrize("name", METRICS)
def test_names_follow_the_conventions_of_prometheus(name: str) -> None:
    metric = METRICS[name]
    assert name.endswith("_total") is (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert not set(metric.labels) & {"room", "address", "user", "peer", "id"}


def shown() -> Iterator[str]:
    """Every expression of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def expressions() -> Iterator[str]:
    """Every expression of the dashboard, of its variables, and of the alerts."""
    yield from shown()
    variables = json.loads(DASHBOARD.read_text(encoding="utf-8"))["templating"]["list"]
    yield from (one["query"] for one in variables if one["type"] == "query")
    text = ALERTS.read_text(encoding="utf-8")
    for found in re.finditer(r"expr: (?:>-\n((?: {10,}.*\n)+)|(.*)\n)", text):
        yield " ".join((found[1] or found[2]).split())


def series() -> dict[str, set[str]]:
    """The labels of each series that a scrape can have, by its name."""
    found: dict[str, set[str]] = {}
    for one in METRICS.values():
        suffixes = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        for suffix in suffixes:
            found[PREFIX + one.name + suffix] = set(one.labels)
    for family in read_library():
        for name, labels, _ in family.samples:
            found.setdefault(name, set()).update(labels)
    return found


def test_there_are_expressions_of_all_kinds() -> None:
    assert len(list(expressions())) > 60
    assert sum("for:" in line for line in ALERTS.read_text(encoding="utf-8").splitlines()) > 5


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_an_expression_of_the_dashboard_or_an_alert_uses_what_exists(expression: str) -> None:
    known = series()
    names = set(NAME.findall(re.sub(r'"[^"]*"', '""', expression)))
    assert names
    assert names <= known.keys()
    labels = set(MATCHER.findall(expression)) | {
        one.strip() for group in GROUPING.findall(expression) for one in group.split(",")
    }
    assert labels <= OF_THE_TARGET.union(*(known[name] for name in names))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_shown_or_watched(name: str) -> None:
    unused = {"build_info", "addresses", "rooms_opened_total", "connections_opened_total", "sessions_opened_total"}
    used = any(re.search(rf"\b{PREFIX}{name}\b|\b{PREFIX}{name}_bucket\b", one) for one in expressions())
    assert used is (name not in unused) or name == "build_info"


def promtool(*arguments: str, given: str = "") -> str:
    assert shutil.which("promtool"), "install promtool: apt-get install prometheus"
    run = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def test_promtool_accepts_the_alerts() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(ALERTS))


def test_the_alerts_fire_when_they_should_and_else_do_not() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(ALERTS.with_name("alerts.test.yml")))
    tests: Any = ALERTS.with_name("alerts.test.yml").read_text(encoding="utf-8")
    for name in re.findall(r"alert: (\w+)", ALERTS.read_text(encoding="utf-8")):
        assert f"alertname: {name}" in tests, f"{name} has no test"
