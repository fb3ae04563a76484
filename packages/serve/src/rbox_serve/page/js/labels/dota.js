/**
 * DOTA's label files: a line for each object, `x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]`, after lines `imagesource:`
 * and `gsd:`. Source: `rbox_formats.datasets.dota`, whose rules these are.
 *
 * @typedef {import("../types.js").Point} Point
 */

import { PageError, quoted } from "../errors.js";
import { isPlace, objectOf } from "./objects.js";

const HEADER = /^\s*(imagesource|gsd)\s*:/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const DIFFICULT = new Map([
  ["0", false],
  ["1", true],
  ["2", true],
]);
const LINE = "A line reads: x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]";

/**
 * @param {string} text
 * @param {string} file Its name, for errors.
 */
export function readDota(text, file) {
  const objects = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (!line.trim() || HEADER.test(line)) continue;
    const fields = line.trim().split(/\s+/);
    /** @type {(message: string) => PageError} */
    const wrong = (message) => new PageError(`${file}, line ${i + 1}: ${message}`, LINE);
    if (fields.length < 9 || fields.length > 10) {
      throw wrong(`expected 8 coordinates, a class and perhaps a difficulty, got ${fields.length} fields`);
    }
    const numbers = fields.slice(0, 8).map((field) => (NUMBER.test(field) ? Number(field) : NaN));
    const bad = numbers.findIndex((number) => !isPlace(number));
    if (bad >= 0) throw wrong(`expected 8 coordinates, got ${quoted(fields[bad])} as number ${bad + 1}`);
    const difficult = DIFFICULT.get(fields[9] ?? "0");
    if (difficult === undefined) throw wrong(`expected a difficulty among 0, 1, 2, got ${quoted(fields[9])}`);
    const corners = [0, 2, 4, 6].map((at) => /** @type {Point} */ (numbers.slice(at, at + 2)));
    objects.push(objectOf(fields[8], corners, difficult));
  }
  return objects;
}
