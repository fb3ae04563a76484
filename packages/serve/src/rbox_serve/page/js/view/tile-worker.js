/**
 * Decodes an image and cuts tiles from it, beside the page's own thread, so that an image of 10,000 pixels a side
 * neither blocks it nor is drawn whole.
 *
 * It takes `{ open: Blob, most }` and answers `{ width, height, overview }`, the overview at most `most` pixels a side;
 * then `{ cut: [left, top, width, height], size: [width, height], key }` and answers `{ key, tile }`. Where the blob is
 * a smaller picture of an image, `size: { width, height }` beside it is the image's, in whose pixels tiles are cut.
 */

/** @type {ImageBitmap} */
let whole;

let smaller = 1; // how many times the picture is smaller than the image

const reduced = { resizeQuality: /** @type {const} */ ("medium") };

self.addEventListener("message", async ({ data }) => {
  try {
    if (data.open) {
      whole = await createImageBitmap(data.open);
      const { width, height } = data.size ?? whole;
      smaller = Math.round(Math.max(width, height) / Math.max(whole.width, whole.height));
      const scale = Math.min(1, data.most / Math.max(whole.width, whole.height));
      const [resizeWidth, resizeHeight] = [whole.width, whole.height].map((side) =>
        Math.max(1, Math.round(side * scale)),
      );
      const overview = await createImageBitmap(whole, { ...reduced, resizeWidth, resizeHeight });
      postMessage({ width, height, overview }, { transfer: [overview] });
    } else {
      const [resizeWidth, resizeHeight] = data.size;
      const [left, top, wide, high] = data.cut.map((/** @type {number} */ pixels) => Math.ceil(pixels / smaller));
      const tile = await createImageBitmap(whole, left, top, wide, high, { ...reduced, resizeWidth, resizeHeight });
      postMessage({ key: data.key, tile }, { transfer: [tile] });
    }
  } catch (error) {
    postMessage({ key: data.key, failed: String(error) });
  }
});
