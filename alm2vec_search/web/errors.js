/**
 * An error as it is shown: what happened, where, and what to do about it.
 */
import { h } from "./dom.js";
import { shown } from "./text.js";

/**
 * @param {import("./api.js").ServerError} error
 * @param {...HTMLElement} actions buttons
 * @returns {HTMLElement}
 */
export function errorPanel(error, ...actions) {
  // Of several lines, the others point with a caret at a column: each character counts.
  const [first, ...rest] = error.message.split("\n");
  return h(
    "div",
    { class: "notice error", role: "alert" },
    h("p", { class: "what" }, shown(first)),
    rest.length ? h("pre", { tabindex: "0" }, rest.join("\n")) : null,
    error.hint ? h("p", { class: "hint" }, shown(error.hint)) : null,
    actions.length ? h("p", {}, ...actions) : null,
  );
}
