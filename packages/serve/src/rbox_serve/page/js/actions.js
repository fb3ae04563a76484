/**
 * What the user can do. Each action changes the state, and says what went wrong where it fails.
 *
 * @typedef {import("./types.js").Slot} Slot
 */

import * as api from "./api.js";
import { byId } from "./dom.js";
import { KeyError, PageError } from "./errors.js";
import { doubtAbout, isLabelFile, readLabels } from "./labels/index.js";
import * as state from "./state.js";
import { Tiles } from "./view/tiles.js";
import { counted } from "./words.js";

const LOADING = 700; // milliseconds between two looks at models that are being loaded

const REDRAWN = 100; // milliseconds between two looks at boxes that are being written

const LARGEST_LABELS = 64 * 2 ** 20; // bytes; a label file beyond is none

/** Only the image that was opened last is shown, however long another one takes. */
let opening = 0;

/** Whose threshold each detector's slider began with. @type {Map<Slot, string>} */
const started = new Map();

/** Ask the server what it has, and open what the page's address names: `?scene=...&a=...&b=...`. */
export async function begin() {
  await attempt(async () => {
    const [models, scenes] = await Promise.all([api.fetchModels(), api.fetchScenes()]);
    [state.models.value, state.scenes.value, state.wantsKey.value] = [models, scenes, false];
    void watchModels();
    if (!models.length) {
      throw new PageError("The server has no detector.", "Start it with one: rbox-serve run --model PATH.");
    }
    const asked = new URLSearchParams(location.search);
    const named = (/** @type {string | null} */ name) => models.find((model) => model.name === name)?.name;
    state.detectors.A.chosen.value = named(asked.get("a")) ?? models[0].name;
    // A server of two detectors was started to compare them.
    const other = models.length === 2 ? models.find(({ name }) => name !== state.detectors.A.chosen.peek()) : undefined;
    state.detectors.B.chosen.value = (asked.has("b") ? named(asked.get("b")) : other?.name) ?? "";
    const scene = asked.get("scene");
    if (scene) await openScene(scene);
  });
}

/**
 * Begin again with the server's key.
 *
 * @param {string} key
 */
export async function unlock(key) {
  api.useKey(key);
  await begin();
}

/** Ask for the models until all are loaded: what is known of them before that is their names. */
async function watchModels() {
  while (state.models.peek().some(({ ready }) => !ready)) {
    await pause(LOADING);
    try {
      state.models.value = await api.fetchModels();
    } catch {
      return; // whoever waits for a model says so
    }
  }
}

/**
 * Return a model when it is loaded.
 *
 * @param {string} name
 * @param {AbortSignal} signal
 */
async function loaded(name, signal) {
  for (;;) {
    const model = state.models.peek().find((each) => each.name === name);
    if (!model) throw new PageError(`The server has no model '${name}'.`, "Reload the page.");
    if (model.ready || signal.aborted) return model;
    await pause(LOADING);
    state.models.value = await api.fetchModels();
  }
}

/** @param {number} milliseconds */
function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Open what was dropped or chosen: an image, its ground truth, or both.
 *
 * @param {File[]} files
 */
export async function openFiles(files) {
  await attempt(async () => {
    const pictures = files.filter(({ name }) => !isLabelFile(name));
    const labels = files.filter(({ name }) => isLabelFile(name));
    if (pictures.length > 1) {
      throw new PageError(`Expected one image, got ${pictures.length}.`, "The page shows one image at a time.");
    }
    if (labels.length > 1) throw new PageError(`Expected one label file, got ${labels.length}.`, "Give one at a time.");
    if (!pictures.length && labels.length && !state.image.peek()) {
      throw new PageError("A label file needs its image.", "Drop the image first, or both together.");
    }
    if (pictures.length) await openImage(pictures[0], pictures[0].name);
    if (labels.length) await openLabels(labels[0]);
  });
}

/**
 * Open one of the bundled scenes, with its ground truth.
 *
 * @param {string} name
 */
export async function openScene(name) {
  await attempt(async () => {
    const scene = state.scenes.peek().find((each) => each.name === name);
    if (!scene) throw new PageError(`The server has no scene '${name}'.`, "Choose one of the list.");
    if (!(await openImage(await api.fetchBlob(scene.url), `${name}.png`)) || !scene.truth_url) return;
    takeTruth(await api.fetchText(scene.truth_url), `${name}.txt`);
  });
}

/**
 * Choose the model of one of the two detectors, and let it look at the image.
 *
 * @param {Slot} slot
 * @param {string} model Its name; "" for none.
 */
export function choose(slot, model) {
  const { chosen, run } = state.detectors[slot];
  cancel(slot);
  chosen.value = model;
  forgetMarks();
  run.value = null;
  void detect(slot);
}

/**
 * Let a detector look at the image.
 *
 * @param {Slot} slot
 */
export async function detect(slot) {
  const { chosen, run } = state.detectors[slot];
  const name = chosen.peek();
  const image = state.image.peek();
  if (!name || !image) return;
  cancel(slot);
  const stopping = new AbortController();
  const base = { model: name, cancel: () => stopping.abort() };
  const isCurrent = () => !stopping.signal.aborted;
  forgetMarks();
  run.value = { ...base, state: "running", found: null };
  state.status.value = `${name} is looking at the image.`;
  try {
    const model = await loaded(name, stopping.signal);
    startThreshold(slot, model);
    const show = atMostEvery(REDRAWN, (/** @type {import("./types.js").Found} */ soFar) => {
      if (isCurrent() && run.peek()?.state === "running") run.value = { ...base, state: "running", found: soFar };
    });
    const found = await api.detect(model, image.blob, image.name, windowsAsked(), stopping.signal, show);
    if (!isCurrent()) return;
    forgetMarks(); // windows are merged now: a box may have another place
    run.value = { ...base, state: "done", found };
    state.status.value = `${name} found ${counted(found.boxes.length, "box", "boxes")}.`;
  } catch (error) {
    if (!isCurrent()) return;
    run.value = { ...base, state: "failed", found: null };
    state.status.value = `${name} stopped.`;
    report(error);
  }
}

/**
 * Choose the threshold that a model begins with. Conventional detectors return much that they hardly believe in;
 * multimodal ones write down what they mean.
 *
 * @param {Slot} slot
 * @param {import("./types.js").Model} model
 */
function startThreshold(slot, model) {
  if (started.get(slot) === model.name) return; // the user may have set another by now
  started.set(slot, model.name);
  state.detectors[slot].threshold.value = model.writes_text ? 0 : 0.3;
}

/**
 * Stop a detector that is looking at the image.
 *
 * @param {Slot} slot
 */
export function cancel(slot) {
  const { run } = state.detectors[slot];
  const current = run.peek();
  if (current?.state !== "running") return;
  current.cancel();
  run.value = { ...current, state: "failed", found: null };
  state.status.value = `${current.model} was stopped.`;
}

/**
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<boolean>} Whether it is still the image to show.
 */
async function openImage(blob, name) {
  const ticket = ++opening;
  state.status.value = `Reading ${name}.`;
  const { picture, tiles, map } = await pictureOf(blob, name);
  if (ticket !== opening) {
    tiles.close();
    return false;
  }
  state.SLOTS.forEach((slot) => {
    cancel(slot);
    state.detectors[slot].run.value = null;
  });
  forgetMarks();
  state.truth.value = null;
  const before = state.image.peek();
  state.image.value = { name, blob, picture, tiles, size: tiles.size, map };
  before?.tiles.close();
  state.status.value = `${name} is open.`;
  state.SLOTS.forEach((slot) => void detect(slot));
  return true;
}

/**
 * Return what the browser shows of an image: the image itself, or what the server makes of one that only it reads.
 *
 * @param {Blob} blob
 * @param {string} name
 * @returns {Promise<{ picture: Blob, tiles: Tiles, map: import("./types.js").MapPlace | null }>}
 */
async function pictureOf(blob, name) {
  if (await isOnlyForServers(blob)) {
    const { picture, size, map } = await api.fetchPicture(blob, name);
    return { picture, tiles: await Tiles.open(picture, size), map };
  }
  try {
    return { picture: blob, tiles: await Tiles.open(blob), map: null };
  } catch (error) {
    const remedy = "Give a whole PNG, JPEG, WebP, TIFF or JPEG 2000 file.";
    throw new PageError(`This browser cannot read ${name} as an image.`, remedy);
  }
}

/**
 * Tell whether a file is a TIFF or a JPEG 2000, which the server reads and browsers do not.
 *
 * @param {Blob} blob
 */
async function isOnlyForServers(blob) {
  const bytes = new Uint8Array(await blob.slice(0, 8).arrayBuffer());
  const first = String.fromCharCode(...bytes);
  return ["II*\0", "II+\0", "MM\0*", "MM\0+", "\0\0\0\fjP", "\xff\x4f\xff\x51"].some((magic) =>
    first.startsWith(magic),
  );
}

/** @param {File} file */
async function openLabels(file) {
  if (file.size > LARGEST_LABELS) {
    throw new PageError(`${file.name} is too large for a label file.`, "Give the labels of this image alone.");
  }
  takeTruth(await file.text(), file.name);
}

/**
 * @param {string} text
 * @param {string} file
 */
function takeTruth(text, file) {
  const image = /** @type {import("./state.js").OpenImage} */ (state.image.peek());
  const { format, objects } = readLabels(text, file, image);
  const doubt = doubtAbout(objects, image.size);
  if (doubt) {
    state.problems.value = [
      ...state.problems.peek(),
      { text: `${file} has ${counted(objects.length, "object")}.`, remedy: doubt },
    ];
  }
  forgetMarks();
  state.truth.value = { file, format, objects };
  state.status.value = `Ground truth: ${counted(objects.length, "object")} from ${file}.`;
}

/** @returns {import("./api.js").Options} */
function windowsAsked() {
  const numberIn = (/** @type {string} */ id) => {
    const { value } = /** @type {HTMLInputElement} */ (byId(id));
    return value === "" ? undefined : Number(value);
  };
  return { window: numberIn("window"), gap: numberIn("gap") };
}

/**
 * Return a function that calls another with the latest value, at most once in a while.
 *
 * @template T
 * @param {number} milliseconds
 * @param {(value: T) => void} call
 * @returns {(value: T) => void}
 */
function atMostEvery(milliseconds, call) {
  /** @type {{ value: T } | null} */
  let latest = null;
  return (value) => {
    if (!latest) {
      setTimeout(() => {
        const { value: last } = /** @type {{ value: T }} */ (latest);
        latest = null;
        call(last);
      }, milliseconds);
    }
    latest = { value };
  };
}

function forgetMarks() {
  state.selected.value = null;
  state.pointed.value = null;
}

/**
 * @param {() => Promise<unknown>} action
 */
async function attempt(action) {
  state.problems.value = [];
  try {
    await action();
  } catch (error) {
    report(error);
  }
}

/** @param {unknown} error */
function report(error) {
  if (error instanceof KeyError) {
    state.wantsKey.value = true;
    state.status.value = error.message;
  }
  const text = error instanceof Error ? error.message : String(error);
  const remedy = error instanceof PageError ? error.remedy : "";
  if (!(error instanceof PageError)) console.error(error);
  state.problems.value = [...state.problems.peek(), { text, remedy }];
}
