/**
 * What is shown as GeoJSON in pixels of the image, as `rbox_formats.datasets.geojson` writes it.
 *
 * @typedef {import("../types.js").DetectedBox} DetectedBox
 * @typedef {import("../types.js").Point} Point
 */

import { signedArea } from "../geometry.js";

/**
 * Return the file's text.
 *
 * @param {string} imageId
 * @param {{ width: number | null, height: number | null }} size
 * @param {DetectedBox[]} boxes
 */
export function geojsonFile(imageId, { width, height }, boxes) {
  const features = boxes.map(({ name, score, box, corners }) => ({
    type: "Feature",
    geometry: { type: "Polygon", coordinates: [ringOf(corners)] },
    properties: {
      class: name,
      difficult: false,
      angle: (box[4] * 180) / Math.PI,
      ...(score === null ? {} : { score }),
    },
  }));
  return `${JSON.stringify({ type: "FeatureCollection", image_id: imageId, width, height, metadata: {}, features })}\n`;
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
