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
  /** @type {import("./viewport.js").Bounds[]} what holds each box */
  #bounds;
  /** @type {number[]} from the largest box to the smallest: one within another can then be pointed at */
  #order;
  /** @type {(Look | null)[]} */
  #looks;
  /** @type {Partial<Record<"pointed" | "selected", SVGPolygonElement>>} */
  #marked = {};
  /** @type {import("./viewport.js").Bounds} */
  #region = [-Infinity, -Infinity, Infinity, Infinity];
  #halo = s("path", { class: "halo" });
  #drawn = s("g");

  /**
   * @param {{ corners: Point[] }[]} boxes
   * @param {string} layer What the boxes are of; it is the attribute `data-layer` of each.
   */
  constructor(boxes, layer) {
    const outlines = boxes.map(({ corners }) => corners);
    this.#polygons = outlines.map((corners, index) =>
      s("polygon", { class: "box", points: corners.join(" "), "data-layer": layer, "data-index": index }),
    );
    this.#paths = outlines.map(pathOf);
    this.#bounds = outlines.map(boundsAround);
    this.#looks = outlines.map(() => null);
    const areas = outlines.map((corners) => Math.abs(signedArea(corners)));
    this.#order = [...outlines.keys()].sort((i, j) => areas[j] - areas[i]);
    this.element = s("g", { class: outlines.length > MANY ? "many" : null }, this.#halo, this.#drawn);
  }

  /**
   * Give each box its look; those without one are hidden.
   *
   * @param {(index: number) => Look | null} lookOf
   */
  dress(lookOf) {
    this.#polygons.forEach((polygon, index) => {
      const look = lookOf(index);
      const before = this.#looks[index];
      if (look?.colour === before?.colour && look?.line === before?.line) return;
      this.#looks[index] = look;
      polygon.setAttribute("class", look ? `box shown ${look.line}` : "box");
      if (look) polygon.setAttribute("stroke", look.colour);
    });
    this.#draw();
  }

  /**
   * Hold no boxes but those of a region: what is far out of view would cost time with each move.
   *
   * @param {import("./viewport.js").Bounds} region
   */
  keepTo(region) {
    this.#region = region;
    this.#draw();
  }

  /**
   * Mark one box, and no other.
   *
   * @param {"pointed" | "selected"} how
   * @param {number | null} index
   */
  mark(how, index) {
    this.#marked[how]?.removeAttribute(`data-${how}`);
    this.#marked[how] = index === null ? undefined : this.#polygons[index];
    this.#marked[how]?.setAttribute(`data-${how}`, "");
  }

  #draw() {
    const [x0, y0, x1, y1] = this.#region;
    const kept = this.#order.filter((index) => {
      const [left, top, right, bottom] = this.#bounds[index];
      return this.#looks[index] && right >= x0 && left <= x1 && bottom >= y0 && top <= y1;
    });
    this.#drawn.replaceChildren(...kept.map((index) => this.#polygons[index]));
    this.#halo.setAttribute("d", kept.map((index) => this.#paths[index]).join(""));
  }
}

/**
 * @param {Point[]} corners
 * @returns {import("./viewport.js").Bounds}
 */
function boundsAround(corners) {
  const xs = corners.map(([x]) => x);
  const ys = corners.map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}
