/**
 * One picture of the image: a canvas with its tiles, and the boxes of one detector or two over it.
 *
 * @typedef {import("../types.js").Slot} Slot
 * @typedef {import("../types.js").Mark} Mark
 * @typedef {import("./viewport.js").View} View
 * @typedef {import("./tiles.js").Tiles} Tiles
 *
 * @typedef {object} Sheet What is drawn in one place: it is clipped as a whole where one swipes.
 * @property {Slot | null} slot Null: the ground truth alone.
 * @property {Map<Mark["layer"], import("./boxes.js").BoxLayer>} layers From the lowest to the uppermost.
 */

import { h, s } from "../dom.js";
import { piecesInView } from "./tiles.js";

export class Pane {
  #canvas = h("canvas", { "aria-hidden": "true" });
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: true }));
  #caption = h("p", { class: "caption" });
  /** @type {{ svg: SVGSVGElement, group: SVGGElement }[]} */
  #drawn = [];
  element = h("div", { class: "pane" }, this.#canvas, this.#caption);
  size = { width: 0, height: 0 };

  /** @param {string} text The detector's name, where there is a pane for each. */
  set caption(text) {
    this.#caption.textContent = text;
    this.#caption.hidden = !text;
  }

  /** @param {Sheet[]} sheets */
  set sheets(sheets) {
    for (const { svg } of this.#drawn) svg.remove();
    this.#drawn = sheets.map((sheet) => {
      const group = s("g", {}, ...[...sheet.layers.values()].map((layer) => layer.element));
      return { group, svg: s("svg", { class: "boxes", "aria-hidden": "true" }, group) };
    });
    this.#canvas.after(...this.#drawn.map(({ svg }) => svg));
  }

  /**
   * Show each sheet only on one side of an edge: the first to the left of it, the second to the right.
   *
   * @param {number | null} share Where the edge is, as a share of the width; null: none.
   */
  clip(share) {
    this.#drawn.forEach(({ svg }, i) => {
      const [left, right] = i === 0 ? [0, 1 - (share ?? 1)] : [share ?? 0, 0];
      svg.style.clipPath = share === null ? "" : `inset(0 ${right * 100}% 0 ${left * 100}%)`;
    });
  }

  /** Take the size that the layout gives. */
  measure() {
    const { width, height } = this.element.getBoundingClientRect();
    this.size = { width, height };
    this.#canvas.width = Math.round(width * devicePixelRatio);
    this.#canvas.height = Math.round(height * devicePixelRatio);
  }

  /**
   * @param {Tiles | null} tiles
   * @param {View} view
   */
  draw(tiles, { scale, x, y }) {
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (tiles) {
      const density = devicePixelRatio;
      context.setTransform(scale * density, 0, 0, scale * density, x * density, y * density);
      context.imageSmoothingEnabled = scale * density < 3; // closer, the pixels themselves are of interest
      context.imageSmoothingQuality = "high";
      tiles.draw(context, piecesInView(tiles.size, this.size, { scale, x, y }, density));
    }
    for (const { group } of this.#drawn) group.setAttribute("transform", `matrix(${scale} 0 0 ${scale} ${x} ${y})`);
  }
}
