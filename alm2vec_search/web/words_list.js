/**
 * A list of words to be filled in, one at a time.
 */
import { h } from "./dom.js";
import { plain, shown } from "./text.js";

export class WordsList {
  /**
   * @param {HTMLElement} root has an input, a button that adds, and a list
   */
  constructor(root) {
    /** @type {string[]} */
    this._items = [];
    this._input = /** @type {HTMLInputElement} */ (root.querySelector("input"));
    this._list = /** @type {HTMLElement} */ (root.querySelector("ul"));
    root.querySelector("button")?.addEventListener("click", () => {
      this._take();
      this._input.focus();
    });
    this._input.addEventListener("keydown", (event) => {
      // Enter adds; in an empty field it searches, as in every other one.
      if (event.key !== "Enter" || event.isComposing || !this._input.value.trim()) return;
      event.preventDefault();
      this._take();
    });
  }

  /** @returns {string[]} with what is still in the field */
  get items() {
    this._take();
    return [...this._items];
  }

  /** @returns {number} without what is still in the field */
  get count() {
    return this._items.length;
  }

  set items(items) {
    this._items = [...items];
    this._input.value = "";
    this._draw();
  }

  _take() {
    const words = this._input.value.trim();
    this._input.value = "";
    if (words && !this._items.includes(words)) this._items.push(words);
    this._draw();
  }

  _draw() {
    this._list.replaceChildren(
      ...this._items.map((words) =>
        h(
          "li",
          {},
          shown(words),
          h(
            "button",
            { type: "button", "aria-label": `Remove ${plain(words)}`, onclick: () => this._drop(words) },
            "×",
          ),
        ),
      ),
    );
  }

  /** @param {string} words */
  _drop(words) {
    this._items = this._items.filter((item) => item !== words);
    this._draw();
    this._input.focus();
  }
}
