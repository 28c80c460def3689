/** The metadata of a member: JSON of a stranger, which is shown in one line, and as a whole on request. */

import {element} from "./element.js";

const SHORT = 40; // characters

/** @param {Record<string, unknown>} metadata @returns {HTMLElement | string} */
export function metadataElement(metadata) {
  const text = JSON.stringify(metadata);
  if (text === "{}" || text === undefined) return "";
  if (text.length <= SHORT) return element("code", {}, text);
  const summary = element("summary", {}, element("code", {}, `${[...text].slice(0, SHORT).join("")}…`));
  return element("details", {}, summary, element("pre", {tabindex: 0}, JSON.stringify(metadata, null, 2)));
}
