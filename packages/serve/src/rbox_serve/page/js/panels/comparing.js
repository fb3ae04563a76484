/** How two detectors are compared, what colours stand for, and the buttons that zoom. */

import { byId } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";
import { viewport } from "../view/stage.js";

/** @type {Record<string, () => void>} */
const ZOOMS = {
  "zoom-in": () => viewport.zoomBy(1.4),
  "zoom-out": () => viewport.zoomBy(1 / 1.4),
  "zoom-fit": () => viewport.fit(),
};

export function setComparing() {
  for (const [id, zoom] of Object.entries(ZOOMS)) byId(id).addEventListener("click", zoom);

  const modes = /** @type {HTMLFieldSetElement} */ (byId("modes"));
  modes.addEventListener("change", ({ target }) => {
    state.mode.value = /** @type {any} */ (/** @type {HTMLInputElement} */ (target).value);
  });
  effect(() => (modes.hidden = state.compared.value.length < 2));

  const colours = /** @type {HTMLSelectElement} */ (byId("colour-by"));
  colours.addEventListener("change", () => (state.colourBy.value = /** @type {any} */ (colours.value)));
  effect(() => {
    byId("colour-row").hidden = state.compared.value.length === 0 && !state.truth.value;
    for (const option of colours.options) {
      const isOfTruth = option.value === "outcome";
      option.hidden = option.disabled = isOfTruth && !state.truth.value;
    }
    colours.value = state.colouring.value;
  });

  effect(() => {
    const percent = Math.round(viewport.view.value.scale * 100);
    byId("zoom-level").textContent = `${percent} %`;
  });
}
