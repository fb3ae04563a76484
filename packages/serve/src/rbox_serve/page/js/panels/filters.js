/** What is shown: the score threshold, the classes, the IoU that makes a match. All act at once, in the browser. */

import { byId, fillWith, h } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";
import { classColour } from "../view/colours.js";

export function setFilters() {
  for (const slot of state.SLOTS) {
    const { threshold, hasScores, boxes } = state.detectors[slot];
    bindRange(`threshold-${slot}`, threshold);
    effect(() => {
      byId(`threshold-row-${slot}`).hidden = !hasScores.value;
      byId(`no-scores-${slot}`).hidden = hasScores.value || boxes.value.length === 0;
    });
  }
  effect(() => {
    byId("no-filters").hidden = state.compared.value.length > 0 || state.truth.value !== null;
  });
  bindRange("iou", state.iouThreshold);
  effect(() => (byId("iou-row").hidden = !state.truth.value));

  effect(() => {
    const present = [...state.classes.value.values()].filter(({ count }) => count > 0);
    byId("classes").hidden = present.length === 0;
    keepFocus(byId("class-list"), () => fillWith(byId("class-list"), ...present.map(rowOf)));
  });
  byId("all-classes").addEventListener("click", () => (state.hiddenClasses.value = new Set()));
  byId("no-classes").addEventListener("click", () => {
    state.hiddenClasses.value = new Set(state.classes.peek().keys());
  });
}

/**
 * @param {string} id Of an `input`, whose `output` is beside it.
 * @param {import("../signals.js").Signal<number>} value
 */
function bindRange(id, value) {
  const input = /** @type {HTMLInputElement} */ (byId(id));
  input.addEventListener("input", () => (value.value = Number(input.value)));
  effect(() => {
    input.value = String(value.value);
    byId(`${id}-value`).textContent = value.value.toFixed(2);
  });
}

/** @param {import("../state.js").ClassEntry} entry */
function rowOf({ key, name, label, count }) {
  const hidden = state.hiddenClasses.value;
  const toggle = () => {
    const next = new Set(state.hiddenClasses.peek());
    if (!next.delete(key)) next.add(key);
    state.hiddenClasses.value = next;
  };
  return h(
    "label",
    { class: "class" },
    h("input", { type: "checkbox", checked: !hidden.has(key), "data-key": key, onchange: toggle }),
    state.colouring.value === "class" && h("span", { class: "swatch", style: { "--colour": classColour(label) } }),
    h("span", { class: "grow" }, name),
    h("span", { class: "faint numbers" }, count),
  );
}

/**
 * Replace a list of inputs, and give the focus back to the one that had it.
 *
 * @param {HTMLElement} list
 * @param {() => void} replace
 */
function keepFocus(list, replace) {
  const key = list.contains(document.activeElement)
    ? /** @type {HTMLElement} */ (document.activeElement).dataset.key
    : null;
  replace();
  if (!key) return;
  for (const input of list.querySelectorAll("input")) if (input.dataset.key === key) input.focus();
}
