/**
 * A text onto the clipboard.
 */
import { h } from "./dom.js";

const SAID_FOR_MS = 2000;

/**
 * @param {string} text
 * @param {string} label
 * @returns {HTMLButtonElement}
 */
export function copyButton(text, label) {
  const said = h("span", { role: "status", class: "unheard" });
  const words = h("span", {}, label);
  const button = h("button", { type: "button", class: "quiet" }, words, said);
  button.addEventListener("click", async () => {
    const done = (await copied(text)) ? "Copied" : "Not copied: select it and press Ctrl+C";
    words.textContent = done;
    said.textContent = done;
    setTimeout(() => {
      words.textContent = label;
      said.textContent = "";
    }, SAID_FOR_MS);
  });
  return button;
}

/**
 * @param {string} text
 * @returns {Promise<boolean>}
 */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedOldWay(text); // browsers give the clipboard to https and localhost alone
  }
}

/**
 * @param {string} text
 * @returns {boolean}
 */
function copiedOldWay(text) {
  const field = h("textarea", { class: "unheard", "aria-hidden": "true", readonly: true });
  const focused = document.activeElement;
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}
