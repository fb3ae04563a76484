/**
 * The list of detections, by detector, then of the objects that were missed: what is chosen here is lit on the image.
 *
 * @typedef {import("../types.js").Mark} Mark
 * @typedef {import("../types.js").Slot} Slot
 */

import { byId, fillWith, h } from "../dom.js";
import { boundsOf } from "../geometry.js";
import { lookOfFound, lookOfTruth, OUTCOME_NAMES, scoreText, slotsTogether } from "../looks.js";
import { effect, signal } from "../signals.js";
import * as state from "../state.js";
import { viewport } from "../view/stage.js";

/** Signs before a row, for those who do not see the colours. */
const SIGNS = { true: "✓", false: "✕", ignored: "○", missed: "◌" };

/**
 * @typedef {object} Row
 * @property {Mark} mark
 * @property {HTMLElement} row
 * @property {HTMLElement} sign
 * @property {HTMLElement} swatch
 */

/** @type {import("../signals.js").Signal<Map<string, Row>>} */
const rows = signal(new Map());

const keyOf = (/** @type {Mark} */ { layer, index }) => `${layer}-${index}`;

export function setResults() {
  const list = /** @type {HTMLElement} */ (byId("results"));

  effect(() => {
    /** @type {Map<string, Row>} */
    const made = new Map();
    const groups = state.compared.value.map((slot) => groupOf(slot, made));
    if (state.truth.value && state.compared.value.length) groups.push(missedGroup(made));
    fillWith(list, ...groups);
    rows.value = made;
  });

  // Which rows are there, and their signs: a slider moves these without making rows.
  effect(() => {
    let count = 0;
    for (const { mark, row, sign, swatch } of rows.value.values()) {
      const look = mark.layer === "truth" ? lookOfTruth(slotsOrAll(), mark.index) : lookOfFound(mark.layer, mark.index);
      const outcome = outcomeOf(mark);
      const isHidden = !look || (mark.layer === "truth" && outcome !== "missed");
      row.hidden = isHidden;
      if (isHidden) continue;
      count += 1;
      swatch.style.setProperty("--colour", look.colour);
      sign.textContent = outcome ? SIGNS[outcome] : "";
      sign.title = outcome ? OUTCOME_NAMES[outcome] : "";
      row.setAttribute("aria-label", descriptionOf(mark, outcome));
    }
    for (const group of list.querySelectorAll(".group")) {
      const shown = group.querySelectorAll(".row:not([hidden])").length;
      fillWith(/** @type {Element} */ (group.querySelector(".group-count")), shown);
    }
    byId("no-results").hidden = count > 0;
    byId("no-results").textContent = emptyText();
    list.hidden = count === 0;
  });

  effect(() => {
    const mark = state.selected.value;
    for (const row of list.querySelectorAll("[aria-selected=true]")) row.setAttribute("aria-selected", "false");
    const found = mark && rows.value.get(keyOf(mark));
    if (found) {
      found.row.setAttribute("aria-selected", "true");
      list.setAttribute("aria-activedescendant", found.row.id);
      found.row.scrollIntoView({ block: "nearest" });
    } else list.removeAttribute("aria-activedescendant");
  });

  effect(() => {
    const mark = state.pointed.value;
    for (const row of list.querySelectorAll("[data-pointed]")) row.removeAttribute("data-pointed");
    if (mark) rows.value.get(keyOf(mark))?.row.setAttribute("data-pointed", "");
  });

  list.addEventListener("pointerover", ({ target }) => (state.pointed.value = markOfRow(target)));
  list.addEventListener("pointerleave", () => (state.pointed.value = null));
  list.addEventListener("click", ({ target }) => select(markOfRow(target)));
  list.addEventListener("dblclick", ({ target }) => zoomTo(markOfRow(target)));
  list.addEventListener("keydown", (event) => {
    const shown = [...rows.peek().values()].filter(({ row }) => !row.hidden).map(({ mark }) => mark);
    const at = shown.findIndex((mark) => state.isSame(mark, state.selected.peek()));
    const moves = /** @type {Record<string, number>} */ ({
      ArrowDown: at + 1,
      ArrowUp: Math.max(at - 1, 0),
      PageDown: at + 10,
      PageUp: Math.max(at - 10, 0),
      Home: 0,
      End: shown.length - 1,
    });
    if (event.key in moves) select(shown[Math.min(moves[event.key], shown.length - 1)] ?? null);
    else if (event.key === "Enter") zoomTo(state.selected.peek());
    else if (event.key === "Escape") state.selected.value = null;
    else return;
    event.preventDefault();
  });
}

/**
 * @param {Slot} slot
 * @param {Map<string, Row>} made Where the rows are noted.
 */
function groupOf(slot, made) {
  const { boxes, run } = state.detectors[slot];
  const falling = [...boxes.value].sort((first, second) => (second.score ?? 1) - (first.score ?? 1));
  const title = `${slot} · ${run.value?.model}`;
  return group(
    title,
    falling.map(({ index, name, score }) => rowOf({ layer: slot, index }, name, scoreText(score), made)),
  );
}

/** @param {Map<string, Row>} made Where the rows are noted. */
function missedGroup(made) {
  const objects = state.truth.value?.objects ?? [];
  return group(
    "Missed",
    objects.map(({ index, name }) => rowOf({ layer: "truth", index }, name, "", made)),
  );
}

/**
 * @param {string} title
 * @param {HTMLElement[]} children
 */
function group(title, children) {
  const count = h("span", { class: "group-count numbers" });
  const heading = h("div", { class: "group-title", "aria-hidden": "true" }, h("span", { class: "grow" }, title), count);
  return h("div", { class: "group", role: "group", "aria-label": title }, heading, ...children);
}

/**
 * @param {Mark} mark
 * @param {string} name
 * @param {string} score
 * @param {Map<string, Row>} made Where the row is noted.
 */
function rowOf(mark, name, score, made) {
  const swatch = h("span", { class: "swatch" });
  const sign = h("span", { class: "sign" });
  const row = h(
    "div",
    { class: "row", role: "option", id: `row-${keyOf(mark)}`, "aria-selected": "false", "data-key": keyOf(mark) },
    swatch,
    h("span", { class: "grow" }, name),
    sign,
    h("span", { class: "numbers" }, score),
  );
  made.set(keyOf(mark), { mark, row, sign, swatch });
  return row;
}

/** An object counts as missed here if none of the detectors that are shown found it. */
function slotsOrAll() {
  const together = slotsTogether();
  return together.length ? together : state.compared.value;
}

/**
 * @param {Mark} mark
 * @returns {keyof typeof OUTCOME_NAMES | undefined}
 */
function outcomeOf({ layer, index }) {
  if (layer !== "truth") return state.detectors[layer].matching.value?.outcomes.get(index);
  return slotsOrAll().every((slot) => state.detectors[slot].matching.value?.missed.has(index)) ? "missed" : undefined;
}

/**
 * @param {Mark} mark
 * @param {keyof typeof OUTCOME_NAMES | undefined} outcome
 */
function descriptionOf(mark, outcome) {
  const box = state.boxOf(mark);
  const [cx, cy] = box?.box ?? [0, 0];
  const score = box && "score" in box && box.score !== null ? `score ${scoreText(box.score)}` : "";
  const place = `at ${Math.round(cx)}, ${Math.round(cy)}`;
  return [box?.name, score, place, outcome && OUTCOME_NAMES[outcome].toLowerCase()].filter(Boolean).join(", ");
}

function emptyText() {
  if (!state.compared.value.length) return "Boxes are listed here once a detector has seen an image.";
  const found = state.SLOTS.some((slot) => state.detectors[slot].boxes.value.length > 0);
  return found ? "No box passes the filters. Lower the score threshold, or show more classes." : "No boxes found.";
}

/**
 * @param {EventTarget | null} target
 * @returns {Mark | null}
 */
function markOfRow(target) {
  const row = target instanceof Element ? target.closest("[data-key]") : null;
  return (row instanceof HTMLElement && rows.peek().get(row.dataset.key ?? "")?.mark) || null;
}

/** @param {Mark | null} mark */
function select(mark) {
  state.selected.value = mark;
  const box = mark && state.boxOf(mark);
  if (box) viewport.reveal(boundsOf(box.box));
}

/** @param {Mark | null} mark */
function zoomTo(mark) {
  const box = mark && state.boxOf(mark);
  if (box) viewport.zoomTo(boundsOf(box.box));
}
