/** What went wrong, until it is dismissed; what happens, for those who hear the page; the question for the key. */

import { unlock } from "../actions.js";
import { byId, fillWith, h } from "../dom.js";
import { effect } from "../signals.js";
import * as state from "../state.js";

export function setMessages() {
  effect(() => {
    fillWith(
      byId("problems"),
      ...state.problems.value.map((problem) => {
        const dismiss = () => (state.problems.value = state.problems.peek().filter((other) => other !== problem));
        return h(
          "div",
          { class: "problem" },
          h("p", {}, h("strong", {}, problem.text), problem.remedy && ` ${problem.remedy}`),
          h("button", { type: "button", class: "quiet", "aria-label": "Dismiss", onclick: dismiss }, "✕"),
        );
      }),
    );
  });
  const form = /** @type {HTMLFormElement} */ (byId("key-form"));
  const key = /** @type {HTMLInputElement} */ (byId("key"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void unlock(key.value);
  });
  effect(() => {
    form.hidden = !state.wantsKey.value;
    if (state.wantsKey.value) key.focus();
    else key.value = "";
  });
  effect(() => (byId("status").textContent = state.status.value));
}
