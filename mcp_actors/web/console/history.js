/** The values of one figure in the last two minutes. */

export const WINDOW = 120_000; // milliseconds

export class History {
  /** @type {{time: number, value: number}[]} */
  points = [];

  /** Adds a value; NaN if there was none. Times are milliseconds and do not decrease. @param {number} time @param {number} value */
  add(time, value) {
    this.points.push({time, value});
    const first = this.points.findIndex((point) => point.time >= time - WINDOW);
    this.points.splice(0, first);
  }

  /** @returns {number[]} */
  get #values() {
    return this.points.map(({value}) => value).filter(Number.isFinite);
  }

  /** The largest value; NaN if there is none. */
  get max() {
    const values = this.#values;
    return values.length ? Math.max(...values) : NaN;
  }

  /** The smallest value; NaN if there is none. */
  get min() {
    const values = this.#values;
    return values.length ? Math.min(...values) : NaN;
  }
}
