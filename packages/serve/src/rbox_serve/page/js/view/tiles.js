/**
 * An image as tiles: an overview at once, and sharper pieces of what is in view when they have been cut.
 *
 * @typedef {import("../types.js").Size} Size
 * @typedef {import("./viewport.js").View} View
 *
 * @typedef {object} Piece A part of the image, in its pixels, and where its picture is kept.
 * @property {string} key
 * @property {number} level Its picture is smaller by 2 to this power.
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 */

import { PageError } from "../errors.js";

const SIDE = 512; // of a tile, in pixels of its picture
const OVERVIEW = 2048; // an image that is no larger needs no tiles
const MOST_KEPT = 96; // tiles of 1 MB each
const AT_ONCE = 2; // the worker has one thread: what is asked for early may be out of view when its turn comes

// The only script address that the page makes: that of this module's neighbour.
const makesAddress = { createScriptURL: () => new URL("./tile-worker.js", import.meta.url).href };
const addresses =
  /** @type {any} */ (globalThis).trustedTypes?.createPolicy("rbox-worker", makesAddress) ?? makesAddress;

/**
 * Return the pieces of an image that a view shows, at the level that is sharp enough.
 *
 * @param {Size} image
 * @param {Size} pane In pixels of the screen.
 * @param {View} view
 * @param {number} density Device pixels for each pixel of the screen.
 * @returns {Piece[]}
 */
export function piecesInView(image, pane, view, density) {
  const level = Math.max(0, Math.floor(Math.log2(1 / (view.scale * density))));
  const side = SIDE * 2 ** level;
  const first = (/** @type {number} */ start) => Math.max(0, Math.floor(-start / view.scale / side));
  const last = (/** @type {number} */ start, /** @type {number} */ shown, /** @type {number} */ length) =>
    Math.min(Math.ceil((shown - start) / view.scale / side), Math.ceil(length / side));
  const pieces = [];
  for (let row = first(view.y); row < last(view.y, pane.height, image.height); row++) {
    for (let column = first(view.x); column < last(view.x, pane.width, image.width); column++) {
      const [left, top] = [column * side, row * side];
      const [width, height] = [Math.min(side, image.width - left), Math.min(side, image.height - top)];
      pieces.push({ key: `${level}/${column}/${row}`, level, left, top, width, height });
    }
  }
  return pieces;
}

export class Tiles {
  /** @type {Worker} */
  #worker;
  /** @type {Map<string, ImageBitmap>} by time of use, the latest last */
  #kept = new Map();
  /** @type {Set<string>} */
  #asked = new Set();
  /** @type {Piece[]} */
  #wanted = [];

  /** Called when there is more to draw. */
  onchange = () => {};

  /**
   * @param {Worker} worker That has the image open.
   * @param {Size & { overview: ImageBitmap }} opened
   */
  constructor(worker, { width, height, overview }) {
    this.#worker = worker;
    this.size = { width, height };
    this.overview = overview;
    worker.onmessage = ({ data }) => {
      this.#asked.delete(data.key);
      if (data.tile) this.#keep(data.key, data.tile);
      this.#ask();
      this.onchange();
    };
  }

  /**
   * Decode an image.
   *
   * @param {Blob} blob
   * @param {Size} [size] Of the image, where this is a smaller picture of it.
   * @returns {Promise<Tiles>}
   */
  static open(blob, size) {
    const worker = new Worker(addresses.createScriptURL(""), { type: "module" });
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.overview) {
          resolve(new Tiles(worker, data));
          return;
        }
        worker.terminate();
        reject(new PageError(`the browser cannot decode this image (${data.failed})`));
      };
      worker.onerror = () => reject(new PageError("the page's own script for tiles did not start", "Reload the page."));
      worker.postMessage({ open: blob, most: OVERVIEW, size });
    });
  }

  /** Whether the overview has all pixels. */
  get isWhole() {
    return this.overview.width === this.size.width;
  }

  /**
   * Draw what a view shows, as sharp as it is there by now, and ask for the rest.
   *
   * @param {CanvasRenderingContext2D} context Scaled to pixels of the image.
   * @param {Piece[]} pieces What is in view.
   */
  draw(context, pieces) {
    context.drawImage(this.overview, 0, 0, this.size.width, this.size.height);
    if (this.isWhole) return;
    this.#wanted = [];
    for (const piece of pieces) {
      // The overview is as sharp at this level.
      if (this.size.width / 2 ** piece.level <= this.overview.width) return;
      const tile = this.#kept.get(piece.key);
      if (tile) {
        this.#kept.delete(piece.key);
        this.#kept.set(piece.key, tile);
        context.drawImage(tile, piece.left, piece.top, piece.width, piece.height);
      } else this.#wanted.push(piece);
    }
    this.#ask();
  }

  close() {
    this.#worker.terminate();
    for (const tile of [this.overview, ...this.#kept.values()]) tile.close();
    this.onchange = () => {};
  }

  #ask() {
    for (const { key, level, left, top, width, height } of this.#wanted) {
      if (this.#asked.size >= AT_ONCE) return;
      if (this.#asked.has(key) || this.#kept.has(key)) continue;
      this.#asked.add(key);
      const size = [width, height].map((side) => Math.max(1, Math.round(side / 2 ** level)));
      this.#worker.postMessage({ cut: [left, top, width, height], size, key });
    }
  }

  /**
   * @param {string} key
   * @param {ImageBitmap} tile
   */
  #keep(key, tile) {
    this.#kept.set(key, tile);
    for (const [oldest, dropped] of this.#kept) {
      if (this.#kept.size <= MOST_KEPT) break;
      this.#kept.delete(oldest);
      dropped.close();
    }
  }
}
