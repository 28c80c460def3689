"""The plots: CPU per message and memory per connection by contender, and latency against load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bench.results import OURS

if TYPE_CHECKING:
    from pathlib import Path

    from bench.figures import Figure
    from bench.results import Results


class Bars(NamedTuple):
    """A quantity of a scenario, with a bar for each contender."""

    file: str
    title: str
    scenario: str
    variant: str
    quantity: str
    unit: float = 1
    apart: str = ""
    """Another quantity, stacked on the first."""


SPANNING = "CPU per {} of both processes, with that of Redis stacked on it, microseconds"
BARS = (
    Bars("cpu-candidate.png", "Server CPU per candidate, microseconds", "relay", "candidate", "cpu_us"),
    Bars("cpu-offer.png", "Server CPU per offer, microseconds", "relay", "offer", "cpu_us"),
    Bars(
        "cpu-candidate.png", SPANNING.format("candidate"), "relay-processes", "candidate", "cpu_us", 1, "redis_cpu_us"
    ),
    Bars("cpu-offer.png", SPANNING.format("offer"), "relay-processes", "offer", "cpu_us", 1, "redis_cpu_us"),
    Bars("cpu-broadcast.png", "Server CPU per delivery of a broadcast, microseconds", "broadcast", "", "cpu_us"),
    Bars("mesh.png", "Time until 30 peers are connected, milliseconds", "signaling-mesh", "30", "latency_p50_us", 1000),
    Bars(
        "mesh-cpu.png", "CPU of servers and Redis for a mesh of 30, milliseconds", "signaling-mesh", "30", "mesh_cpu_ms"
    ),
    Bars(
        "rate.png", "p99 latency at 1,000 candidates per second, ms", "signaling-rate", "1000", "latency_p99_us", 1000
    ),
    Bars("kill.png", "Messages lost silently when a process is killed", "signaling-faults", "kill", "lost"),
    Bars("memory.png", "Memory per joined connection, KiB", "idle", "", "bytes_per_connection", 1024),
)
ACCENT, MUTED, APART = "#0b6e99", "#b8c4cc", "#d98c4a"


def draw(results: Results, directory: Path) -> list[Path]:
    """Draw all plots with data. Return the files. Raises ImportError if matplotlib is missing."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and absent where only tests run

    mpl.use("Agg")
    drawn = []
    for plot in BARS:
        drawn += _bars(results, plot, directory)
    return drawn + _load(results, directory)


def _bars(results: Results, plot: Bars, directory: Path) -> list[Path]:
    found = {
        one.contender: figures
        for one in results.measured
        if (one.scenario, one.variant) == (plot.scenario, plot.variant) and plot.quantity in (figures := one.figures)
    }
    if not found:
        return []
    names = sorted(found, key=lambda contender: -found[contender][plot.quantity].median)
    figure, axes = _figure(plot.title, 0.45 * len(names) + 1.2)
    drawn = [found[contender][plot.quantity] for contender in names]
    values = [one.median / plot.unit for one in drawn]
    below = [(one.median - one.least) / plot.unit for one in drawn]
    above = [(one.most - one.median) / plot.unit for one in drawn]
    colors = [ACCENT if contender == OURS else MUTED for contender in names]
    bars = axes.barh(names, values, xerr=[below, above], color=colors, ecolor="#555555", capsize=3)
    if plot.apart:
        _beyond(axes, names, values, [found[contender].get(plot.apart) for contender in names])
    else:
        axes.bar_label(bars, fmt="%.1f", padding=6)
    axes.margins(x=0.12)
    return [_saved(figure, directory / plot.file)]


def _beyond(axes: Any, names: list[str], start: list[float], figures: list[Figure | None]) -> None:
    lengths = [figure.median if figure else 0.0 for figure in figures]
    bars = axes.barh(names, lengths, left=start, color=APART, height=0.4)
    labels = [f"{one:.1f}" + f" + {more:.1f}" * bool(more) for one, more in zip(start, lengths, strict=True)]
    axes.bar_label(bars, labels=labels, padding=6)


def _load(results: Results, directory: Path) -> list[Path]:
    if not results.load_points:
        return []
    figure, axes = _figure("Latency of a candidate against load, p50 (dashed) and p99", 5)
    names = sorted({point.contender for point in results.load_points}, key=lambda name: (name != OURS, name))
    for contender in names:
        points = [point for point in results.load_points if point.contender == contender]
        points.sort(key=lambda point: point.rate)
        rates = [point.rate for point in points]
        (line,) = axes.plot(
            rates,
            [point.outcome.latency.p99 / 1000 for point in points],
            marker="o",
            markersize=4,
            linewidth=2.5 if contender == OURS else 1.3,
            label=contender,
        )
        p50 = [point.outcome.latency.p50 / 1000 for point in points]
        axes.plot(rates, p50, linestyle="--", linewidth=1, color=line.get_color())
    axes.set(xlabel="messages per second", ylabel="milliseconds", yscale="log")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
    return [_saved(figure, directory / "latency.png")]


def over_time(path: Path, title: str, curves: dict[str, list[tuple[float, float]]]) -> Path:
    """Draw quantities over time; a NaN interrupts a line. Raises ImportError if matplotlib is missing."""
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("Agg")
    figure, axes = _figure(title, 4)
    for name, points in curves.items():
        axes.plot([at for at, _ in points], [value for _, value in points], linewidth=1.3, label=name)
    axes.set(xlabel="seconds", ylim=(0, None))
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
    return _saved(figure, path)


def _figure(title: str, height: float) -> tuple[Any, Any]:
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, height))
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _saved(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
