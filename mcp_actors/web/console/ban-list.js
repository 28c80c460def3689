/** The bans of a room. */

import {byId, element, nameElement, setText} from "./element.js";
import {duration} from "./format.js";
import {KeyedRows} from "./keyed-rows.js";

/** @typedef {import("./api.js").Ban} Ban */

/** Event "unban" {kind, id}: the operator wants to lift a ban. */
export class BanList extends EventTarget {
  #rows = new KeyedRows(byId("bans-body"), {
    keyOf: ({kind, id}) => JSON.stringify([kind, id]),
    create: (ban) => this.#rowOf(ban),
    update: (/** @type {any} */ row, {expires_in}) => setText(row.querySelector(".left"), duration(expires_in)),
  });

  /** @param {Ban[]} bans */
  show(bans) {
    this.#rows.show(bans);
    byId("bans").hidden = bans.length === 0;
  }

  /** @param {Ban} ban */
  #rowOf({kind, id, by, message, reason}) {
    const lift = () => this.dispatchEvent(new CustomEvent("unban", {detail: {kind, id}}));
    return element(
      "tr",
      {},
      element("th", {scope: "row"}, nameElement(id)),
      element("td", {"data-label": "Kind"}, kind),
      element("td", {"data-label": "Ends in", class: "left numeric"}),
      element("td", {"data-label": "By"}, nameElement(by || "operator")),
      element("td", {"data-label": "Message", class: "words"}, message || reason || ""),
      element("td", {class: "actions"}, element("button", {type: "button", "aria-label": `Lift the ban of ${id}`, click: lift}, "Lift")),
    );
  }
}
