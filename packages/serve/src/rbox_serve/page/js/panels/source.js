/** The image: chosen from the disk, dropped anywhere on the page, or one of the bundled scenes. */

import { openFiles, openScene } from "../actions.js";
import { fetchBlob } from "../api.js";
import { byId, fillWith, h } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";
import { counted } from "../words.js";

export function setSource() {
  const input = /** @type {HTMLInputElement} */ (byId("files"));
  for (const button of document.querySelectorAll("[data-chooses-files]")) {
    button.addEventListener("click", () => input.click());
  }
  input.addEventListener("change", () => {
    void openFiles([...(input.files ?? [])]);
    input.value = ""; // the same file can be chosen again
  });
  acceptDrops();

  effect(() => {
    const image = state.image.value;
    document.body.classList.toggle("has-image", image !== null);
    const size = image?.size;
    fillWith(
      byId("image-name"),
      image ? h("strong", {}, image.name) : "No image yet.",
      size && h("span", { class: "faint numbers" }, ` ${size.width} × ${size.height} px`),
    );
    const truth = state.truth.value;
    fillWith(
      byId("truth-name"),
      truth && `Ground truth: ${counted(truth.objects.length, "object")} from ${truth.file} (${truth.format})`,
    );
    byId("truth-name").hidden = !truth;
  });

  effect(() => {
    const scenes = state.scenes.value;
    byId("scenes").hidden = scenes.length === 0;
    fillWith(byId("scene-list"), ...scenes.map((scene) => h("li", {}, buttonOf(scene))));
  });
}

/** @param {import("../api.js").Scene} scene */
function buttonOf({ name, url }) {
  const picture = h("img", { alt: "" });
  // By way of a blob, since an address alone cannot bring the server's key.
  void fetchBlob(url).then((blob) => (picture.src = URL.createObjectURL(blob)));
  const attributes = { type: "button", class: "scene", title: name, onclick: () => openScene(name) };
  return h("button", attributes, picture, h("span", {}, name));
}

function acceptDrops() {
  let depth = 0; // of elements that the pointer has entered
  const show = (/** @type {number} */ next) => {
    depth = Math.max(0, next);
    document.body.classList.toggle("dropping", depth > 0);
  };
  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => hasFiles(event) && show(depth + 1));
  addEventListener("dragleave", (event) => hasFiles(event) && show(depth - 1));
  addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    show(0);
    void openFiles([...(event.dataTransfer?.files ?? [])]);
  });
}
