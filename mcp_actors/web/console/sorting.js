/** The order of a table, which the buttons in its head change. */

import {setAttribute} from "./element.js";

const collator = new Intl.Collator("en", {numeric: true});

/** Event "change": there is another order. */
export class Sorting extends EventTarget {
  #key;
  #descending = false;
  #buttons;

  /** @param {HTMLElement} head with buttons that have `data-sort` @param {string} key of the order at first */
  constructor(head, key) {
    super();
    this.#key = key;
    this.#buttons = [.../** @type {NodeListOf<HTMLElement>} */ (head.querySelectorAll("[data-sort]"))];
    for (const button of this.#buttons) button.addEventListener("click", () => this.#choose(button));
    this.#show();
  }

  /** The items in this order, and those that are equal by their names. @template {Record<string, any>} T @param {T[]} items @returns {T[]} */
  sorted(items) {
    const sign = this.#descending ? -1 : 1;
    return [...items].sort((one, other) => sign * compare(one[this.#key], other[this.#key]) || compare(one.name, other.name));
  }

  /** Names begin with A, and numbers with the largest. @param {HTMLElement} button */
  #choose({dataset: {sort, first}}) {
    this.#descending = sort === this.#key ? !this.#descending : first === "descending";
    this.#key = sort ?? this.#key;
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  #show() {
    for (const button of this.#buttons) {
      const order = button.dataset.sort === this.#key && (this.#descending ? "descending" : "ascending");
      setAttribute(/** @type {Element} */ (button.closest("th")), "aria-sort", order || null);
    }
  }
}

/** @param {unknown} one @param {unknown} other */
function compare(one, other) {
  if (typeof one === "string" && typeof other === "string") return collator.compare(one, other) || (one < other ? -1 : Number(one > other));
  return Number(one) - Number(other);
}
