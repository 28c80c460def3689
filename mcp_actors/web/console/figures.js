/** The figures of this server, each with its value now and a chart of the last two minutes. */

import {element, setText} from "./element.js";
import {count, megabytes, milliseconds, percent, rate} from "./format.js";
import {History} from "./history.js";
import {Interval} from "./scrape.js";
import {Sparkline} from "./sparkline.js";

/** @typedef {import("./scrape.js").Scrape} Scrape */
/**
 * @typedef {{title: string, unit: string, show: (value: number) => string, now?: (scrape: Scrape) => number,
 *   between?: (interval: Interval) => number, note?: (interval: Interval) => string}} Figure
 *   `now` or `between` return the value
 */

const RELAY = "mcp_actors_relay_latency_seconds";
const LAG = "mcp_actors_event_loop_lag_seconds";
const MEMORY = "process_resident_memory_bytes";

/** The 99th percentile of a histogram, if it counted anything. @param {Interval} interval @param {string} histogram */
function slowest(interval, histogram) {
  const seconds = interval.quantile(histogram, 0.99);
  return Number.isNaN(seconds) ? "" : `p99 ${milliseconds(seconds)}`;
}

/** @type {Figure[]} */
const FIGURES = [
  {title: "Members", unit: "", show: count, now: (scrape) => scrape.sum("mcp_actors_members")},
  {title: "Connections", unit: "", show: count, now: (scrape) => scrape.sum("mcp_actors_connections")},
  {title: "Clients away", unit: "", show: count, now: (scrape) => scrape.sum("mcp_actors_sessions", {state: "detached"})},
  {title: "Joins", unit: "/s", show: rate, between: (interval) => interval.rate("mcp_actors_joins_total")},
  {title: "Messages in", unit: "/s", show: rate, between: (interval) => interval.rate("mcp_actors_messages_received_total")},
  {title: "Messages out", unit: "/s", show: rate, between: (interval) => interval.rate("mcp_actors_messages_sent_total")},
  {
    title: "Relay latency",
    unit: "ms",
    show: milliseconds,
    between: (interval) => interval.quantile(RELAY, 0.5),
    note: (interval) => slowest(interval, RELAY),
  },
  {
    title: "Event loop lag",
    unit: "ms",
    show: milliseconds,
    between: (interval) => interval.quantile(LAG, 0.5),
    note: (interval) => slowest(interval, LAG),
  },
  {title: "Errors to clients", unit: "/s", show: rate, between: (interval) => interval.rate("mcp_actors_errors_total")},
  {title: "Refused handshakes", unit: "/s", show: rate, between: (interval) => interval.rate("mcp_actors_handshakes_refused_total")},
  {title: "CPU", unit: "%", show: percent, between: (interval) => interval.rate("process_cpu_seconds_total")},
  {title: "Memory", unit: "MB", show: megabytes, now: (scrape) => scrape.sum(MEMORY)},
];

export class Figures {
  /** @type {Scrape | undefined} */
  #last;
  #tiles;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#tiles = FIGURES.map((figure) => new Tile(figure));
    list.replaceChildren(...this.#tiles.map(({item}) => item));
  }

  /** The time since the scrape before; undefined after the first one. @type {Interval | undefined} */
  interval;

  /** @param {Scrape} scrape */
  add(scrape) {
    this.interval = this.#last && scrape.time > this.#last.time ? new Interval(this.#last, scrape) : undefined;
    this.#last = scrape;
    for (const tile of this.#tiles) tile.add(scrape, this.interval);
  }
}

class Tile {
  #figure;
  #history = new History();
  #chart = new Sparkline();
  #value = element("span", {class: "number"}, "–");
  #note = element("p", {class: "note"});

  /** @param {Figure} figure */
  constructor(figure) {
    this.#figure = figure;
    const unit = element("span", {class: "unit"}, figure.unit);
    this.item = element(
      "li",
      {class: "tile"},
      element("h3", {}, figure.title),
      element("p", {class: "value"}, this.#value, " ", unit),
      this.#note,
      this.#chart.svg,
    );
    this.#chart.draw(this.#history, 0, `${figure.title}: no values yet`);
  }

  /** @param {Scrape} scrape @param {Interval | undefined} interval */
  add(scrape, interval) {
    const {now, between, note, show} = this.#figure;
    const value = now ? now(scrape) : between && interval ? between(interval) : NaN;
    this.#history.add(scrape.time, value);
    setText(this.#value, show(value));
    setText(this.#note, note ? (interval ? note(interval) : "") : between ? this.#peak() : "");
    this.#chart.draw(this.#history, scrape.time, this.#inWords(value));
  }

  #peak() {
    return this.#history.max > 0 ? `peak ${this.#figure.show(this.#history.max)}` : "";
  }

  /** @param {number} value */
  #inWords(value) {
    const {title, unit, show} = this.#figure;
    const {min, max} = this.#history;
    const measured = unit ? ` ${unit}` : "";
    if (!Number.isFinite(max)) return `${title}: no values yet`;
    return `${title}: now ${show(value)}${measured}, from ${show(min)} to ${show(max)}${measured} in the last two minutes`;
  }
}
