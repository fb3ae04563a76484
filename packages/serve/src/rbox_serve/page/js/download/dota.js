/**
 * What is shown as a label file of DOTA. It has no place for scores.
 *
 * @typedef {import("../types.js").DetectedBox} DetectedBox
 */

/**
 * Return the file's text.
 *
 * @param {DetectedBox[]} boxes
 */
export function dotaFile(boxes) {
  // White space separates fields: within a name it becomes '-', which lookups treat the same.
  return boxes
    .map(({ corners, name }) => `${corners.flat().join(" ")} ${name.trim().split(/\s+/).join("-")} 0\n`)
    .join("");
}
