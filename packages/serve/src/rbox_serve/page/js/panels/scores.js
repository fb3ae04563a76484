/** How well each detector does on this image, where its ground truth is known. */

import { byId, fillWith, h } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";

const COLUMNS = ["True", "False", "Missed", "Precision", "Recall", "F1"];

export function setScores() {
  effect(() => {
    const rows = state.compared.value.flatMap((slot) => {
      const { matching, run } = state.detectors[slot];
      if (!matching.value) return [];
      const { found, outcomes, missed, precision, recall, f1 } = matching.value;
      const wrong = [...outcomes.values()].filter((outcome) => outcome === "false").length;
      const cells = [found.size, wrong, missed.size, ...[precision, recall, f1].map(share)];
      const name = h("th", { scope: "row", title: run.value?.model }, slot);
      return [h("tr", {}, name, ...cells.map((cell) => h("td", { class: "numbers" }, cell)))];
    });
    byId("scores").hidden = rows.length === 0;
    const heads = COLUMNS.map((name) => h("th", { scope: "col" }, name));
    fillWith(
      byId("score-table"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Detector")), ...heads)),
      h("tbody", {}, ...rows),
    );
  });
}

/** @param {number} value */
function share(value) {
  return Number.isNaN(value) ? "–" : value.toFixed(2);
}
