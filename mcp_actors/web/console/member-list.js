/** The members of a room, one row for each connection, and what an operator can do with them. */

import {byId, element, nameElement, setText} from "./element.js";
import {KeyedRows} from "./keyed-rows.js";
import {metadataElement} from "./metadata.js";

/** @typedef {import("./api.js").Member} Member */

/** Event "kick" and event "message" {kind, id}: the operator wants that for a member. */
export class MemberList extends EventTarget {
  /** @type {Member[]} */
  #members = [];
  #filter = byId("member-filter");
  #rows = new KeyedRows(byId("members-body"), {
    keyOf: ({kind, id, order}) => JSON.stringify([kind, id, order]),
    create: (member) => this.#rowOf(member),
    update,
  });

  constructor() {
    super();
    this.#filter.addEventListener("input", () => this.#draw());
  }

  /** @param {Member[]} members */
  show(members) {
    this.#members = members;
    this.#draw();
  }

  /** Forgets the members and the filter. */
  clear() {
    this.#filter.value = "";
    this.show([]);
  }

  #draw() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const shown = this.#members.filter(({id, metadata}) => `${id}\n${JSON.stringify(metadata)}`.toLowerCase().includes(wanted));
    this.#rows.show(shown);
    byId("members-table").hidden = shown.length === 0;
    byId("members-empty").hidden = shown.length > 0;
    setText(byId("members-empty"), this.#members.length ? "No member has an id or metadata with this text." : "Nobody is in this room.");
  }

  /** @param {Member} member */
  #rowOf({kind, id, order}) {
    const act = (/** @type {string} */ type) => () => this.dispatchEvent(new CustomEvent(type, {detail: {kind, id}}));
    const message = element("button", {type: "button", "aria-label": `Message to ${id}`, click: act("message")}, "Message");
    const kick = element("button", {type: "button", class: "danger", "aria-label": `Kick ${id}`, click: act("kick")}, "Kick");
    return element(
      "tr",
      {},
      element("th", {scope: "row"}, nameElement(id), " ", ...["verified", "away"].map((name) => element("span", {class: `badge ${name}`}, name))),
      element("td", {"data-label": "Kind"}, kind),
      element("td", {class: "numeric", "data-label": "Order"}, String(order)),
      element("td", {"data-label": "Node", class: "node"}),
      element("td", {"data-label": "Metadata", class: "metadata"}),
      element("td", {class: "actions"}, message, " ", kick),
    );
  }
}

/** @param {any} row @param {Member} member */
function update(row, {node, metadata, verified, detached}) {
  row.querySelector(".verified").hidden = !verified;
  row.querySelector(".away").hidden = !detached;
  setText(row.querySelector(".node"), node);
  const text = JSON.stringify(metadata);
  if (row.dataset.metadata === text) return; // a part that is open stays open
  row.dataset.metadata = text;
  row.querySelector(".metadata").replaceChildren(metadataElement(metadata));
}
