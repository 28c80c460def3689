/** The text format in which Prometheus reads metrics. */

/** @typedef {{name: string, labels: Record<string, string>, value: number}} Sample */

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*$/;
const LABEL = /([A-Za-z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?\s*/g;
/** @type {Record<string, number>} */
const SPECIAL = {"+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity};
/** @type {Record<string, string>} */
const ESCAPES = {n: "\n"};

/** Reads the samples of a scrape; lines that are none are left out. @param {string} text @returns {Sample[]} */
export function parse(text) {
  const found = [];
  for (const line of text.split("\n")) {
    const match = line.startsWith("#") ? null : LINE.exec(line);
    if (match) found.push({name: match[1], labels: labelsOf(match[2] ?? ""), value: numberOf(match[3])});
  }
  return found;
}

/** @param {string} text */
function labelsOf(text) {
  /** @type {Record<string, string>} */
  const labels = {};
  for (const [, name, value] of text.matchAll(LABEL)) {
    labels[name] = value.replace(/\\(.)/g, (_, character) => ESCAPES[character] ?? character);
  }
  return labels;
}

/** @param {string} text */
const numberOf = (text) => SPECIAL[text] ?? Number(text);
