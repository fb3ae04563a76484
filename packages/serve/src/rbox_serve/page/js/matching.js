/**
 * Which detections are true, which are false, and which objects were missed: one to one by falling score, then by
 * falling IoU, on boxes; an IoU equal to the threshold is enough. These are the rules by which `rbox_metrics.evaluate`
 * counts precision, recall and F1 (protocol "voc", geometry "rbox"), and the tests compare the two.
 *
 * @typedef {import("./types.js").DetectedBox} DetectedBox
 * @typedef {import("./types.js").TrueBox} TrueBox
 *
 * @typedef {object} Pair A detection and an object of one class that overlap.
 * @property {number} detection Its place in the list of detections.
 * @property {number} truth Its place in the list of objects.
 * @property {number} iou Above 0.
 *
 * @typedef {"true" | "false" | "ignored"} Outcome "ignored": on a difficult object, which counts as neither.
 *
 * @typedef {object} Matching
 * @property {Map<number, Outcome>} outcomes Of each detection that counts.
 * @property {Set<number>} missed The objects that no detection found.
 * @property {Set<number>} found The objects that one found.
 * @property {number} precision NaN without detections.
 * @property {number} recall NaN without objects.
 * @property {number} f1 NaN without objects.
 */

import { boundsOf, iou } from "./geometry.js";

/**
 * Return a class name as lookups see it: case, '-', '_' and white space play no part, as in `rbox_formats.ClassNames`.
 *
 * @param {string} name
 */
export function classKey(name) {
  return name.toLowerCase().replace(/[-_\s]/gu, "");
}

/**
 * Return the detections and objects of one class that overlap.
 *
 * @param {DetectedBox[]} detections
 * @param {TrueBox[]} truths
 * @returns {Pair[]}
 */
export function overlappingPairs(detections, truths) {
  /** @type {Map<string, { truth: number, bounds: number[] }[]>} */
  const byClass = new Map();
  truths.forEach(({ name, box }, truth) => {
    const key = classKey(name);
    if (!byClass.has(key)) byClass.set(key, []);
    byClass.get(key)?.push({ truth, bounds: boundsOf(box) });
  });
  /** @type {Pair[]} */
  const pairs = [];
  detections.forEach(({ name, box }, detection) => {
    const [left, top, right, bottom] = boundsOf(box);
    for (const { truth, bounds } of byClass.get(classKey(name)) ?? []) {
      if (bounds[0] > right || bounds[2] < left || bounds[1] > bottom || bounds[3] < top) continue;
      const overlap = iou(box, truths[truth].box);
      if (overlap > 0) pairs.push({ detection, truth, iou: overlap });
    }
  });
  return pairs;
}

/**
 * Match at one IoU threshold.
 *
 * @param {DetectedBox[]} detections
 * @param {TrueBox[]} truths
 * @param {Pair[]} pairs What `overlappingPairs` gave for these two.
 * @param {number} threshold The IoU that is enough, above 0.
 * @param {(detection: number) => boolean} [counts] Which detections count; the others play no part.
 * @param {(truth: number) => boolean} [isAsked] Which objects are to be found; the others play no part.
 * @returns {Matching}
 */
export function match(detections, truths, pairs, threshold, counts = () => true, isAsked = () => true) {
  /** @type {Map<number, Outcome>} */
  const outcomes = new Map();
  detections.forEach((_, detection) => counts(detection) && outcomes.set(detection, "false"));
  const score = (/** @type {Pair} */ pair) => detections[pair.detection].score ?? 1;
  const close = pairs
    .filter((pair) => pair.iou >= threshold && outcomes.has(pair.detection) && isAsked(pair.truth))
    .sort((p, q) => score(q) - score(p) || q.iou - p.iou || p.detection - q.detection || p.truth - q.truth);
  const found = new Set();
  for (const { detection, truth } of close) {
    if (outcomes.get(detection) === "true" || found.has(truth) || truths[truth].difficult) continue;
    outcomes.set(detection, "true");
    found.add(truth);
  }
  for (const { detection, truth } of close) {
    if (outcomes.get(detection) === "false" && truths[truth].difficult) outcomes.set(detection, "ignored");
  }
  const missed = new Set();
  truths.forEach(({ difficult }, truth) => !difficult && isAsked(truth) && !found.has(truth) && missed.add(truth));
  const wrong = [...outcomes.values()].filter((outcome) => outcome === "false").length;
  const objects = found.size + missed.size;
  return {
    outcomes,
    missed,
    found,
    precision: found.size / (found.size + wrong),
    recall: found.size / objects,
    f1: objects ? (2 * found.size) / (2 * found.size + wrong + missed.size) : NaN,
  };
}
