/**
 * A region of a sound in numbers, for hands without a mouse, and what can be done with it.
 */
import { h } from "./dom.js";

/**
 * @typedef {import("./stretch.js").Stretch} Stretch
 */

export class RegionEditor {
  /**
   * @param {{name: string, duration_s: number, span: Stretch}} sound
   * @param {HTMLButtonElement} opener opens and closes it
   * @param {{onChange: (region: Stretch | null) => void, onPlay: (region: Stretch) => void,
   *   onSearch: (region: Stretch) => void}} listeners
   */
  constructor(sound, opener, listeners) {
    this._sound = sound;
    this._opener = opener;
    /** @type {Stretch | null} */
    this.region = null;

    const number = (/** @type {string} */ which) =>
      h("input", {
        type: "number",
        "aria-label": `${which}, in seconds`,
        min: 0,
        max: Math.ceil(sound.duration_s * 100) / 100,
        step: "any",
        inputmode: "decimal",
        oninput: () => this._typed(listeners.onChange),
      });
    this._from = number("from");
    this._to = number("to");
    const act = (/** @type {(region: Stretch) => void} */ action) => () => {
      if (this.region && this._isValid()) action(this.region);
      else this._to.reportValidity();
    };
    this.element = h(
      "div",
      { class: "region", role: "group", "aria-label": `Region of ${sound.name}`, hidden: true },
      h("label", {}, "from ", this._from, " s"),
      h("label", {}, "to ", this._to, " s"),
      h("button", { type: "button", onclick: act(listeners.onPlay) }, "Play region"),
      h(
        "button",
        { type: "button", class: "primary", onclick: act(listeners.onSearch) },
        "Search with this region",
      ),
      h("button", { type: "button", class: "quiet", onclick: () => this._close(listeners.onChange) }, "Clear"),
    );
    opener.addEventListener("click", () => {
      if (this.region) return this._close(listeners.onChange);
      this.show({ ...sound.span });
      listeners.onChange(this.region);
      this._from.focus();
    });
  }

  /** @param {Stretch} region */
  show(region) {
    this.region = region;
    this._from.value = region.start_s.toFixed(2);
    this._to.value = region.end_s.toFixed(2);
    this._isValid();
    this.element.hidden = false;
    this._opener.setAttribute("aria-expanded", "true");
  }

  /** @param {(region: null) => void} onChange */
  _close(onChange) {
    const hadFocus = this.element.contains(document.activeElement);
    this.region = null;
    this.element.hidden = true;
    this._opener.setAttribute("aria-expanded", "false");
    if (hadFocus) this._opener.focus();
    onChange(null);
  }

  /** @param {(region: Stretch) => void} onChange */
  _typed(onChange) {
    if (!this._isValid()) return;
    this.region = { start_s: this._from.valueAsNumber, end_s: this._to.valueAsNumber };
    onChange(this.region);
  }

  _isValid() {
    const [start_s, end_s] = [this._from.valueAsNumber, this._to.valueAsNumber];
    const isRegion = start_s >= 0 && start_s < end_s && end_s <= this._sound.duration_s + 0.01;
    this._to.setCustomValidity(isRegion ? "" : "The region must begin before it ends, within the sound.");
    return isRegion;
  }
}
