/** A small chart of the last two minutes, from 0 to the largest value. */

import {element, setAttribute} from "./element.js";
import {WINDOW} from "./history.js";

const [WIDTH, HEIGHT] = [120, 30];
const GAP = 10_000; // milliseconds without a value that interrupt the line

export class Sparkline {
  #area = element("path", {class: "area"});
  #line = element("path", {class: "line", "vector-effect": "non-scaling-stroke"});
  svg = element(
    "svg",
    {class: "sparkline", role: "img", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none"},
    this.#area,
    this.#line,
  );

  /** @param {import("./history.js").History} history @param {number} now @param {string} name in words, for screen readers */
  draw(history, now, name) {
    const top = history.max > 0 ? history.max : 1;
    const runs = runsOf(history.points).map((run) =>
      run.map(({time, value}) => [WIDTH - ((now - time) / WINDOW) * WIDTH, HEIGHT - 1.5 - (value / top) * (HEIGHT - 3)]),
    );
    setAttribute(this.#line, "d", runs.map(lineOf).join(""));
    setAttribute(this.#area, "d", runs.map(areaOf).join(""));
    setAttribute(this.svg, "aria-label", name);
  }
}

/** Points without gaps between them. @param {{time: number, value: number}[]} points */
function runsOf(points) {
  /** @type {{time: number, value: number}[][]} */
  const runs = [];
  let last = -Infinity;
  for (const point of points.filter(({value}) => Number.isFinite(value))) {
    if (point.time - last > GAP) runs.push([]);
    runs[runs.length - 1].push(point);
    last = point.time;
  }
  return runs;
}

/** @param {number[][]} run */
const lineOf = (run) => run.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/** @param {number[][]} run */
const areaOf = (run) => `${lineOf(run)}L${run[run.length - 1][0].toFixed(1)} ${HEIGHT}L${run[0][0].toFixed(1)} ${HEIGHT}Z`;
