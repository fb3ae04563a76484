/**
 * GeoJSON in pixels of the image: a polygon for each object, of the class that its property "class" names, or another
 * of the usual names for that. Source: `rbox_formats.datasets.map_layer`, whose rules these are.
 *
 * @typedef {import("../types.js").Point} Point
 */

import { PageError, quoted } from "../errors.js";
import { isPoint, objectOf } from "./objects.js";

const CLASS_KEYS = ["class", "class_name", "classname", "label", "category", "type", "name"];

/**
 * @param {any} document What JSON.parse gave.
 * @param {string} file Its name, for errors.
 */
export function readGeojson(document, file) {
  if (document.crs) {
    throw new PageError(
      `${file}: expected coordinates in pixels of the image, got a layer in map coordinates`,
      "Convert it: rbox-formats convert --from geojson-map --to geojson.",
    );
  }
  const key = classKeyOf(document.features);
  return document.features.flatMap((/** @type {any} */ feature, /** @type {number} */ i) => {
    const where = `${file}, features[${i}]`;
    return outlinesOf(feature?.geometry, where).map((outline) => {
      const properties = feature.properties ?? {};
      const value = key && properties[key];
      const name = typeof value === "number" ? String(value) : value;
      if (typeof name !== "string" || !name.trim()) {
        throw new PageError(
          `${where}: expected a property with the class, got ${quoted(properties)}`,
          "Give the polygons a text property 'class'.",
        );
      }
      return objectOf(name.trim(), outline, properties.difficult === true || properties.difficult === 1);
    });
  });
}

/**
 * Return the property that holds the class, in the spelling of this file.
 *
 * @param {any[]} features
 */
function classKeyOf(features) {
  /** @type {Map<string, string>} */
  const spelt = new Map();
  for (const feature of features) {
    for (const [key, value] of Object.entries(feature?.properties ?? {})) {
      if (value !== null && !spelt.has(key.toLowerCase())) spelt.set(key.toLowerCase(), key);
    }
  }
  const named = CLASS_KEYS.find((name) => spelt.has(name));
  return named && spelt.get(named);
}

/**
 * @param {any} geometry
 * @param {string} where
 * @returns {Point[][]} The outer ring of each polygon; none for points and lines.
 */
function outlinesOf(geometry, where) {
  if (geometry?.type !== "Polygon" && geometry?.type !== "MultiPolygon") return [];
  const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
  if (!Array.isArray(polygons)) throw new PageError(`${where}: expected coordinates, got ${quoted(polygons)}`);
  return polygons.map((rings) => {
    const ring = rings?.[0];
    if (!Array.isArray(ring) || ring.length < 3 || !ring.every(isPoint)) {
      throw new PageError(`${where}: expected an outline of 3 points or more, got ${quoted(ring)}`);
    }
    return ring.map(([x, y]) => [x, y]);
  });
}
