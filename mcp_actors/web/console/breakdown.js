/** What went wrong in the last two minutes, by its code or reason. */

import {element, setText} from "./element.js";
import {count} from "./format.js";
import {WINDOW} from "./history.js";
import {KeyedRows} from "./keyed-rows.js";

const SOURCES = /** @type {const} */ ([
  ["mcp_actors_errors_total", "code", "error"],
  ["mcp_actors_handshakes_refused_total", "reason", "handshake refused"],
  ["mcp_actors_rate_limit_actions_total", "action", "rate limit"],
]);

export class Breakdown {
  /** @type {{time: number, counts: Map<string, number>}[]} */
  #seen = [];
  #rows;
  #empty;

  /** @param {HTMLElement} body of a table @param {HTMLElement} empty shown if there is nothing */
  constructor(body, empty) {
    this.#empty = empty;
    this.#rows = new KeyedRows(body, {
      keyOf: ([name]) => name,
      create: ([name]) => element("tr", {}, element("th", {scope: "row"}, name), element("td", {class: "numeric"})),
      update: (/** @type {any} */ row, [, number]) => setText(row.cells[1], count(number)),
    });
  }

  /** @param {import("./scrape.js").Interval} interval */
  add(interval) {
    const {time} = interval.after;
    const counts = new Map();
    for (const [metric, label, what] of SOURCES) {
      for (const [value, number] of interval.by(metric, label)) if (number) counts.set(`${what}: ${value}`, number);
    }
    this.#seen = [...this.#seen.filter((one) => one.time > time - WINDOW), {time, counts}];
    this.#show();
  }

  #show() {
    const sums = new Map();
    for (const {counts} of this.#seen) {
      for (const [name, number] of counts) sums.set(name, (sums.get(name) ?? 0) + number);
    }
    this.#rows.show([...sums].sort(([, one], [, other]) => other - one));
    this.#empty.hidden = sums.size > 0;
  }
}
