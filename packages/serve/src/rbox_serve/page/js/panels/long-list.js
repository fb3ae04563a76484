/**
 * A list of any length, of which only the rows in view are elements.
 *
 * @template Item
 * @typedef {object} Rows How the items of a list become rows.
 * @property {(item: Item) => string} keyOf What tells one row from all others.
 * @property {(item: Item, place: number) => HTMLElement} make Makes a row.
 */

import { h } from "../dom.js";

const HEIGHT = 28; // of a row, in pixels; the style sheet has the same
const BEYOND = 8; // rows above and below those in view

/** @template Item */
export class LongList {
  /** @type {Item[]} */
  #items = [];
  /** @type {Map<string, HTMLElement>} the rows that are there, by key */
  #rows = new Map();
  #holder = h("div", { class: "rows", role: "presentation" });

  /**
   * @param {HTMLElement} element Scrolls.
   * @param {Rows<Item>} rows
   * @param {() => void} onchange Called when other rows are there.
   */
  constructor(element, rows, onchange) {
    this.element = element;
    this.rows = rows;
    this.onchange = onchange;
    element.replaceChildren(this.#holder);
    element.addEventListener("scroll", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(element);
  }

  /** @param {Item[]} items */
  set items(items) {
    this.#items = items;
    this.#rows.clear();
    this.#holder.style.height = `${items.length * HEIGHT}px`;
    this.#draw();
  }

  /** The rows that are there. */
  get shown() {
    return this.#rows;
  }

  /**
   * Scroll so that an item is in view.
   *
   * @param {number} place
   */
  reveal(place) {
    const { scrollTop, clientHeight } = this.element;
    const top = place * HEIGHT;
    // The title of a group stands above its first row.
    if (top < scrollTop + HEIGHT) this.element.scrollTop = top - HEIGHT;
    else if (top + HEIGHT > scrollTop + clientHeight) this.element.scrollTop = top + HEIGHT - clientHeight;
    this.#draw();
  }

  #draw() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(0, Math.floor(scrollTop / HEIGHT) - BEYOND);
    const last = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / HEIGHT) + BEYOND);
    /** @type {Map<string, HTMLElement>} */
    const rows = new Map();
    for (let place = first; place < last; place++) {
      const item = this.#items[place];
      const key = this.rows.keyOf(item);
      const row = this.#rows.get(key) ?? this.rows.make(item, place);
      row.style.top = `${place * HEIGHT}px`;
      rows.set(key, row);
    }
    const isSame = rows.size === this.#holder.childElementCount && [...rows.values()].every((row) => row.isConnected);
    this.#rows = rows;
    if (isSame) return;
    this.#holder.replaceChildren(...rows.values());
    this.onchange();
  }
}
