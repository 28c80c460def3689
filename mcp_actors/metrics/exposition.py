"""The answer to a scrape, and the families of prometheus_client, which is imported when they are first asked for."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

from msgspec import Struct

from mcp_actors.metrics.catalogue import METRICS, PREFIX
from mcp_actors.metrics.readings import Buckets, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric
    from prometheus_client.registry import Collector

PROCESS = "process"
"""The label that tells the processes of a server from each other."""


class Family(Struct, frozen=True, array_like=True):
    """A metric of the library itself: of the process, of Python and its garbage collector."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


class Snapshot(Struct, frozen=True):
    """All metrics of one process."""

    readings: list[Reading]
    library: list[Family]


class Exposition(NamedTuple):
    """The body of the answer to a scrape, and its type."""

    content_type: str
    body: bytes


class _Families:
    """A registry as an encoder of the library takes it."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def expose(snapshots: Mapping[str, Snapshot], accept: str) -> Exposition:
    """Return the metrics of all processes, by the value of their label `process`; empty for a process without one.

    `accept`: the header of the request, which may ask for OpenMetrics.
    """
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - 13 ms, for the first scrape to take

    encode, content_type = choose_encoder(accept)
    families = [*_own({name: one.readings for name, one in snapshots.items()}), *_library(snapshots)]
    return Exposition(content_type, encode(cast("Collector", _Families(families))))


def families(readings: Iterable[Reading]) -> list[Metric]:
    """Return the families of the metrics of one process."""
    return list(_own({"": readings}))


def descriptions() -> list[Metric]:
    """Return the families of all metrics, without values."""
    return [_family(name) for name in METRICS]


def _own(readings: Mapping[str, Iterable[Reading]]) -> Iterator[Metric]:
    found: dict[str, list[tuple[dict[str, str], Reading]]] = {name: [] for name in METRICS}
    for process, values in readings.items():
        for one in values:
            labels = _labels(process) | dict(zip(METRICS[one.name].labels, one.labels, strict=True))
            found[one.name].append((labels, one))
    for name, values_of_all in found.items():
        if values_of_all:
            family = _family(name)
            for labels, one in values_of_all:
                _add(family, labels, one.value)
            yield family


def _family(name: str) -> Metric:
    from prometheus_client import Metric  # noqa: PLC0415 - as above

    metric = METRICS[name]
    return Metric(PREFIX + name.removesuffix("_total"), metric.help, metric.kind)


def _add(family: Metric, labels: dict[str, str], value: float | Buckets) -> None:
    if not isinstance(value, Buckets):
        family.add_sample(family.name + ("_total" if family.type == "counter" else ""), labels, value)
        return
    total = 0
    for bound, count in zip((*value.bounds, float("inf")), value.counts, strict=True):
        total += count
        family.add_sample(f"{family.name}_bucket", labels | {"le": _bound(bound)}, total)
    family.add_sample(f"{family.name}_count", labels, total)
    family.add_sample(f"{family.name}_sum", labels, value.sum)


def _bound(bound: float) -> str:
    from prometheus_client.utils import floatToGoString  # noqa: PLC0415 - as above

    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


def _labels(process: str) -> dict[str, str]:
    return {PROCESS: process} if process else {}


@cache
def _collectors() -> Collector:
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    for kind in (ProcessCollector, GCCollector, PlatformCollector):
        kind(registry=registry)
    return registry


def read_library() -> list[Family]:
    """Return the metrics of the library about this process."""
    return [
        Family(
            one.name,
            one.type,
            one.documentation,
            [(sample.name, sample.labels, sample.value) for sample in one.samples],
        )
        for one in _collectors().collect()
    ]


def _library(snapshots: Mapping[str, Snapshot]) -> Iterator[Metric]:
    from prometheus_client import Metric  # noqa: PLC0415 - as above

    found: dict[str, Metric] = {}
    for process, snapshot in snapshots.items():
        for one in snapshot.library:
            family = found.setdefault(one.name, Metric(one.name, one.help, one.kind))
            for name, labels, value in one.samples:
                family.add_sample(name, _labels(process) | labels, value)
    yield from found.values()
