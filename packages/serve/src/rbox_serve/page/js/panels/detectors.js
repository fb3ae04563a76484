/**
 * The two detectors: which models, and how they see the image.
 *
 * @typedef {import("../types.js").Slot} Slot
 */

import { cancel, choose, detect } from "../actions.js";
import { byId, fillWith, h } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";
import { counted } from "../words.js";

export function setDetectors() {
  for (const slot of state.SLOTS) {
    const select = /** @type {HTMLSelectElement} */ (byId(`model-${slot}`));
    const { chosen, run } = state.detectors[slot];
    select.addEventListener("change", () => choose(slot, select.value));

    effect(() => {
      const none = h("option", { value: "" }, slot === "A" ? "Choose a detector" : "None");
      fillWith(select, none, ...state.models.value.map(optionOf));
      select.value = chosen.value;
    });

    effect(() => {
      fillWith(byId(`run-${slot}`), ...reportOf(slot, run.value));
    });
  }

  const again = /** @type {HTMLButtonElement} */ (byId("detect"));
  again.addEventListener("click", () => state.SLOTS.forEach((slot) => void detect(slot)));
  effect(() => {
    const isChosen = state.SLOTS.some((slot) => state.detectors[slot].chosen.value);
    again.disabled = !isChosen || !state.image.value;
  });

  byId("cancel").addEventListener("click", () => state.SLOTS.forEach(cancel));
  effect(() => {
    const isRunning = state.SLOTS.some((slot) => state.detectors[slot].run.value?.state === "running");
    byId("cancel").hidden = !isRunning;
    byId("stage").setAttribute("aria-busy", String(isRunning));
    document.body.classList.toggle("running", isRunning);
  });
}

/** @param {import("../types.js").Model} model */
function optionOf({ name, command, ready }) {
  const about = [command, !ready && "loading"].filter(Boolean).join(", ");
  return h("option", { value: name }, about ? `${name} (${about})` : name);
}

/**
 * @param {Slot} slot
 * @param {import("../state.js").Run | null} run
 */
function reportOf(slot, run) {
  if (!run) return [];
  const count = run.found?.boxes.length ?? 0;
  const boxes = counted(count, "box", "boxes");
  if (run.state === "running") return [count ? `Detecting: ${boxes} so far` : "Detecting…"];
  if (run.state === "failed") return ["Stopped."];
  const seconds = run.found?.seconds;
  return [boxes, typeof seconds === "number" && ` in ${seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(0)} s`];
}
