/**
 * What a multimodal model wrote, window by window; the piece of each box is lit with it.
 *
 * @typedef {import("../types.js").Mark} Mark
 * @typedef {import("../types.js").Slot} Slot
 * @typedef {import("../types.js").Span} Span
 */

import { byId, fillWith, h } from "../dom.js";
import { boundsOf } from "../geometry.js";
import { effect, signal } from "../signals.js";
import * as state from "../state.js";
import { viewport } from "../view/stage.js";

export function setAnswers() {
  const place = /** @type {HTMLElement} */ (byId("answers"));
  /** The marked pieces of the texts. @type {import("../signals.js").Signal<HTMLElement[]>} */
  const pieces = signal([]);

  effect(() => {
    const written = state.compared.value.filter((slot) => state.detectors[slot].run.value?.found?.answers.length);
    byId("answers-panel").hidden = written.length === 0;
    fillWith(place, ...written.flatMap(answersOf));
    pieces.value = [...place.querySelectorAll("mark")];
  });

  effect(() => {
    for (const piece of pieces.value) {
      const { layer, index } = markIn(piece);
      piece.classList.toggle("filtered", !state.detectors[layer].shown.value.has(index));
    }
  });

  for (const [how, marked] of /** @type {const} */ ([
    ["pointed", state.pointed],
    ["selected", state.selected],
  ])) {
    effect(() => {
      for (const piece of pieces.value) {
        const isLit = state.isSame(markIn(piece), marked.value);
        piece.toggleAttribute(`data-${how}`, isLit);
        if (isLit && how === "selected") piece.scrollIntoView({ block: "nearest" });
      }
    });
  }

  place.addEventListener("pointerover", ({ target }) => (state.pointed.value = markOf(target)));
  place.addEventListener("pointerleave", () => (state.pointed.value = null));
  place.addEventListener("click", ({ target }) => {
    const mark = markOf(target);
    const box = mark && state.boxOf(mark);
    if (!box) return;
    state.selected.value = mark;
    viewport.reveal(boundsOf(box.box));
  });
}

/** @param {Slot} slot */
function answersOf(slot) {
  const { answers, spans } = /** @type {import("../types.js").Found} */ (state.detectors[slot].run.value?.found);
  const title = h("h3", {}, `${slot} · ${state.detectors[slot].run.value?.model}`);
  return [
    title,
    ...answers.map(({ window: [x, y, side], text, status }, i) => {
      const own = spans.filter((span) => span.window === i).sort((first, second) => first.start - second.start);
      const about = `Window at ${x}, ${y}, ${side} px${status === "boxes" ? "" : ` · ${status}`}`;
      const figure = h("figcaption", { class: "faint" }, about);
      return h("figure", { class: "answer" }, figure, h("pre", {}, ...piecesOf(slot, text, own)));
    }),
  ];
}

/**
 * Return an answer's text with the pieces that hold boxes marked.
 *
 * @param {Slot} slot
 * @param {string} text
 * @param {Span[]} spans In the order of the text.
 */
function piecesOf(slot, text, spans) {
  // Positions count characters as Python does, not halves of surrogate pairs.
  const characters = [...text];
  const piece = (/** @type {number} */ start, end = characters.length) => characters.slice(start, end).join("");
  const pieces = [];
  let at = 0;
  for (const { start, end, box } of spans) {
    if (start < at) continue;
    pieces.push(piece(at, start), h("mark", { "data-layer": slot, "data-index": box }, piece(start, end)));
    at = end;
  }
  return [...pieces, piece(at)];
}

/**
 * @param {EventTarget | null} target
 * @returns {Mark | null}
 */
function markOf(target) {
  const piece = target instanceof Element ? target.closest("mark") : null;
  return piece && markIn(piece);
}

/** @param {HTMLElement} piece */
function markIn({ dataset }) {
  return { layer: /** @type {Slot} */ (dataset.layer), index: Number(dataset.index) };
}
