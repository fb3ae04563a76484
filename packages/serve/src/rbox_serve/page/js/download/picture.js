/**
 * The image with what is shown on it, as a PNG in the image's own size.
 *
 * @typedef {import("../types.js").Point} Point
 * @typedef {import("../types.js").Size} Size
 * @typedef {import("../view/boxes.js").Look} Look
 *
 * @typedef {object} Drawn A box as it is drawn.
 * @property {Point[]} corners
 * @property {Look} look
 * @property {string} text Written beside it; "" for none.
 */

import { HALO } from "../view/colours.js";

const MOST_PIXELS = 16_000 * 12_000; // what browsers can make a canvas of
const MOST_SIDE = 16_000;

/** Lengths of dashes and gaps, in widths of the line. */
const DASHES = { solid: [], dashed: [4, 2], "dash-dotted": [6, 2, 1, 2], dotted: [1, 2] };

/**
 * @param {Blob} blob The image.
 * @param {Size} size
 * @param {Drawn[]} boxes
 * @returns {Promise<Blob>}
 */
export async function pictureFile(blob, { width, height }, boxes) {
  const scale = Math.min(1, MOST_SIDE / Math.max(width, height), Math.sqrt(MOST_PIXELS / (width * height)));
  const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const canvas = new OffscreenCanvas(w, h);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const picture = await createImageBitmap(blob);
  context.drawImage(picture, 0, 0, w, h);
  picture.close();
  // Lines and letters that can be seen in a picture of this size.
  const line = Math.max(1.5, Math.min(w, h) / 700);
  const font = Math.max(11, Math.min(w, h) / 90);
  context.lineJoin = "round";
  context.font = `600 ${font}px system-ui, sans-serif`;
  for (const { corners, look } of boxes) {
    context.setLineDash(DASHES[look.line].map((length) => length * line));
    const path = new Path2D(`M${corners.map(([x, y]) => `${x * scale} ${y * scale}`).join("L")}Z`);
    stroke(path, HALO, 2.5 * line, 0.6);
    stroke(path, look.colour, line, 1);
  }
  context.setLineDash([]);
  for (const { corners, look, text } of boxes) {
    const [x, y] = corners.reduce((top, corner) => (corner[1] < top[1] ? corner : top));
    context.strokeStyle = HALO;
    context.lineWidth = font / 4;
    context.fillStyle = look.colour;
    context.strokeText(text, x * scale, y * scale - font / 3);
    context.fillText(text, x * scale, y * scale - font / 3);
  }
  return canvas.convertToBlob({ type: "image/png" });

  /** @type {(path: Path2D, colour: string, width: number, alpha: number) => void} */
  function stroke(path, colour, width, alpha) {
    context.globalAlpha = alpha;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke(path);
    context.globalAlpha = 1;
  }
}
