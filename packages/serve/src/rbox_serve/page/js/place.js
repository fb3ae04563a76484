/**
 * An image's place on the map: points from pixels to map coordinates, and back.
 *
 * @typedef {import("./types.js").MapPlace} MapPlace
 * @typedef {import("./types.js").Point} Point
 */

/**
 * @param {Point} point In pixels.
 * @param {MapPlace} place
 * @returns {Point}
 */
export function toMap([x, y], { transform: [a, b, c, d, e, f] }) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/**
 * @param {Point} point In map coordinates.
 * @param {MapPlace} place
 * @returns {Point}
 */
export function toPixels([mapX, mapY], { transform: [a, b, c, d, e, f] }) {
  const area = a * e - b * d; // of a pixel
  const [x, y] = [mapX - c, mapY - f];
  return [(e * x - b * y) / area, (a * y - d * x) / area];
}
