/**
 * Ground truth from a label file of any of the formats, told apart by their content.
 *
 * @typedef {import("../types.js").TrueBox} TrueBox
 * @typedef {import("../types.js").MapPlace} MapPlace
 * @typedef {import("../types.js").Size} Size
 */

import { PageError } from "../errors.js";
import { boundsOf } from "../geometry.js";
import { readDota } from "./dota.js";
import { readGeojson } from "./geojson.js";
import { readLabelme } from "./labelme.js";

const LABEL_FILE = /\.(txt|json|geojson)$/i;

/**
 * Tell whether a file of that name holds labels rather than an image.
 *
 * @param {string} name
 */
export function isLabelFile(name) {
  return LABEL_FILE.test(name);
}

/**
 * Read a label file.
 *
 * @param {string} text
 * @param {string} file Its name, for errors.
 * @param {{ size: Size, map: MapPlace | null } | null} image The image that it belongs to.
 * @returns {{ format: string, objects: TrueBox[] }}
 */
export function readLabels(text, file, image = null) {
  const [format, objects] = readAny(text, file, image);
  return { format, objects: objects.map((object, index) => ({ index, ...object })) };
}

/**
 * @param {string} text
 * @param {string} file
 * @param {{ size: Size, map: MapPlace | null } | null} image
 * @returns {[string, Omit<TrueBox, "index">[]]}
 */
function readAny(text, file, image) {
  if (!/^\s*[[{]/.test(text)) return ["DOTA", readDota(text, file)];
  let document;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new PageError(`${file}: expected JSON, got: ${error instanceof Error ? error.message : error}`);
  }
  if (Array.isArray(document.shapes)) return ["LabelMe", readLabelme(document, file)];
  if (Array.isArray(document.features)) return ["GeoJSON", readGeojson(document, file, image)];
  throw new PageError(
    `${file}: expected labels as GeoJSON ('features') or LabelMe's JSON ('shapes'), got neither`,
    "Other formats can be converted: rbox-formats convert --to dota.",
  );
}

/**
 * Return what makes it doubtful that labels belong to an image; "" where nothing does.
 *
 * @param {TrueBox[]} objects
 * @param {Size} image
 */
export function doubtAbout(objects, { width, height }) {
  const isOn = (/** @type {TrueBox} */ { box }) => {
    const [left, top, right, bottom] = boundsOf(box);
    return right > 0 && bottom > 0 && left < width && top < height;
  };
  const off = objects.filter((object) => !isOn(object)).length;
  if (!off) return "";
  const which = off === objects.length ? "None of them lies" : `${off} of ${objects.length} do not lie`;
  return `${which} on this image: are they of another one, or in map coordinates?`;
}
