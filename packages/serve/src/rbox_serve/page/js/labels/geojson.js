/**
 * GeoJSON: a polygon for each object, of the class that its property "class" names, or another of the usual names for
 * that; in pixels of the image, or in the system of coordinates of its place on the map. Source:
 * `rbox_formats.datasets.map_layer`, whose rules these are.
 *
 * @typedef {import("../types.js").MapPlace} MapPlace
 * @typedef {import("../types.js").Point} Point
 * @typedef {import("../types.js").Size} Size
 */

import { PageError, quoted } from "../errors.js";
import { toPixels } from "../place.js";
import { isPoint, objectOf } from "./objects.js";

const DEGREES = "EPSG:4326"; // longitude and latitude

const CLASS_KEYS = ["class", "class_name", "classname", "label", "category", "type", "name"];

/**
 * @param {any} document What JSON.parse gave.
 * @param {string} file Its name, for errors.
 * @param {{ size: Size, map: MapPlace | null } | null} image The image that it belongs to.
 */
export function readGeojson(document, file, image) {
  const key = classKeyOf(document.features);
  /** @type {{ where: string, properties: any, outlines: Point[][] }[]} */
  const features = document.features.map((/** @type {any} */ feature, /** @type {number} */ i) => {
    const where = `${file}, features[${i}]`;
    return { where, properties: feature?.properties ?? {}, outlines: outlinesOf(feature?.geometry, where) };
  });
  const points = features.flatMap(({ outlines }) => outlines.flat());
  const placed = placing(document, file, image, points);
  return features.flatMap(({ where, properties, outlines }) =>
    outlines.map((outline) => {
      const value = key && properties[key];
      const name = typeof value === "number" ? String(value) : value;
      if (typeof name !== "string" || !name.trim()) {
        throw new PageError(
          `${where}: expected a property with the class, got ${quoted(properties)}`,
          "Give the polygons a text property 'class'.",
        );
      }
      return objectOf(name.trim(), outline.map(placed), properties.difficult === true || properties.difficult === 1);
    }),
  );
}

/**
 * Return what gives a point of the file in pixels of the image.
 *
 * @param {any} document
 * @param {string} file
 * @param {{ size: Size, map: MapPlace | null } | null} image
 * @param {Point[]} points All points of the file.
 * @returns {(point: Point) => Point}
 */
function placing(document, file, image, points) {
  const crs = systemOf(document);
  if (image?.map && crs && crs === image.map.crs) {
    const { map, size } = image;
    const isOn = (/** @type {Point} */ [x, y]) => x >= 0 && y >= 0 && x <= size.width && y <= size.height;
    // Neither pixels nor degrees have to be named; degrees are it if they lie on the image.
    if (document.crs || points.some((point) => isOn(toPixels(point, map)))) return (point) => toPixels(point, map);
  }
  if (document.crs) {
    const own = image?.map?.crs ? ` or in its own system, ${image.map.crs}` : "";
    const given = crs ? `, ${crs}` : "";
    throw new PageError(
      `${file}: expected coordinates in pixels of the image${own}, got a layer in map coordinates${given}`,
      "Convert it: rbox-formats convert --from geojson-map --to geojson.",
    );
  }
  return (point) => point;
}

/**
 * Return the system of coordinates: the member `crs` of GeoJSON 2008, else that of RFC 7946; null for an unknown one.
 *
 * @param {any} document
 */
function systemOf(document) {
  if (!document.crs) return DEGREES;
  const name = String(document.crs.properties?.name);
  if (name.includes("CRS84")) return DEGREES;
  const code = /EPSG:(?:[\d.]*:)?(\d{1,9})$/.exec(name);
  return code && `EPSG:${code[1]}`;
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
