/** How many tiles of a fixed aspect ratio fit into a rectangle. */

export const RATIO = 16 / 9;
export const MIN_WIDTH = 120; // CSS pixels: below this, tiles stay as they are and the rectangle scrolls

const NEARLY = 0.88; // of two grids whose tiles are nearly as large, the wider one looks better

const across = (columns, width, gap) => (width - gap * (columns - 1)) / columns;

/**
 * A grid with the largest tiles that shows all of them; or, if they would be too small, one that scrolls.
 * @param {number} count of tiles, at least 1
 * @param {number} width of the rectangle, as `height` and `gap` in CSS pixels
 * @returns {{columns: number, width: number, scrolls: boolean}} `width`: of a tile
 */
export function gridOf(count, width, height, gap) {
  const grids = Array.from({length: count}, (_, index) => {
    const [columns, rows] = [index + 1, Math.ceil(count / (index + 1))];
    return {columns, width: Math.floor(Math.min(across(columns, width, gap), across(rows, height, gap) * RATIO))};
  });
  const largest = Math.max(...grids.map((grid) => grid.width));
  const best = grids.findLast((grid) => grid.width >= Math.max(largest * NEARLY, Math.min(MIN_WIDTH, width)));
  if (best) return {...best, scrolls: false};
  const columns = Math.max(1, Math.floor((width + gap) / (MIN_WIDTH + gap)));
  return {columns, width: Math.max(1, Math.floor(across(columns, width, gap))), scrolls: true};
}

/** Arranges the children of an element as such a grid, now and whenever its size or their number changes. */
export class TileGrid {
  #element;

  constructor(element) {
    this.#element = element;
    new ResizeObserver(() => this.#arrange()).observe(element);
    new MutationObserver(() => this.#arrange()).observe(element, {childList: true});
  }

  #arrange() {
    const {clientWidth, clientHeight, children, style, dataset} = this.#element;
    if (!children.length || !clientWidth || !clientHeight) return;
    const gap = parseFloat(getComputedStyle(this.#element).columnGap) || 0;
    const {width, scrolls} = gridOf(children.length, clientWidth, clientHeight, gap);
    style.setProperty("--tile-width", `${width}px`);
    dataset.scrolls = String(scrolls);
    if (scrolls) this.#element.tabIndex = 0; // so that the keyboard can scroll it
    else this.#element.removeAttribute("tabindex");
  }
}
