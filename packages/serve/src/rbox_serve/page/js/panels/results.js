/**
 * The list of detections, by detector, then of the objects that were missed: what is chosen here is lit on the image.
 *
 * @typedef {import("../types.js").Mark} Mark
 * @typedef {import("../types.js").Slot} Slot
 * @typedef {import("../view/boxes.js").Look} Look
 * @typedef {keyof typeof OUTCOME_NAMES} Outcome
 *
 * @typedef {object} Title Of a group.
 * @property {string} title
 * @property {number} count
 *
 * @typedef {object} Entry A box.
 * @property {Mark} mark
 * @property {string} name
 * @property {string} score
 * @property {Look} look
 * @property {Outcome | undefined} outcome
 */

import { byId, h } from "../dom.js";
import { boundsOf } from "../geometry.js";
import { lookOfFound, lookOfTruth, OUTCOME_NAMES, scoreText, slotsTogether } from "../looks.js";
import { derived, effect } from "../signals.js";
import * as state from "../state.js";
import { viewport } from "../view/stage.js";
import { LongList } from "./long-list.js";

/** Signs before a row, for those who do not see the colours. */
const SIGNS = { true: "✓", false: "✕", ignored: "○", missed: "◌" };

const keyOf = (/** @type {Mark} */ { layer, index }) => `${layer}-${index}`;

/** What the list holds. @type {{ readonly value: (Title | Entry)[], peek(): (Title | Entry)[] }} */
const items = derived(() => {
  const groups = state.compared.value.map((slot) =>
    groupOf(`${slot} · ${state.detectors[slot].run.value?.model}`, foundBy(slot)),
  );
  if (state.truth.value && state.compared.value.length) groups.push(groupOf("Missed", missed()));
  return groups.flat();
});

/** The boxes among them. */
const entries = derived(() => items.value.filter((item) => "mark" in item));

export function setResults() {
  const element = /** @type {HTMLElement} */ (byId("results"));
  const rows = {
    keyOf: (/** @type {Title | Entry} */ item) => ("mark" in item ? keyOf(item.mark) : item.title),
    make: (/** @type {Title | Entry} */ item) => ("mark" in item ? rowOf(item) : titleOf(item)),
  };
  const list = new LongList(element, rows, markRows);

  effect(() => {
    const isEmpty = entries.value.length === 0;
    element.hidden = isEmpty;
    byId("no-results").hidden = !isEmpty;
    byId("no-results").textContent = emptyText();
    list.items = items.value;
  });

  // Which rows are lit; a mark that is set elsewhere brings its row into view.
  function markRows() {
    const [selected, pointed] = [state.selected.peek(), state.pointed.peek()];
    for (const [key, row] of list.shown) {
      if (row.role !== "option") continue;
      row.setAttribute("aria-selected", String(selected !== null && key === keyOf(selected)));
      row.toggleAttribute("data-pointed", pointed !== null && key === keyOf(pointed));
    }
    const active = selected && list.shown.get(keyOf(selected));
    if (active) element.setAttribute("aria-activedescendant", active.id);
    else element.removeAttribute("aria-activedescendant");
  }
  effect(() => {
    const mark = state.selected.value;
    const place = items.peek().findIndex((item) => "mark" in item && state.isSame(item.mark, mark));
    if (mark && place >= 0) list.reveal(place);
    markRows();
  });
  effect(() => {
    void state.pointed.value;
    markRows();
  });

  element.addEventListener("pointerover", ({ target }) => (state.pointed.value = markOfRow(target)));
  element.addEventListener("pointerleave", () => (state.pointed.value = null));
  element.addEventListener("click", ({ target }) => select(markOfRow(target)));
  element.addEventListener("dblclick", ({ target }) => zoomTo(markOfRow(target)));
  element.addEventListener("keydown", (event) => {
    const marks = entries.peek().map(({ mark }) => mark);
    const at = marks.findIndex((mark) => state.isSame(mark, state.selected.peek()));
    const moves = new Map([
      ["ArrowDown", at + 1],
      ["ArrowUp", at - 1],
      ["PageDown", at + 10],
      ["PageUp", at - 10],
      ["Home", 0],
      ["End", marks.length - 1],
    ]);
    const next = moves.get(event.key);
    if (next !== undefined) select(marks[Math.max(0, Math.min(next, marks.length - 1))] ?? null);
    else if (event.key === "Enter") zoomTo(state.selected.peek());
    else if (event.key === "Escape") state.selected.value = null;
    else return;
    event.preventDefault();
  });
}

/**
 * @param {string} title
 * @param {Entry[]} group
 * @returns {(Title | Entry)[]}
 */
function groupOf(title, group) {
  return [{ title, count: group.length }, ...group];
}

/**
 * @param {Slot} slot
 * @returns {Entry[]}
 */
function foundBy(slot) {
  const { boxes, matching } = state.detectors[slot];
  const falling = [...boxes.value].sort((first, second) => (second.score ?? 1) - (first.score ?? 1));
  return falling.flatMap(({ index, name, score }) => {
    const look = lookOfFound(slot, index);
    const outcome = matching.value?.outcomes.get(index);
    return look ? [{ mark: { layer: slot, index }, name, score: scoreText(score), look, outcome }] : [];
  });
}

/**
 * Return the objects that none of the detectors found.
 *
 * @returns {Entry[]}
 */
function missed() {
  const together = slotsTogether();
  const slots = together.length ? together : state.compared.value;
  return (state.truth.value?.objects ?? []).flatMap(({ index, name }) => {
    const look = lookOfTruth(slots, index);
    if (!look || !slots.every((slot) => state.detectors[slot].matching.value?.missed.has(index))) return [];
    return [{ mark: { layer: "truth", index }, name, score: "", look, outcome: /** @type {const} */ ("missed") }];
  });
}

/** @param {Title} group */
function titleOf({ title, count }) {
  const number = h("span", { class: "numbers" }, count);
  return h("div", { class: "group-title", "aria-hidden": "true" }, h("span", { class: "grow" }, title), number);
}

/** @param {Entry} entry */
function rowOf({ mark, name, score, look, outcome }) {
  return h(
    "div",
    {
      class: "row",
      role: "option",
      id: `row-${keyOf(mark)}`,
      "data-key": keyOf(mark),
      "aria-selected": "false",
      "aria-label": descriptionOf(mark, name, score, outcome),
      "aria-setsize": entries.peek().length,
      "aria-posinset": entries.peek().findIndex((entry) => entry.mark === mark) + 1,
      title: name,
    },
    h("span", { class: "swatch", style: { "--colour": look.colour } }),
    h("span", { class: "grow" }, name),
    h("span", { class: "sign", title: outcome && OUTCOME_NAMES[outcome] }, outcome && SIGNS[outcome]),
    h("span", { class: "numbers" }, score),
  );
}

/**
 * @param {Mark} mark
 * @param {string} name
 * @param {string} score
 * @param {Outcome | undefined} outcome
 */
function descriptionOf(mark, name, score, outcome) {
  const [cx, cy] = state.boxOf(mark)?.box ?? [0, 0];
  const by = mark.layer !== "truth" && state.compared.peek().length === 2 && `detector ${mark.layer}`;
  const place = `at ${Math.round(cx)}, ${Math.round(cy)}`;
  const parts = [name, score && `score ${score}`, place, outcome && OUTCOME_NAMES[outcome].toLowerCase(), by];
  return parts.filter(Boolean).join(", ");
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
  const key = row instanceof HTMLElement ? row.dataset.key : undefined;
  return entries.peek().find(({ mark }) => keyOf(mark) === key)?.mark ?? null;
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
