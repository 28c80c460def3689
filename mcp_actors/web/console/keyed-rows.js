/** Rows that follow a list of items: a row stays the same element as long as its item is listed, and keeps the focus. */

/** @template T */
export class KeyedRows {
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} parent
   * @param {{keyOf: (item: T) => string, create: (item: T) => HTMLElement, update: (row: HTMLElement, item: T) => void}} how
   */
  constructor(parent, how) {
    this.parent = parent;
    this.how = how;
  }

  /** @param {T[]} items with different keys */
  show(items) {
    const focused = /** @type {HTMLElement | null} */ (this.parent.contains(document.activeElement) ? document.activeElement : null);
    const index = [...this.parent.children].findIndex((row) => row.contains(focused));
    const keys = new Set(items.map(this.how.keyOf));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    this.#place(items);
    if (focused && document.activeElement !== focused) this.#focus(focused, index);
  }

  /** Returns the focus to where it was, or to what is there now. @param {HTMLElement} focused @param {number} index of its row */
  #focus(focused, index) {
    const row = this.parent.children[index] ?? this.parent.lastElementChild;
    const next = focused.isConnected ? focused : row?.querySelector("a, button") ?? document.querySelector("main");
    /** @type {HTMLElement} */ (next).focus({preventScroll: true});
  }

  /** @param {T[]} items */
  #place(items) {
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const row = this.#rowOf(item);
      this.how.update(row, item);
      if (row === place) place = place.nextElementSibling;
      else this.parent.insertBefore(row, place);
    }
  }

  /** @param {T} item */
  #rowOf(item) {
    const key = this.how.keyOf(item);
    let row = this.#rows.get(key);
    if (!row) {
      row = this.how.create(item);
      this.#rows.set(key, row);
    }
    return row;
  }
}
