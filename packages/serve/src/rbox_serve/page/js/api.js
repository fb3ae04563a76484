/**
 * What the page asks of the server; packages/serve/README.md describes the addresses. They are relative to the page, so
 * that it also works below a path.
 *
 * @typedef {import("./types.js").Found} Found
 * @typedef {import("./types.js").Model} Model
 *
 * @typedef {object} Scene A bundled image.
 * @property {string} name
 * @property {string} url
 * @property {string} [truth_url] Its ground truth as DOTA's text.
 *
 * @typedef {object} Options Of a detection; what is missing is the detector's own choice.
 * @property {number} [window] Side of the windows in pixels.
 * @property {number} [gap] By how many pixels they overlap.
 */

import { KeyError, PageError } from "./errors.js";
import { cornersOf } from "./geometry.js";
import { eventsOf } from "./sse.js";

const KEY = "rbox-serve-key"; // in the storage of this tab, which forgets it when it is closed

/**
 * Send a key with every request from now on.
 *
 * @param {string} key
 */
export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** @returns {Promise<Model[]>} */
export async function fetchModels() {
  return (await (await ask("v1/models")).json()).models;
}

/** @returns {Promise<Scene[]>} */
export async function fetchScenes() {
  return (await (await ask("v1/scenes")).json()).scenes;
}

/** @param {string} address */
export async function fetchBlob(address) {
  return (await ask(address)).blob();
}

/** @param {string} address */
export async function fetchText(address) {
  return (await ask(address)).text();
}

/**
 * Let the server make a picture of an image that the browser does not decode.
 *
 * @param {Blob} image
 * @param {string} fileName
 * @returns {Promise<{ picture: Blob, size: import("./types.js").Size, map: import("./types.js").MapPlace | null }>} The
 *   picture, the size of the image, which may have more pixels, and where that lies on the map.
 */
export async function fetchPicture(image, fileName) {
  const response = await ask("v1/pictures", { method: "POST", body: formOf(image, fileName) });
  const side = (/** @type {string} */ name) => Number(response.headers.get(`X-Image-${name}`));
  const map = JSON.parse(response.headers.get("X-Image-Map") ?? "null");
  return { picture: await response.blob(), size: { width: side("Width"), height: side("Height") }, map };
}

/**
 * @param {Blob} image
 * @param {string} fileName
 */
function formOf(image, fileName) {
  const form = new FormData();
  form.append("image", image, fileName);
  return form;
}

/**
 * Let a detector look at an image.
 *
 * @param {Model} model
 * @param {Blob} image
 * @param {string} fileName
 * @param {Options} options
 * @param {AbortSignal} signal
 * @param {(found: Found) => void} onprogress Called with what was found so far, where boxes come as they are written.
 * @returns {Promise<Found>}
 */
export async function detect(model, image, fileName, options, signal, onprogress) {
  const query = new URLSearchParams({ format: model.writes_text ? "events" : "json" });
  for (const [name, value] of Object.entries(options)) if (value !== undefined) query.set(name, String(value));
  const address = `v1/models/${encodeURIComponent(model.name)}/detect?${query}`;
  const response = await ask(address, { method: "POST", body: formOf(image, fileName), signal });
  if (!model.writes_text || !response.body) return foundIn(await response.json());
  const stream = new Stream(model);
  for await (const { event, data } of eventsOf(response.body)) {
    const value = JSON.parse(data);
    if (event === "result") return foundIn(value);
    if (event === "error") throw errorOf(value, response.statusText);
    if (stream.take(event, value)) onprogress(stream.found);
  }
  throw new PageError("the server's answer ended before it was complete", "Try again.");
}

/** What a stream of events has said so far. */
class Stream {
  /** @type {Found} */
  found;

  /** @param {Model} model */
  constructor(model) {
    this.found = {
      header: { class_names: model.classes },
      record: {},
      boxes: [],
      answers: [],
      spans: [],
      map: null,
      seconds: null,
    };
  }

  /**
   * @param {string} event
   * @param {any} value
   * @returns {boolean} Whether it changes what was found; `found` is then another object.
   */
  take(event, value) {
    const { boxes, answers, spans } = this.found;
    if (event === "start") {
      const asked = value.windows.map((/** @type {number[]} */ window) => ({ window, text: "", status: "boxes" }));
      this.found = { ...this.found, answers: asked };
    } else if (event === "text") {
      const written = answers.map((answer, i) =>
        i === value.window ? { ...answer, text: answer.text + value.text } : answer,
      );
      this.found = { ...this.found, answers: written };
    } else if (event === "box") {
      const index = boxes.length;
      const corners = value.quad ?? cornersOf(value.box);
      const box = { index, box: value.box, corners, name: value.name, score: null };
      const span = value.span && { window: value.window, start: value.span[0], end: value.span[1], box: index };
      this.found = { ...this.found, boxes: [...boxes, box], spans: span ? [...spans, span] : spans };
    } else return false;
    return true;
  }
}

/**
 * @param {any} answer What `format=json` gives.
 * @returns {Found}
 */
function foundIn({ header, record, spans, map, seconds }) {
  /** @type {import("./types.js").Box[]} */
  const boxes = record.boxes;
  return {
    header,
    record,
    boxes: boxes.map((box, index) => ({
      index,
      box,
      corners: record.quads?.[index] ?? cornersOf(box),
      name: header.class_names[record.labels[index]],
      score: record.scores?.[index] ?? null,
    })),
    answers: record.windows ?? [],
    spans: (spans ?? []).flatMap((/** @type {number[] | null} */ span, /** @type {number} */ box) =>
      span ? [{ window: span[0], start: span[1], end: span[2], box }] : [],
    ),
    map: map ?? null,
    seconds: seconds ?? null,
  };
}

/**
 * @param {string} address
 * @param {RequestInit} [request]
 * @returns {Promise<Response>}
 */
async function ask(address, request) {
  const key = sessionStorage.getItem(KEY);
  let response;
  try {
    response = await fetch(address, { ...request, headers: key ? { "X-API-Key": key } : {} });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new PageError("the server does not answer", "See whether rbox-serve is still running, then try again.");
  }
  if (response.ok) return response;
  if (response.status === 401)
    throw new KeyError(key ? "The server does not take this key." : "The server asks for its key.");
  const said = await response.json().catch(() => null);
  throw errorOf(said, `${response.status} ${response.statusText}`.trim());
}

/**
 * @param {any} said
 * @param {string} otherwise What is said where the server gives no reason.
 */
function errorOf(said, otherwise) {
  const { message, remedy } = said?.error ?? {};
  return new PageError(message ?? `the server refused: ${otherwise}`, remedy ?? "");
}
