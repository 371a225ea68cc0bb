/**
 * That something is going on, for how long, and how to stop it.
 */
import { byId } from "./dom.js";

const COUNTED_AFTER_S = 2;

export class Progress {
  /**
   * @param {HTMLElement} region that is busy meanwhile
   */
  constructor(region) {
    this._region = region;
    this._status = byId("status", HTMLElement);
    this._elapsed = byId("elapsed", HTMLElement);
    this._bar = byId("progress", HTMLElement);
    this._cancel = byId("cancel", HTMLButtonElement);
    this._doing = "";
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this._timer = undefined;
  }

  /** @param {string} doing */
  begin(doing) {
    this.end();
    this._doing = doing;
    this.say(doing);
    this._bar.hidden = false;
    this._cancel.hidden = false;
    this._region.setAttribute("aria-busy", "true");
    const began = performance.now();
    this._timer = setInterval(() => {
      const elapsed_s = Math.floor((performance.now() - began) / 1000);
      this._elapsed.textContent = elapsed_s < COUNTED_AFTER_S ? "" : `${elapsed_s} s`;
    }, 500);
  }

  end() {
    clearInterval(this._timer);
    this._elapsed.textContent = "";
    this._bar.hidden = true;
    if (document.activeElement === this._cancel) byId("results-title", HTMLElement).focus();
    this._cancel.hidden = true;
    this._region.removeAttribute("aria-busy");
  }

  /** @param {number} wait_s until the server is asked again */
  busy(wait_s) {
    const said = `The server is busy; asking again in ${Math.ceil(wait_s)} s.`;
    this.say(said);
    setTimeout(() => {
      if (this._status.textContent === said) this.say(this._bar.hidden ? "" : this._doing);
    }, wait_s * 1000);
  }

  /** @param {string} text */
  say(text) {
    this._status.textContent = text;
  }
}
