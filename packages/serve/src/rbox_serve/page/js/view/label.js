/**
 * The label of the box that is pointed at, or else of the one that is selected.
 *
 * @typedef {import("../types.js").Mark} Mark
 */

import { fillWith, h } from "../dom.js";
import { boundsOf } from "../geometry.js";
import { OUTCOME_NAMES, scoreText } from "../looks.js";
import * as state from "../state.js";

const ABOVE = 8; // pixels between a box and its label
const EDGE = 4; // pixels between a label and the pane's edge

/**
 * Put the label above its box, within the pane; hide it where there is nothing in view to name.
 *
 * @param {HTMLElement} label
 * @param {import("./pane.js").Pane[]} panes Two; the second one is hidden where both detectors are drawn in one place.
 * @param {import("./viewport.js").Viewport} viewport
 */
export function placeLabel(label, panes, viewport) {
  label.hidden = true;
  const mark = state.pointed.peek() ?? state.selected.peek();
  const box = mark && state.boxOf(mark);
  if (!mark || !box) return;
  const { element, size } = panes[1].element.hidden || mark.layer !== "B" ? panes[0] : panes[1];
  const [left, top, right, bottom] = boundsOf(box.box);
  const [x, y] = viewport.toPane([(left + right) / 2, top]);
  const [, end] = viewport.toPane([right, bottom]);
  if (x < 0 || x > size.width || end < 0 || y > size.height) return;
  label.hidden = false;
  fillWith(label, ...wordsOf(mark));
  const half = label.offsetWidth / 2 + EDGE;
  const across = element.offsetLeft + Math.min(Math.max(x, half), Math.max(size.width - half, half));
  const down = element.offsetTop + Math.max(y - label.offsetHeight - ABOVE, EDGE);
  label.style.transform = `translate(${across}px, ${down}px) translateX(-50%)`;
}

/** @param {Mark} mark */
function wordsOf({ layer, index }) {
  const name = h("strong", {}, state.boxOf({ layer, index })?.name);
  if (layer === "truth") {
    const { difficult } = state.truth.peek()?.objects[index] ?? {};
    const missed = state.compared.peek().filter((slot) => state.detectors[slot].matching.peek()?.missed.has(index));
    return [
      name,
      " ground truth",
      difficult && ", difficult",
      missed.length > 0 && `, missed by ${missed.join(" and ")}`,
    ];
  }
  const { boxes, matching } = state.detectors[layer];
  const outcome = matching.peek()?.outcomes.get(index);
  const about = [scoreText(boxes.peek()[index].score), state.compared.peek().length === 2 && layer];
  return [
    name,
    ...about.filter(Boolean).map((text) => ` ${text}`),
    outcome && ` · ${OUTCOME_NAMES[outcome].toLowerCase()}`,
  ];
}
