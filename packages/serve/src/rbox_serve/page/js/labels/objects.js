/**
 * What the readers of label files share: an object of the ground truth, made from an outline.
 *
 * @typedef {import("../types.js").Point} Point
 * @typedef {import("../types.js").TrueBox} TrueBox
 */

import { cornersOf, rectangleAround } from "../geometry.js";

// No image is as large: a number beyond is a mistake, as in rbox-formats.
const LARGEST = 1e9;

/**
 * Return an object. An outline of four corners is its quad; of any other number the least rectangle around it is taken,
 * as `rbox_formats.quad_around` does.
 *
 * @param {string} name
 * @param {Point[]} outline At least one corner.
 * @param {boolean} difficult
 * @returns {Omit<TrueBox, "index">}
 */
export function objectOf(name, outline, difficult) {
  const isClosed = outline.length > 4 && outline[0].every((value, i) => value === outline[outline.length - 1][i]);
  const points = isClosed ? outline.slice(0, -1) : outline;
  const box = rectangleAround(points);
  return { name, box, corners: points.length === 4 ? points : cornersOf(box), difficult };
}

/**
 * Tell whether a value is a pair of numbers, or begins with one, that can be a place in an image.
 *
 * @param {unknown} value
 * @returns {value is Point}
 */
export function isPoint(value) {
  return Array.isArray(value) && value.length >= 2 && value.slice(0, 2).every(isPlace);
}

/** @param {unknown} value */
export function isPlace(value) {
  return typeof value === "number" && Math.abs(value) <= LARGEST;
}
