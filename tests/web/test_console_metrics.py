"""The console's modules read the metrics of Prometheus and compute rates and quantiles between two scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.web.pages import PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

TEXT = r"""# HELP one A counter.
# TYPE one counter
one_total{process="1",code="a"} 3
one_total{process="2",code="a"} 4.5e1
one_total{process="2",code="b\"\\\n,}x"} 1 1700000000000
empty
plain +Inf
nothing NaN
"""
LATER = r"""one_total{process="1",code="a"} 13
one_total{process="2",code="a"} 5
one_total{process="2",code="c"} 2
"""
HISTOGRAM = """
lag_bucket{process="1",le="0.1"} %d
lag_bucket{process="1",le="0.2"} %d
lag_bucket{process="1",le="+Inf"} %d
lag_bucket{process="2",le="0.1"} 0
lag_bucket{process="2",le="0.2"} %d
lag_bucket{process="2",le="+Inf"} %d
"""


@pytest.fixture(scope="module")
def page(chromium: Browser, site: str) -> Iterator[Page]:
    """One page for all tests, which change nothing in it."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(site + PLAIN)
        yield page


def evaluate(page: Page, module: str, script: str, argument: Any = None) -> Any:
    """The value of a script that may use the exports of a module of the console as `the`."""
    return page.evaluate(f"async (it) => {{ const the = await import('/console/{module}'); {script} }}", argument)


def between(page: Page, before: str, after: str, expression: str) -> Any:
    """The value of an expression about the interval of 2 seconds between two scrapes."""
    script = "const interval = new the.Interval(new the.Scrape(it[0], 1000), new the.Scrape(it[1], 3000)); return "
    return evaluate(page, "scrape.js", script + expression, [before, after])


def test_samples_are_read_with_their_labels_and_values(page: Page) -> None:
    samples = evaluate(
        page, "exposition.js", "return the.parse(it).map((one) => [one.name, one.labels, one.value + '']);", TEXT
    )
    assert samples == [
        ["one_total", {"process": "1", "code": "a"}, "3"],
        ["one_total", {"process": "2", "code": "a"}, "45"],
        ["one_total", {"process": "2", "code": 'b"\\\n,}x'}, "1"],
        ["plain", {}, "Infinity"],
        ["nothing", {}, "NaN"],
    ]


def test_the_series_of_all_processes_are_added_up(page: Page) -> None:
    sums = "found.sum('one_total'), found.sum('one_total', {code: 'a'}), found.min('one_total')"
    script = f"const found = new the.Scrape(it, 0); return [{sums}];"
    assert evaluate(page, "scrape.js", script, TEXT) == [49, 48, 1]


def test_a_rate_takes_a_process_that_was_restarted_for_a_new_one(page: Page) -> None:
    assert between(page, TEXT, LATER, "interval.rate('one_total')") == (10 + 5 + 2) / 2
    assert between(page, TEXT, LATER, "[...interval.by('one_total', 'code')]") == [["a", 15], ["c", 2]]
    assert between(page, TEXT, LATER, "String(interval.rate('unknown_total'))") == "NaN"


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, 0.1), (0.25, 0.05), (0.75, 0.15), (1, 0.2)],
)
def test_a_quantile_lies_within_its_bucket(page: Page, share: float, expected: float) -> None:
    before, after = HISTOGRAM % (100, 100, 100, 50, 50), HISTOGRAM % (110, 115, 115, 55, 55)
    assert between(page, before, after, f"interval.quantile('lag', {share})") == pytest.approx(expected)


def test_a_quantile_in_the_last_bucket_is_its_beginning_and_that_of_nothing_is_none(page: Page) -> None:
    before, after = HISTOGRAM % (0, 0, 0, 0, 0), HISTOGRAM % (0, 0, 9, 0, 0)
    assert between(page, before, after, "interval.quantile('lag', 0.5)") == 0.2
    assert between(page, after, after, "String(interval.quantile('lag', 0.5))") == "NaN"


def test_a_history_forgets_what_is_older_than_two_minutes(page: Page) -> None:
    script = """
      const history = new the.History();
      for (const [time, value] of [[0, 9], [1000, 3], [60000, NaN], [121000, 5]]) history.add(time, value);
      return [history.points.map(({time}) => time), history.min, history.max];
    """
    assert evaluate(page, "history.js", script) == [[1000, 60000, 121000], 3, 5]


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        ("the.rate(0)", "0"),
        ("the.rate(0.001)", "<0.01"),
        ("the.rate(0.126)", "0.13"),
        ("the.rate(12345.6)", "12,346"),
        ("the.rate(NaN)", "–"),  # noqa: RUF001 - a dash
        ("the.milliseconds(0.000171)", "0.17"),
        ("the.milliseconds(1.5)", "1,500"),
        ("the.duration(0.4)", "0 s"),
        ("the.duration(3725)", "1 h 2 min"),
        ("the.duration(86400)", "1 d"),
        ("the.counted(1, 'room')", "1 room"),
    ],
)
def test_numbers_are_short(page: Page, call: str, shown: str) -> None:
    assert evaluate(page, "format.js", f"return {call};") == shown
