/** What the colours and lines on the image mean, where they stand for more than classes. */

import { byId, fillWith, h, s } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";
import { OUTCOMES, SLOTS, TRUTH } from "../view/colours.js";

/** @type {[string, string, string][]} */
const OUTCOME_ENTRIES = [
  ["True", OUTCOMES.true, "solid"],
  ["False", OUTCOMES.false, "dashed"],
  ["Missed", OUTCOMES.missed, "dash-dotted"],
  ["Ground truth", TRUTH, "dotted"],
];

export function setLegend() {
  effect(() => {
    /** @type {[string, string, string][]} */
    let entries = [];
    if (state.colouring.value === "outcome") entries = OUTCOME_ENTRIES;
    else {
      if (state.compared.value.length === 2) {
        entries = state.compared.value.map((slot) => {
          const name = `${slot} · ${state.detectors[slot].run.value?.model}`;
          return [name, state.colouring.value === "detector" ? SLOTS[slot] : "", slot === "A" ? "solid" : "dashed"];
        });
      }
      if (state.truth.value) entries.push(["Ground truth", TRUTH, "dotted"]);
    }
    byId("legend").hidden = entries.length === 0;
    fillWith(byId("legend"), ...entries.map(([name, colour, line]) => h("span", {}, sample(colour, line), name)));
  });
}

/**
 * @param {string} colour "" for that of the text.
 * @param {string} line
 */
function sample(colour, line) {
  const stroke = s("line", { x1: 2, x2: 26, y1: 6, y2: 6, class: `box ${line}`, stroke: colour || null });
  return s("svg", { class: "sample", width: 28, height: 12, "aria-hidden": "true" }, stroke);
}
