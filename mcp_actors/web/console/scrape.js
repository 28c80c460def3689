/** One reading of all metrics, and what happened between two of them. */

import {parse} from "./exposition.js";

/** @typedef {import("./exposition.js").Sample} Sample */
/** @typedef {Record<string, string>} Labels */

/** Of the series of several processes, the sum counts: they have a label `process`. */
export class Scrape {
  /** @type {Map<string, Sample[]>} */
  #samples = new Map();

  /** @param {string} text as /metrics has it @param {number} time in milliseconds */
  constructor(text, time) {
    this.time = time;
    for (const sample of parse(text)) {
      const others = this.#samples.get(sample.name);
      if (others) others.push(sample);
      else this.#samples.set(sample.name, [sample]);
    }
  }

  /** The series of a metric that have these labels. @param {string} name @param {Labels} labels @returns {Sample[]} */
  series(name, labels = {}) {
    const wanted = Object.entries(labels);
    const all = this.#samples.get(name) ?? [];
    return wanted.length ? all.filter((one) => wanted.every(([label, value]) => one.labels[label] === value)) : all;
  }

  /** The sum of the values; NaN if there are none. @param {string} name @param {Labels} labels */
  sum(name, labels = {}) {
    const found = this.series(name, labels);
    return found.length ? found.reduce((sum, {value}) => sum + value, 0) : NaN;
  }

  /** The smallest value; NaN if there are none. @param {string} name */
  min(name) {
    const found = this.series(name);
    return found.length ? Math.min(...found.map(({value}) => value)) : NaN;
  }

  /** The numbers of the processes that were read; one without a number if there is only one. @returns {string[]} */
  get processes() {
    return [...new Set(this.series("mcp_actors_build_info").map(({labels}) => labels.process ?? ""))];
  }
}

/** The time between two scrapes. A counter that is smaller than before was started anew, and began at 0. */
export class Interval {
  /** @param {Scrape} before @param {Scrape} after */
  constructor(before, after) {
    this.seconds = (after.time - before.time) / 1000;
    this.before = before;
    this.after = after;
  }

  /** By how much each series grew. @param {string} name @param {Labels} labels @returns {Sample[]} */
  increases(name, labels = {}) {
    const earlier = new Map(this.before.series(name, labels).map((one) => [keyOf(one), one.value]));
    return this.after.series(name, labels).map((one) => {
      const last = earlier.get(keyOf(one)) ?? 0;
      return {...one, value: one.value >= last ? one.value - last : one.value};
    });
  }

  /** How much per second; NaN if there is no such metric. @param {string} name @param {Labels} labels */
  rate(name, labels = {}) {
    const found = this.increases(name, labels);
    return found.length && this.seconds > 0 ? found.reduce((sum, {value}) => sum + value, 0) / this.seconds : NaN;
  }

  /** The increase for each value of a label. @param {string} name @param {string} label @returns {Map<string, number>} */
  by(name, label) {
    const found = new Map();
    for (const {labels, value} of this.increases(name)) {
      found.set(labels[label], (found.get(labels[label]) ?? 0) + value);
    }
    return found;
  }

  /**
   * A quantile of what a histogram counted, evenly spread within each bucket; of the last bucket, its beginning. NaN if
   * it counted nothing.
   * @param {string} name without _bucket @param {number} share between 0 and 1 @param {Labels} labels
   */
  quantile(name, share, labels = {}) {
    const counts = new Map();
    for (const {labels: {le}, value} of this.increases(`${name}_bucket`, labels)) {
      const bound = le === "+Inf" ? Infinity : Number(le);
      counts.set(bound, (counts.get(bound) ?? 0) + value);
    }
    const buckets = [...counts].sort(([one], [other]) => one - other);
    const wanted = share * (buckets.at(-1)?.[1] ?? 0);
    if (!wanted) return NaN;
    let [lower, below] = [0, 0];
    for (const [bound, total] of buckets) {
      if (total >= wanted) return bound === Infinity ? lower : lower + ((bound - lower) * (wanted - below)) / (total - below);
      [lower, below] = [bound, total];
    }
    return lower;
  }
}

/** @param {Sample} sample */
const keyOf = ({labels}) => JSON.stringify(Object.entries(labels).sort(([one], [other]) => (one < other ? -1 : 1)));
