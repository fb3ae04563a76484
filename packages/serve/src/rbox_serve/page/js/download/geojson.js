/**
 * What is shown as GeoJSON, as `rbox_formats.datasets.geojson` writes it: in map coordinates where the image lies on a
 * map, else in its pixels.
 *
 * @typedef {import("../types.js").DetectedBox} DetectedBox
 * @typedef {import("../types.js").MapPlace} MapPlace
 * @typedef {import("../types.js").Point} Point
 */

import { signedArea } from "../geometry.js";
import { toMap } from "../place.js";

/**
 * Return the file's text.
 *
 * @param {string} imageId
 * @param {{ width: number | null, height: number | null }} size
 * @param {DetectedBox[]} boxes
 * @param {MapPlace | null} map
 */
export function geojsonFile(imageId, { width, height }, boxes, map) {
  const features = boxes.map(({ name, score, box, corners }) => ({
    type: "Feature",
    geometry: { type: "Polygon", coordinates: [ringOf(map ? corners.map((corner) => toMap(corner, map)) : corners)] },
    properties: {
      class: name,
      difficult: false,
      angle: (box[4] * 180) / Math.PI,
      ...(score === null ? {} : { score }),
    },
  }));
  const collection = { type: "FeatureCollection", image_id: imageId, width, height, metadata: {} };
  return `${JSON.stringify({ ...collection, ...systemOf(map?.crs), features })}\n`;
}

/**
 * Return the member that names a system of coordinates other than longitude and latitude (GeoJSON 2008).
 *
 * @param {string | null | undefined} crs
 */
function systemOf(crs) {
  if (!crs || crs === "EPSG:4326") return {};
  return { crs: { type: "name", properties: { name: `urn:ogc:def:crs:${crs.replace(":", "::")}` } } };
}

/**
 * Return a closed ring, counter-clockwise where y points up, from the first corner (RFC 7946).
 *
 * @param {Point[]} corners
 */
function ringOf(corners) {
  const [first, ...rest] = corners;
  return [first, ...(signedArea(corners) < 0 ? rest.reverse() : rest), first];
}
