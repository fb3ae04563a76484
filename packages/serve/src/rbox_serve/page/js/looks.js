/**
 * How each box is drawn, and what is said of it: on the image, in the list and in a downloaded picture.
 *
 * @typedef {import("./types.js").Slot} Slot
 * @typedef {import("./view/boxes.js").Look} Look
 */

import { classKey } from "./matching.js";
import { classes, colouring, comparison, detectors, hiddenClasses, SLOTS, truth } from "./state.js";
import { classColour, OUTCOMES, SLOTS as SLOT_COLOURS, TRUTH } from "./view/colours.js";

/** @param {string} name */
function colourOfClass(name) {
  return classColour(classes.value.get(classKey(name))?.label ?? 0);
}

/**
 * Return how a detected box looks; null where it is hidden.
 *
 * @param {Slot} slot
 * @param {number} index
 * @returns {Look | null}
 */
export function lookOfFound(slot, index) {
  const { boxes, shown, matching } = detectors[slot];
  if (!shown.value.has(index)) return null;
  const outcome = matching.value?.outcomes.get(index);
  const isDashed = outcome && colouring.value === "outcome" ? outcome === "false" : slot === "B";
  const colour =
    colouring.value === "outcome" && outcome
      ? OUTCOMES[outcome]
      : colouring.value === "detector"
        ? SLOT_COLOURS[slot]
        : colourOfClass(boxes.value[index].name);
  return { colour, line: isDashed ? "dashed" : "solid" };
}

/**
 * Return how an object of the ground truth looks beside some of the detectors; null where it is hidden.
 *
 * @param {Slot[]} slots
 * @param {number} index
 * @returns {Look | null}
 */
export function lookOfTruth(slots, index) {
  const object = truth.value?.objects[index];
  if (!object || hiddenClasses.value.has(classKey(object.name))) return null;
  const isMissed = slots.length > 0 && slots.every((slot) => detectors[slot].matching.value?.missed.has(index));
  const isTold = isMissed && colouring.value === "outcome";
  return isTold ? { colour: OUTCOMES.missed, line: "dash-dotted" } : { colour: TRUTH, line: "dotted" };
}

/** The detectors that the ground truth is compared with where both are drawn in one place. */
export function slotsTogether() {
  return comparison.value === "overlay" ? SLOTS.filter((slot) => detectors[slot].run.value?.found) : [];
}

/** What the outcomes are called. */
export const OUTCOME_NAMES = { true: "True", false: "False", ignored: "On a difficult object", missed: "Missed" };

/** @param {number | null} score */
export function scoreText(score) {
  return score === null ? "" : score.toFixed(2);
}
