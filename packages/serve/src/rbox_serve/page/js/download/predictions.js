/**
 * What is shown as a predictions file: a header and one image (`docs/predictions.schema.json`).
 *
 * @typedef {import("../types.js").Found} Found
 */

/**
 * Return the file's text.
 *
 * @param {Found} found
 * @param {ReadonlySet<number>} shown The places of the boxes that go into it.
 */
export function predictionsFile({ header, record }, shown) {
  /** @type {Record<string, any>} */
  const kept = { ...record };
  for (const column of ["boxes", "quads", "labels", "scores", "masks"]) {
    if (Array.isArray(kept[column])) kept[column] = kept[column].filter((_, index) => shown.has(index));
  }
  return `${JSON.stringify(header)}\n${JSON.stringify(kept)}\n`;
}
