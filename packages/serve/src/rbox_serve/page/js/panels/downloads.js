/**
 * Downloads of what is shown.
 *
 * @typedef {import("../types.js").Slot} Slot
 */

import { byId, fillWith, h } from "../dom.js";
import { dotaFile } from "../download/dota.js";
import { geojsonFile } from "../download/geojson.js";
import { pictureFile } from "../download/picture.js";
import { predictionsFile } from "../download/predictions.js";
import { save } from "../download/save.js";
import { lookOfFound, lookOfTruth, scoreText } from "../looks.js";
import { effect } from "../signals.js";
import * as state from "../state.js";

const LABELLED = 200; // beyond, the texts in a picture would hide it

/** @type {{ name: string, ending: string, type: string, textOf: (slot: Slot) => string }[]} */
const FORMATS = [
  {
    name: "predictions.jsonl",
    ending: ".jsonl",
    type: "application/jsonl",
    textOf: (slot) => predictionsFile(foundOf(slot), state.detectors[slot].shown.peek()),
  },
  {
    name: "GeoJSON",
    ending: ".geojson",
    type: "application/geo+json",
    textOf: (slot) => {
      const { record, map } = /** @type {any} */ (foundOf(slot));
      return geojsonFile(record.image_id, record, shownBoxes(slot), map);
    },
  },
  { name: "DOTA text", ending: ".txt", type: "text/plain", textOf: (slot) => dotaFile(shownBoxes(slot)) },
];

export function setDownloads() {
  effect(() => {
    const slots = state.SLOTS.filter((slot) => state.detectors[slot].run.value?.state === "done");
    byId("downloads").hidden = slots.length === 0;
    fillWith(byId("download-list"), ...slots.map(rowOf));
  });
  byId("download-picture").addEventListener("click", savePicture);
}

/** @param {Slot} slot */
function rowOf(slot) {
  const model = state.detectors[slot].run.value?.model;
  const buttons = FORMATS.map(({ name, ending, type, textOf }) => {
    const run = () => save(`${stem()}-${model}${ending}`, new Blob([textOf(slot)], { type }));
    return h("button", { type: "button", "aria-label": `${name} of ${model}`, onclick: run }, name);
  });
  const isOne = state.compared.value.length < 2;
  return h("div", { class: "buttons" }, !isOne && h("span", { class: "tag" }, slot), ...buttons);
}

async function savePicture() {
  const image = state.image.peek();
  if (!image) return;
  const truths = (state.truth.peek()?.objects ?? []).map(({ corners, index }) => ({
    corners,
    look: lookOfTruth(state.compared.peek(), index),
    text: "",
  }));
  const found = state.compared.peek().flatMap((slot) =>
    shownBoxes(slot).map(({ index, corners, name, score }) => ({
      corners,
      look: lookOfFound(slot, index),
      text: `${name} ${scoreText(score)}`.trim(),
    })),
  );
  const drawn = [...truths, ...found].flatMap(({ look, text, ...box }) =>
    look ? [{ ...box, look, text: found.length > LABELLED ? "" : text }] : [],
  );
  save(`${stem()}-boxes.png`, await pictureFile(image.picture, image.size, drawn));
}

/** @param {Slot} slot */
function foundOf(slot) {
  return /** @type {import("../types.js").Found} */ (state.detectors[slot].run.peek()?.found);
}

/** @param {Slot} slot */
function shownBoxes(slot) {
  const { boxes, shown } = state.detectors[slot];
  return boxes.peek().filter(({ index }) => shown.peek().has(index));
}

/** The image's name without its ending. */
function stem() {
  return (state.image.peek()?.name ?? "image").replace(/\.[^.]*$/, "");
}
