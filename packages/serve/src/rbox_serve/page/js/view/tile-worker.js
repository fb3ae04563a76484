/**
 * Decodes an image and cuts tiles from it, beside the page's own thread, so that an image of 10,000 pixels a side
 * neither blocks it nor is drawn whole.
 *
 * It takes `{ open: Blob, most }` and answers `{ width, height, overview }`, the overview at most `most` pixels a side;
 * then `{ cut: [left, top, width, height], size: [width, height], key }` and answers `{ key, tile }`.
 */

/** @type {ImageBitmap} */
let whole;

const reduced = { resizeQuality: /** @type {const} */ ("medium") };

self.addEventListener("message", async ({ data }) => {
  try {
    if (data.open) {
      whole = await createImageBitmap(data.open);
      const { width, height } = whole;
      const scale = Math.min(1, data.most / Math.max(width, height));
      const [resizeWidth, resizeHeight] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
      const overview = await createImageBitmap(whole, { ...reduced, resizeWidth, resizeHeight });
      postMessage({ width, height, overview }, { transfer: [overview] });
    } else {
      const [resizeWidth, resizeHeight] = data.size;
      const tile = await createImageBitmap(whole, ...data.cut, { ...reduced, resizeWidth, resizeHeight });
      postMessage({ key: data.key, tile }, { transfer: [tile] });
    }
  } catch (error) {
    postMessage({ key: data.key, failed: String(error) });
  }
});
