/**
 * The stage: the image with its boxes, in one pane or two, with the label of the box that is pointed at.
 *
 * @typedef {import("../types.js").Mark} Mark
 * @typedef {import("../types.js").Slot} Slot
 */

import { byId, fillWith, h } from "../dom.js";
import { lookOfFound, lookOfTruth, slotsTogether } from "../looks.js";
import { effect, signal } from "../signals.js";
import * as state from "../state.js";
import { BoxLayer } from "./boxes.js";
import { steer } from "./gestures.js";
import { placeLabel } from "./label.js";
import { Pane } from "./pane.js";
import { Viewport } from "./viewport.js";

export const viewport = new Viewport();

const AROUND = 0.75; // of the view's sides, held beyond each of its edges
const MOST_AROUND = 6; // times the view's width

/** Set the stage up, once. */
export function setStage() {
  const stage = /** @type {HTMLElement} */ (byId("stage"));
  const edge = /** @type {HTMLInputElement} */ (byId("swipe"));
  const label = h("div", { class: "label", "aria-hidden": "true", hidden: true });
  const panes = [new Pane(), new Pane()];
  stage.prepend(...panes.map((pane) => pane.element), label);
  /** What lies on the panes. @type {import("../signals.js").Signal<import("./pane.js").Sheet[]>} */
  const sheets = signal([]);

  let isWaiting = false;
  const redraw = () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      keepToView();
      const tiles = state.image.peek()?.tiles ?? null;
      for (const pane of panes) if (!pane.element.hidden) pane.draw(tiles, viewport.view.peek());
      placeLabel(label, panes, viewport);
    });
  };

  /** Which part of the image the layers hold boxes of: more than the view, so that few moves leave it. */
  let region = viewport.region(0);
  const keepToView = () => {
    const [left, top, right, bottom] = viewport.region(0);
    const isWithin = left >= region[0] && top >= region[1] && right <= region[2] && bottom <= region[3];
    // After zooming in, a region that is far larger than the view is no help.
    if (isWithin && region[2] - region[0] <= MOST_AROUND * (right - left)) return;
    region = viewport.region(AROUND);
    for (const { layers } of sheets.peek()) for (const layer of layers.values()) layer.keepTo(region);
  };

  const measure = () => {
    for (const pane of panes) if (!pane.element.hidden) pane.measure();
    viewport.setPane(panes[0].size);
    redraw();
  };
  new ResizeObserver(measure).observe(stage);

  steer(stage, viewport, ([x, y]) => {
    const places = panes.filter(({ element }) => !element.hidden).map(({ element }) => element.getBoundingClientRect());
    const { left, top } = places.find((place) => x >= place.left && x < place.right) ?? places[0];
    return [x - left, y - top];
  });

  stage.addEventListener("pointerover", ({ target }) => (state.pointed.value = markOf(target)));
  stage.addEventListener("pointerleave", () => (state.pointed.value = null));
  stage.addEventListener("click", ({ target }) => (state.selected.value = markOf(target)));
  stage.addEventListener("keydown", ({ key }) => key === "Escape" && (state.selected.value = null));

  // A new image is shown whole, and its tiles are drawn as they come.
  effect(() => {
    const { tiles, size } = state.image.value ?? {};
    if (tiles) tiles.onchange = redraw;
    if (size) viewport.setImage(size);
    redraw();
  });

  // The panes and what lies on each.
  effect(() => {
    const comparison = state.comparison.value;
    stage.dataset.comparison = comparison;
    const isDouble = comparison === "side";
    panes[1].element.hidden = !isDouble;
    edge.hidden = comparison !== "swipe";
    const sheetsOfPanes = isDouble ? state.SLOTS.map((slot) => [sheetOf(slot)]) : [sheetsTogether()];
    panes.forEach((pane, i) => {
      pane.sheets = sheetsOfPanes[i] ?? [];
      pane.caption = isDouble ? captionOf(state.SLOTS[i]) : "";
    });
    const captions = comparison === "swipe" ? state.SLOTS.map((slot) => h("span", {}, captionOf(slot))) : [];
    fillWith(byId("swipe-captions"), ...captions);
    measure();
    sheets.value = sheetsOfPanes.flat();
    for (const { layers } of sheets.peek()) for (const layer of layers.values()) layer.keepTo(region);
  });

  effect(() => {
    void sheets.value;
    const share = state.swipe.value;
    panes[0].clip(state.comparison.value === "swipe" ? share : null);
    stage.style.setProperty("--swipe", String(share));
    edge.value = String(Math.round(share * 100));
  });
  edge.addEventListener("input", () => (state.swipe.value = Number(edge.value) / 100));

  effect(() => {
    for (const { slot, layers } of sheets.value) {
      const slots = slot ? (state.comparison.value === "overlay" ? slotsTogether() : [slot]) : [];
      for (const [name, layer] of layers) {
        layer.dress(name === "truth" ? (index) => lookOfTruth(slots, index) : (index) => lookOfFound(name, index));
      }
    }
  });

  for (const [how, marked] of /** @type {const} */ ([
    ["pointed", state.pointed],
    ["selected", state.selected],
  ])) {
    effect(() => {
      for (const { layers } of sheets.value) {
        for (const [name, layer] of layers) {
          layer.mark(how, marked.value?.layer === name ? marked.value.index : null);
        }
      }
      redraw();
    });
  }

  effect(() => {
    void viewport.view.value;
    redraw();
  });
}

/** @param {Slot} slot */
function captionOf(slot) {
  return `${slot} · ${state.detectors[slot].run.value?.model ?? ""}`;
}

/**
 * Return the ground truth and the boxes of one detector.
 *
 * @param {Slot | null} slot
 * @param {boolean} [withTruth]
 */
function sheetOf(slot, withTruth = true) {
  /** @type {Map<Mark["layer"], BoxLayer>} */
  const layers = new Map();
  if (withTruth && state.truth.value) layers.set("truth", new BoxLayer(state.truth.value.objects, "truth"));
  if (slot) layers.set(slot, new BoxLayer(state.detectors[slot].boxes.value, slot));
  return { slot, layers };
}

/** Return a sheet for each detector, in one place; they share the ground truth unless one swipes between them. */
function sheetsTogether() {
  const slots = state.compared.value;
  if (!slots.length) return [sheetOf(null)];
  return slots.map((slot, i) => sheetOf(slot, i === 0 || state.comparison.value === "swipe"));
}

/**
 * Return the box that an element of the stage is.
 *
 * @param {EventTarget | null} target
 * @returns {Mark | null}
 */
function markOf(target) {
  if (!(target instanceof SVGElement) || !target.dataset.layer) return null;
  return { layer: /** @type {Mark["layer"]} */ (target.dataset.layer), index: Number(target.dataset.index) };
}
