/** Numbers, times and sizes as the console shows them. */

const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
const NONE = "–";

/** A number of things. @param {number} value */
export const count = (value) => (Number.isFinite(value) ? whole.format(value) : NONE);

/** A rate: whole numbers from 10 on, and small ones with up to two digits. @param {number} value */
export function rate(value) {
  if (!Number.isFinite(value)) return NONE;
  if (value === 0 || value >= 10) return whole.format(value);
  return value < 0.005 ? "<0.01" : value.toFixed(value < 1 ? 2 : 1);
}

/** A short time, given in seconds, as milliseconds. @param {number} seconds */
export function milliseconds(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  const value = seconds * 1000;
  return value >= 10 ? whole.format(value) : value.toFixed(value < 0.1 ? 3 : value < 1 ? 2 : 1);
}

/** A share, 1 being all, in percent. @param {number} value */
export const percent = (value) => (Number.isFinite(value) ? whole.format(value * 100) : NONE);

/** Bytes in megabytes. @param {number} value */
export function megabytes(value) {
  if (!Number.isFinite(value)) return NONE;
  const found = value / 1_000_000;
  return found >= 10 ? whole.format(found) : found.toFixed(found < 1 ? 2 : 1);
}

const UNITS = /** @type {const} */ ([["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]]);

/** A duration in its two largest units, such as 2 h 5 min. @param {number} seconds */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return NONE;
  let rest = Math.max(0, Math.round(seconds));
  const parts = UNITS.map(([unit, size]) => {
    const number = Math.floor(rest / size);
    rest -= number * size;
    return {unit, number};
  });
  const first = parts.findIndex(({number}) => number > 0);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).filter(({number}) => number > 0).map(({unit, number}) => `${number} ${unit}`).join(" ");
}

/** A number with its noun. @param {number} value @param {string} one @param {string} many */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;
