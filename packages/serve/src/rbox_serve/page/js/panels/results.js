/**
 * The list of detections, and of the objects that were missed, by detector: what is chosen here is lit on the image.
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
 * @property {string} key What tells its row from all others: an object may be missed by both detectors.
 * @property {Mark} mark
 * @property {string} name
 * @property {string} score
 * @property {Look} look
 * @property {Outcome | undefined} outcome
 */

import { byId, h } from "../dom.js";
import { boundsOf } from "../geometry.js";
import { lookOfFound, lookOfTruth, OUTCOME_NAMES, scoreText } from "../looks.js";
import { derived, effect } from "../signals.js";
import * as state from "../state.js";
import { viewport } from "../view/stage.js";
import { LongList } from "./long-list.js";

/** Signs before a row, for those who do not see the colours. */
const SIGNS = { true: "✓", false: "✕", ignored: "○", missed: "◌" };

/** What the list holds. @type {{ readonly value: (Title | Entry)[], peek(): (Title | Entry)[] }} */
const items = derived(() => {
  const slots = state.compared.value;
  const found = slots.map((slot) => groupOf(`${slot} · ${state.detectors[slot].run.value?.model}`, foundBy(slot)));
  const missed = state.truth.value
    ? slots.map((slot) => groupOf(slots.length === 2 ? `Missed by ${slot}` : "Missed", missedBy(slot)))
    : [];
  return [...found, ...missed].flat();
});

/** The boxes among them. */
const entries = derived(() => items.value.filter((item) => "mark" in item));

export function setResults() {
  const element = /** @type {HTMLElement} */ (byId("results"));
  const rows = {
    keyOf: (/** @type {Title | Entry} */ item) => ("mark" in item ? item.key : item.title),
    make: (/** @type {Title | Entry} */ item) => ("mark" in item ? rowOf(item) : titleOf(item)),
  };
  /** The row that was chosen last: an object that both detectors missed has two. */
  let chosen = "";
  const list = new LongList(element, rows, markRows);

  effect(() => {
    const isEmpty = entries.value.length === 0;
    element.hidden = isEmpty;
    byId("no-results").hidden = !isEmpty;
    byId("no-results").textContent = emptyText();
    list.items = items.value;
  });

  // Where the selected box is in a list; -1: not there.
  const placeIn = (/** @type {(Title | Entry)[]} */ all) => {
    const isSelected = (/** @type {Title | Entry} */ item) =>
      "mark" in item && state.isSame(item.mark, state.selected.peek());
    const place = all.findIndex((item) => isSelected(item) && "key" in item && item.key === chosen);
    return place >= 0 ? place : all.findIndex(isSelected);
  };

  // Which rows are lit; a mark that is set elsewhere brings its row into view.
  function markRows() {
    element.removeAttribute("aria-activedescendant");
    for (const row of list.shown.values()) {
      const mark = entryOf(row)?.mark;
      if (!mark) continue;
      const isSelected = state.isSame(mark, state.selected.peek());
      row.setAttribute("aria-selected", String(isSelected));
      row.toggleAttribute("data-pointed", state.isSame(mark, state.pointed.peek()));
      // Of two rows, the one that was chosen.
      const isActive = isSelected && (row.dataset.key === chosen || !element.hasAttribute("aria-activedescendant"));
      if (isActive) element.setAttribute("aria-activedescendant", row.id);
    }
  }
  effect(() => {
    void state.selected.value;
    const place = placeIn(items.peek());
    if (place >= 0) list.reveal(place);
    markRows();
  });
  effect(() => {
    void state.pointed.value;
    markRows();
  });

  const choose = (/** @type {Entry | undefined} */ entry) => {
    chosen = entry?.key ?? "";
    select(entry?.mark ?? null);
  };

  element.addEventListener("pointerover", ({ target }) => (state.pointed.value = entryOf(target)?.mark ?? null));
  element.addEventListener("pointerleave", () => (state.pointed.value = null));
  element.addEventListener("click", ({ target }) => choose(entryOf(target)));
  element.addEventListener("dblclick", ({ target }) => zoomTo(entryOf(target)?.mark ?? null));
  element.addEventListener("keydown", (event) => {
    const all = entries.peek();
    const from = placeIn(all);
    const moves = new Map([
      ["ArrowDown", from + 1],
      ["ArrowUp", from - 1],
      ["PageDown", from + 10],
      ["PageUp", from - 10],
      ["Home", 0],
      ["End", all.length - 1],
    ]);
    const next = moves.get(event.key);
    if (next !== undefined) choose(all[Math.max(0, Math.min(next, all.length - 1))]);
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
    const key = `${slot}-${index}`;
    return look ? [{ key, mark: { layer: slot, index }, name, score: scoreText(score), look, outcome }] : [];
  });
}

/**
 * @param {Slot} slot
 * @returns {Entry[]}
 */
function missedBy(slot) {
  const { matching } = state.detectors[slot];
  return (state.truth.value?.objects ?? []).flatMap(({ index, name }) => {
    const look = lookOfTruth([slot], index);
    if (!look || !matching.value?.missed.has(index)) return [];
    const key = `missed-${slot}-${index}`;
    return [{ key, mark: { layer: "truth", index }, name, score: "", look, outcome: /** @type {const} */ ("missed") }];
  });
}

/** @param {Title} group */
function titleOf({ title, count }) {
  const number = h("span", { class: "numbers" }, count);
  return h("div", { class: "group-title", "aria-hidden": "true" }, h("span", { class: "grow" }, title), number);
}

/** @param {Entry} entry */
function rowOf({ key, mark, name, score, look, outcome }) {
  return h(
    "div",
    {
      class: "row",
      role: "option",
      id: `row-${key}`,
      "data-key": key,
      "aria-selected": "false",
      "aria-label": descriptionOf(mark, name, score, outcome),
      "aria-setsize": entries.peek().length,
      "aria-posinset": entries.peek().findIndex((entry) => entry.key === key) + 1,
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
 * Return the entry whose row an element is in.
 *
 * @param {EventTarget | null} target
 */
function entryOf(target) {
  const row = target instanceof Element ? target.closest("[data-key]") : null;
  const key = row instanceof HTMLElement ? row.dataset.key : undefined;
  return entries.peek().find((entry) => entry.key === key);
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
