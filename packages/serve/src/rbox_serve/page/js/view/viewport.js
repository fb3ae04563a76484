/**
 * Which part of the image is seen, and how large: one view, shared by all panes.
 *
 * @typedef {import("../types.js").Point} Point
 * @typedef {import("../types.js").Size} Size
 *
 * @typedef {object} View
 * @property {number} scale Pixels of the screen for each pixel of the image.
 * @property {number} x Where the image's upper left corner is, in pixels of the pane.
 * @property {number} y
 *
 * @typedef {[number, number, number, number]} Bounds left, top, right, bottom, in pixels of the image.
 */

import { signal } from "../signals.js";

const LARGEST_SCALE = 40;
const MARGIN = 16; // around an image that is shown whole, in pixels of the screen
const AROUND_BOX = 4; // a box that is zoomed to takes up no more than this part of the pane

export class Viewport {
  #pane = { width: 1, height: 1 };
  #image = { width: 1, height: 1 };
  #isWhole = true;

  /** @type {import("../signals.js").Signal<View>} */
  view = signal({ scale: 1, x: 0, y: 0 });

  /** @param {Size} size */
  setImage(size) {
    this.#image = size;
    this.fit();
  }

  /**
   * Take the pane's new size, and keep what is in its centre there.
   *
   * @param {Size} size In pixels of the screen.
   */
  setPane(size) {
    const [dx, dy] = [(size.width - this.#pane.width) / 2, (size.height - this.#pane.height) / 2];
    this.#pane = size;
    if (this.#isWhole) this.fit();
    else this.panBy(dx, dy);
  }

  /** Show the whole image. */
  fit() {
    const scale = this.#wholeScale();
    this.#set({ scale, ...this.#centred(scale, this.#image.width / 2, this.#image.height / 2) });
    this.#isWhole = true;
  }

  /** Show one pixel of the image as one of the screen, around what is in the centre. */
  actualSize() {
    this.zoomBy(1 / this.view.peek().scale);
    const { x, y } = this.view.peek();
    this.#set({ scale: 1, x: Math.round(x), y: Math.round(y) }); // so that no pixel is mixed with its neighbours
  }

  /**
   * @param {number} factor Above 1: closer.
   * @param {Point} [at] What stays in its place, in pixels of the pane; by default the centre.
   */
  zoomBy(factor, at = [this.#pane.width / 2, this.#pane.height / 2]) {
    const { scale, x, y } = this.view.peek();
    const next = Math.min(Math.max(scale * factor, this.#wholeScale() / 2), LARGEST_SCALE);
    const ratio = next / scale;
    this.#set({ scale: next, x: at[0] - (at[0] - x) * ratio, y: at[1] - (at[1] - y) * ratio });
  }

  /**
   * @param {number} dx In pixels of the screen.
   * @param {number} dy
   */
  panBy(dx, dy) {
    const { scale, x, y } = this.view.peek();
    this.#set({ scale, x: x + dx, y: y + dy });
  }

  /**
   * Zoom to a part of the image, with what is around it.
   *
   * @param {Bounds} bounds
   */
  zoomTo([left, top, right, bottom]) {
    const room = Math.min(this.#pane.width / (right - left), this.#pane.height / (bottom - top)) / AROUND_BOX;
    const scale = Math.min(Math.max(room, this.#wholeScale()), LARGEST_SCALE / 4);
    this.#set({ scale, ...this.#centred(scale, (left + right) / 2, (top + bottom) / 2) });
  }

  /**
   * Bring a part of the image into view, at the same scale; do nothing where it is in view.
   *
   * @param {Bounds} bounds
   */
  reveal([left, top, right, bottom]) {
    const [x0, y0] = this.toPane([left, top]);
    const [x1, y1] = this.toPane([right, bottom]);
    if (x0 >= 0 && y0 >= 0 && x1 <= this.#pane.width && y1 <= this.#pane.height) return;
    const { scale } = this.view.peek();
    this.#set({ scale, ...this.#centred(scale, (left + right) / 2, (top + bottom) / 2) });
  }

  /**
   * Return the part of the image that is in view, and some of what is around it.
   *
   * @param {number} around How much beyond each edge, as a share of the view's sides.
   * @returns {Bounds}
   */
  region(around) {
    const { scale, x, y } = this.view.peek();
    const [width, height] = [this.#pane.width / scale, this.#pane.height / scale];
    const [left, top] = [-x / scale, -y / scale];
    return [left - around * width, top - around * height, left + (1 + around) * width, top + (1 + around) * height];
  }

  /**
   * Return where a place of the image is in the pane.
   *
   * @param {Point} place
   * @returns {Point}
   */
  toPane([x, y]) {
    const view = this.view.peek();
    return [view.x + x * view.scale, view.y + y * view.scale];
  }

  #wholeScale() {
    const across = (this.#pane.width - 2 * MARGIN) / this.#image.width;
    const down = (this.#pane.height - 2 * MARGIN) / this.#image.height;
    return Math.min(Math.max(Math.min(across, down), 1e-3), LARGEST_SCALE);
  }

  /**
   * @param {number} scale
   * @param {number} x What is in the pane's centre.
   * @param {number} y
   */
  #centred(scale, x, y) {
    return { x: this.#pane.width / 2 - x * scale, y: this.#pane.height / 2 - y * scale };
  }

  /** @param {View} view */
  #set({ scale, x, y }) {
    // The pane's centre stays on the image, so that nobody gets lost.
    const held = (/** @type {number} */ value, /** @type {number} */ pane, /** @type {number} */ image) =>
      Math.min(Math.max(value, pane / 2 - image * scale), pane / 2);
    this.#isWhole = false;
    this.view.value = {
      scale,
      x: held(x, this.#pane.width, this.#image.width),
      y: held(y, this.#pane.height, this.#image.height),
    };
  }
}
