/**
 * Boxes as SVG over the image.
 *
 * @typedef {import("../types.js").Point} Point
 *
 * @typedef {object} Look How a box is drawn.
 * @property {string} colour
 * @property {"solid" | "dashed" | "dash-dotted" | "dotted"} line
 */

import { s } from "../dom.js";
import { signedArea } from "../geometry.js";

const pathOf = (/** @type {Point[]} */ corners) => `M${corners.map(([x, y]) => `${x} ${y}`).join("L")}Z`;

const MANY = 500; // boxes: beyond, thinner lines leave more of the image to see

export class BoxLayer {
  /** @type {SVGPolygonElement[]} by index */
  #polygons;
  /** @type {string[]} the outline of each box */
  #paths;
  #halo = s("path", { class: "halo" });
  /** @type {(Look | null)[]} */
  #looks;

  /**
   * @param {Point[][]} outlines The corners of each box.
   * @param {string} layer What the boxes are of; it is the attribute `data-layer` of each.
   */
  constructor(outlines, layer) {
    this.#polygons = outlines.map((corners, index) =>
      s("polygon", { class: "box", points: corners.join(" "), "data-layer": layer, "data-index": index }),
    );
    this.#paths = outlines.map(pathOf);
    this.#looks = outlines.map(() => null);
    // The smaller a box the further up, so that one within another can be pointed at.
    const areas = outlines.map((corners) => Math.abs(signedArea(corners)));
    const order = [...outlines.keys()].sort((i, j) => areas[j] - areas[i]);
    this.element = s("g", { class: outlines.length > MANY ? "many" : null }, this.#halo, ...order.map((index) => this.#polygons[index]));
  }

  /**
   * Give each box its look; those without one are hidden.
   *
   * @param {(index: number) => Look | null} lookOf
   */
  dress(lookOf) {
    let halo = "";
    this.#polygons.forEach((polygon, index) => {
      const look = lookOf(index);
      const before = this.#looks[index];
      if (look) halo += this.#paths[index];
      if (look?.colour === before?.colour && look?.line === before?.line) return;
      this.#looks[index] = look;
      polygon.setAttribute("class", look ? `box shown ${look.line}` : "box");
      if (look) polygon.setAttribute("stroke", look.colour);
    });
    this.#halo.setAttribute("d", halo);
  }

  /**
   * Mark one box, and no other.
   *
   * @param {"pointed" | "selected"} how
   * @param {number | null} index
   */
  mark(how, index) {
    for (const polygon of this.element.querySelectorAll(`[data-${how}]`)) polygon.removeAttribute(`data-${how}`);
    if (index !== null) this.#polygons[index]?.setAttribute(`data-${how}`, "");
  }
}
