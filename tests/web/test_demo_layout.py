"""The grid of tiles: as large as possible, and no smaller than can be recognized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.web.pages import PLAIN

if TYPE_CHECKING:
    from tests.web.pages import OpenPage

# Every count of tiles in windows of many sizes: the problems with what `gridOf` returns.
CHECK = """
async () => {
  const {gridOf, MIN_WIDTH, RATIO} = await import("/demo/layout.js");
  const problems = [];
  for (let width = 130; width < 2000; width += 61) {
    for (let height = 80; height < 1300; height += 47) {
      for (let count = 1; count <= 30; count++) {
        const gap = 8;
        const {columns, width: tile, scrolls} = gridOf(count, width, height, gap);
        const rows = Math.ceil(count / columns);
        const wide = columns * tile + (columns - 1) * gap, high = (rows * tile) / RATIO + (rows - 1) * gap;
        const fits = wide <= width && (scrolls || high <= height + 0.01);
        if (!fits || (!scrolls && tile < MIN_WIDTH)) problems.push([count, width, height]);
      }
    }
  }
  return problems;
}
"""
SIZES = """
async () => {
  const {gridOf} = await import("/demo/layout.js");
  const given = [[1, 1600, 900], [2, 1600, 450], [2, 400, 800], [6, 1200, 700], [30, 374, 700]];
  return given.map(([count, width, height]) => gridOf(count, width, height, 0));
}
"""


def test_all_tiles_fit_or_the_grid_scrolls(open_page: OpenPage) -> None:
    assert open_page(PLAIN).evaluate(CHECK) == []


def test_the_grid_has_the_shape_that_makes_tiles_large(open_page: OpenPage) -> None:
    assert open_page(PLAIN).evaluate(SIZES) == [
        {"columns": 1, "width": 1600, "scrolls": False},
        {"columns": 2, "width": 800, "scrolls": False},
        {"columns": 1, "width": 400, "scrolls": False},
        {"columns": 3, "width": 400, "scrolls": False},
        {"columns": 3, "width": 124, "scrolls": False},
    ]
