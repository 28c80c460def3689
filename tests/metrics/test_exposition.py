"""The text of a scrape, as Prometheus itself reads it."""

from __future__ import annotations

import re

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from mcp_actors.metrics.catalogue import METRICS, PREFIX
from mcp_actors.metrics.exposition import Snapshot, descriptions, expose, families, read_library
from mcp_actors.metrics.readings import Buckets, Reading
from tests.metrics.test_catalogue import promtool

READINGS = [
    Reading("rooms", 3),
    Reading("connections", 5, ("signaling",)),
    Reading("errors_total", 2, ("internal",)),
    Reading("relay_latency_seconds", Buckets((0.001, 1.0), (4, 0, 1), 2.5), ("signal",)),
]


def test_a_histogram_has_cumulative_buckets_a_count_and_a_sum() -> None:
    lines = expose({"": Snapshot(READINGS, [])}, "").body.decode().splitlines()
    assert 'mcp_actors_relay_latency_seconds_bucket{kind="signal",le="0.001"} 4.0' in lines
    assert 'mcp_actors_relay_latency_seconds_bucket{kind="signal",le="1.0"} 4.0' in lines
    assert 'mcp_actors_relay_latency_seconds_bucket{kind="signal",le="+Inf"} 5.0' in lines
    assert 'mcp_actors_relay_latency_seconds_count{kind="signal"} 5.0' in lines
    assert 'mcp_actors_relay_latency_seconds_sum{kind="signal"} 2.5' in lines


def test_promtool_finds_nothing_to_object_to_in_any_metric() -> None:
    readings = [
        Reading(
            one.name, Buckets((1.0,), (1, 2), 3.0) if one.kind == "histogram" else 1, tuple("x" for _ in one.labels)
        )
        for one in METRICS.values()
    ]
    text = expose({"1": Snapshot(readings, read_library())}, "").body.decode()
    assert not promtool("check", "metrics", given=text)
    assert {f"# HELP {PREFIX}{name}" for name in METRICS} <= set(re.findall(r"# HELP \w+", text))


def test_openmetrics_is_spoken_to_those_that_ask_for_it() -> None:
    found = expose({"": Snapshot(READINGS, [])}, "application/openmetrics-text; version=1.0.0, text/plain;q=0.5")
    assert found.content_type.startswith("application/openmetrics-text")
    text = found.body.decode()
    assert text.endswith("# EOF\n")
    families_read = list(read_openmetrics(text))  # type: ignore[no-untyped-call]
    assert {family.name for family in families_read} == {
        PREFIX + name for name in ("rooms", "connections", "errors", "relay_latency_seconds")
    }


def test_processes_are_told_apart_by_a_label_and_share_a_family() -> None:
    snapshots = {"1": Snapshot(READINGS, read_library()), "2": Snapshot([Reading("rooms", 4)], read_library())}
    text = expose(snapshots, "").body.decode()
    assert text.count("# TYPE mcp_actors_rooms gauge") == text.count("# TYPE process_open_fds gauge") == 1
    found = {family.name: family for family in read_text(text)}
    rooms = {sample.labels["process"]: sample.value for sample in found["mcp_actors_rooms"].samples}
    assert rooms == {"1": 3, "2": 4}
    for family in found.values():
        assert all(sample.labels["process"] in "12" for sample in family.samples)


def test_a_single_process_has_no_label_of_its_own() -> None:
    text = expose({"": Snapshot(READINGS, read_library())}, "").body.decode()
    assert "process=" not in text
    assert "mcp_actors_rooms 3.0" in text


def test_the_library_tells_about_the_process_and_the_garbage_collector() -> None:
    names = {family.name for family in read_library()}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections", "python_info"} <= names


def test_families_of_a_registry_have_the_names_that_were_described() -> None:
    described = {family.name for family in descriptions()}
    assert {family.name for family in families(READINGS)} <= described
    assert len(described) == len(METRICS)
