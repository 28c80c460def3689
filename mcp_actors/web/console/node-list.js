/** The nodes that share rooms, and their leases. */

import {byId, element, nameElement, setAttribute, setText} from "./element.js";
import {KeyedRows} from "./keyed-rows.js";

/** @typedef {import("./api.js").Node} Node */

export class NodeList {
  #rows = new KeyedRows(byId("nodes-body"), {keyOf: ({node}) => node, create: rowOf, update});

  /** @param {Node[]} nodes */
  show(nodes) {
    this.#rows.show(nodes);
    byId("nodes-alone").hidden = nodes.length !== 1 || nodes[0].lease_seconds !== null;
  }
}

/** @param {Node} node */
function rowOf({node}) {
  const badge = element("span", {class: "badge"}, "this one");
  return element("tr", {}, element("th", {scope: "row"}, nameElement(node), " ", badge), element("td", {class: "numeric"}));
}

/** @param {any} row @param {Node} node */
function update(row, {answers, alive, lease_seconds}) {
  row.querySelector(".badge").hidden = !answers;
  setText(row.cells[1], !alive ? "dead" : lease_seconds === null ? "–" : `${lease_seconds.toFixed(1)} s`);
  setAttribute(row.cells[1], "data-bad", !alive || lease_seconds === 0);
}
