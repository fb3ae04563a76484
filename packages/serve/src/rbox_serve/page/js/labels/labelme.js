/**
 * LabelMe's files, and X-AnyLabeling's: a shape for each object. Source: `rbox_formats.datasets.labelme`, whose rules
 * these are.
 *
 * @typedef {import("../types.js").Point} Point
 */

import { PageError, quoted } from "../errors.js";
import { isPoint, objectOf } from "./objects.js";

const WITHOUT_AREA = new Set(["point", "points", "line", "linestrip"]);

/** How many points each kind of shape has; a polygon has three or more. */
const POINTS = new Map([
  ["polygon", []],
  ["rectangle", [2, 4]],
  ["rotation", [4]],
  ["oriented_rectangle", [4]],
  ["circle", [2]],
  ["mask", [2]],
]);

/**
 * @param {any} document What JSON.parse gave.
 * @param {string} file Its name, for errors.
 */
export function readLabelme(document, file) {
  return document.shapes.flatMap((/** @type {any} */ shape, /** @type {number} */ i) => {
    const kind = shape?.shape_type ?? "polygon";
    if (WITHOUT_AREA.has(kind)) return [];
    const where = `${file}, shapes[${i}]`;
    const counts = POINTS.get(kind);
    if (!counts) {
      const kinds = [...POINTS.keys()].join(", ");
      throw new PageError(`${where}: expected a shape among ${kinds}, got ${quoted(kind)}`);
    }
    if (typeof shape.label !== "string" || !shape.label.trim()) {
      throw new PageError(`${where}: expected a text as 'label', got ${quoted(shape.label)}`);
    }
    const points = shape.points;
    const isOutline = Array.isArray(points) && points.every(isPoint);
    if (!isOutline || (counts.length ? !counts.includes(points.length) : points.length < 3)) {
      const wanted = counts.join(" or ") || "at least 3";
      throw new PageError(`${where}: expected ${wanted} points of a ${kind}, got ${quoted(points)}`);
    }
    return [objectOf(shape.label, outlineOf(kind, points), Boolean(shape.flags?.difficult || shape.difficult))];
  });
}

/**
 * @param {string} kind
 * @param {Point[]} points
 * @returns {Point[]}
 */
function outlineOf(kind, points) {
  if (points.length > 2) return points;
  let [[x0, y0], [x1, y1]] = points;
  if (kind === "circle") {
    const radius = Math.hypot(x1 - x0, y1 - y0);
    [x0, y0, x1, y1] = [x0 - radius, y0 - radius, x0 + radius, y0 + radius];
  }
  const [left, right] = [Math.min(x0, x1), Math.max(x0, x1)];
  const [top, bottom] = [Math.min(y0, y1), Math.max(y0, y1)];
  return [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
}
