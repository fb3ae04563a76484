/**
 * Everything that the page shows, and what follows from it. Panels read it; `actions.js` changes it.
 *
 * @typedef {import("./types.js").Mark} Mark
 * @typedef {import("./types.js").Model} Model
 * @typedef {import("./types.js").Slot} Slot
 * @typedef {import("./types.js").TrueBox} TrueBox
 * @typedef {import("./types.js").Found} Found
 *
 * @typedef {object} OpenImage
 * @property {string} name
 * @property {Blob} blob What the server detects on.
 * @property {Blob} picture What the browser shows: the same, or the server's picture of it.
 * @property {import("./view/tiles.js").Tiles} tiles
 * @property {import("./types.js").Size} size
 * @property {import("./types.js").MapPlace | null} map Where it lies on the map, if the server's picture says so.
 *
 * @typedef {object} Run A detector on the image.
 * @property {string} model
 * @property {"running" | "done" | "failed"} state
 * @property {Found | null} found What it has found so far.
 * @property {() => void} cancel
 *
 * @typedef {object} Truth
 * @property {string} file
 * @property {string} format
 * @property {TrueBox[]} objects
 *
 * @typedef {object} ClassEntry
 * @property {string} key As `classKey` gives it.
 * @property {string} name
 * @property {number} label Its place, which chooses its colour.
 * @property {number} count Boxes of it, in all that is on the image.
 */

import { classKey, match, overlappingPairs } from "./matching.js";
import { derived, signal } from "./signals.js";

/** @type {Slot[]} */
export const SLOTS = ["A", "B"];

/** @type {import("./signals.js").Signal<Model[]>} */
export const models = signal([]);
/** @type {import("./signals.js").Signal<import("./api.js").Scene[]>} */
export const scenes = signal([]);
/** @type {import("./signals.js").Signal<OpenImage | null>} */
export const image = signal(null);
/** @type {import("./signals.js").Signal<Truth | null>} */
export const truth = signal(null);

/** What the user has set. */
export const iouThreshold = signal(0.5);
/** @type {import("./signals.js").Signal<ReadonlySet<string>>} keys of classes */
export const hiddenClasses = signal(new Set());
/** @type {import("./signals.js").Signal<"overlay" | "swipe" | "side">} */
export const mode = signal("overlay");
/** @type {import("./signals.js").Signal<"auto" | "class" | "detector" | "outcome">} */
export const colourBy = signal("auto");
/** Where the swipe's edge is, as a share of the width. */
export const swipe = signal(0.5);
/** @type {import("./signals.js").Signal<Mark | null>} */
export const selected = signal(null);
/** @type {import("./signals.js").Signal<Mark | null>} */
export const pointed = signal(null);

/** What is told to the user. @type {import("./signals.js").Signal<{ text: string, remedy: string }[]>} */
export const problems = signal([]);
export const status = signal("");
/** Whether the server refuses to answer without its key. */
export const wantsKey = signal(false);

/** Return the state of one of the two detectors. */
function stateOf() {
  /** The name of the model; "" for none. */
  const chosen = signal("");
  /** @type {import("./signals.js").Signal<Run | null>} */
  const run = signal(null);
  /** The least score of a box that is shown. Scores of different detectors mean different things: each has its own. */
  const threshold = signal(0);
  const boxes = derived(() => run.value?.found?.boxes ?? []);
  /** Whether any box has a score that the threshold can act on. */
  const hasScores = derived(() => boxes.value.some(({ score }) => score !== null));
  /** The places of the boxes that pass the score threshold and the class filter. */
  const shown = derived(() => {
    const least = threshold.value;
    const hidden = hiddenClasses.value;
    const passes = boxes.value.filter(({ name, score }) => (score ?? 1) >= least && !hidden.has(classKey(name)));
    return new Set(passes.map(({ index }) => index));
  });
  const pairs = derived(() => overlappingPairs(boxes.value, truth.value?.objects ?? []));
  /** Null without ground truth or without boxes to compare with it. */
  const matching = derived(() => {
    if (!truth.value || !run.value?.found) return null;
    const { objects } = truth.value;
    const hidden = hiddenClasses.value;
    const counts = shown.value;
    return match(
      boxes.value,
      objects,
      pairs.value,
      iouThreshold.value,
      (index) => counts.has(index),
      (index) => !hidden.has(classKey(objects[index].name)),
    );
  });
  return { chosen, run, threshold, boxes, hasScores, shown, matching };
}

export const detectors = { A: stateOf(), B: stateOf() };

/** The detectors that have found something, or nothing, on this image. */
export const compared = derived(() => SLOTS.filter((slot) => detectors[slot].run.value?.found));

/** How the two are compared: with one detector there is nothing to swipe to. */
export const comparison = derived(() => (compared.value.length === 2 ? mode.value : "overlay"));

/** What colours stand for. */
export const colouring = derived(() => {
  if (colourBy.value === "outcome" && !truth.value) return "class";
  if (colourBy.value !== "auto") return colourBy.value;
  if (truth.value && compared.value.length) return "outcome";
  return compared.value.length === 2 && comparison.value === "overlay" ? "detector" : "class";
});

/** The classes of everything on the image, in the order of the detectors' own lists. */
export const classes = derived(() => {
  /** @type {Map<string, ClassEntry>} */
  const entries = new Map();
  const add = (/** @type {string} */ name, /** @type {number} */ count) => {
    const key = classKey(name);
    const entry = entries.get(key) ?? { key, name, label: entries.size, count: 0 };
    entries.set(key, { ...entry, count: entry.count + count });
  };
  for (const slot of SLOTS) {
    const known = models.value.find(({ name }) => name === detectors[slot].chosen.value);
    known?.classes.forEach((name) => add(name, 0));
  }
  for (const slot of SLOTS) detectors[slot].boxes.value.forEach(({ name }) => add(name, 1));
  truth.value?.objects.forEach(({ name }) => add(name, 1));
  return entries;
});

/**
 * Return the box that a mark is of.
 *
 * @param {Mark} mark
 */
export function boxOf({ layer, index }) {
  return layer === "truth" ? truth.peek()?.objects[index] : detectors[layer].boxes.peek()[index];
}

/**
 * Tell whether two marks are of the same box.
 *
 * @param {Mark | null} first
 * @param {Mark | null} second
 */
export function isSame(first, second) {
  return first?.layer === second?.layer && first?.index === second?.index;
}
