/**
 * The sound of the question: what it is called, which region of it, how it looks, and how to be rid
 * of it.
 */
import { peaks } from "./api.js";
import { h } from "./dom.js";
import { SoundView } from "./sound_view.js";
import { clock, plain, shown } from "./text.js";

/**
 * @typedef {import("./query.js").Reference} Reference
 */

export class ReferencePanel {
  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} invitation shown where there is no sound
   * @param {{onRegion: (reference: Reference) => void, onRemove: () => void}} listeners
   */
  constructor(root, invitation, listeners) {
    this._root = root;
    this._invitation = invitation;
    this._listeners = listeners;
    /** @type {Reference | null} */
    this._reference = null;
    /** @type {SoundView | null} */
    this._view = null;
    this._drawn = "";
  }

  /** @returns {Reference | null} */
  get reference() {
    return this._reference;
  }

  set reference(reference) {
    this._reference = reference;
    const { file: _file, expires_at: _expiry, ...told } = reference ?? { file: null, expires_at: 0 };
    if (this._drawn === JSON.stringify(told)) return; // it sounds on
    this._drawn = JSON.stringify(told);
    this._draw();
  }

  _draw() {
    const reference = this._reference;
    this._view?.destroy();
    this._view = null;
    this._root.hidden = reference === null;
    this._invitation.hidden = reference !== null;
    if (reference === null) return this._root.replaceChildren();
    const { name, start_s, end_s } = reference;
    const region = start_s === null || end_s === null ? "" : `${clock(start_s)} – ${clock(end_s)}`;
    const remove = h(
      "button",
      { type: "button", class: "quiet", onclick: () => this._listeners.onRemove() },
      "Remove",
    );
    const takeAll = () => this._listeners.onRegion({ ...reference, start_s: null, end_s: null });
    const whole = h("button", { type: "button", class: "quiet", onclick: takeAll }, "All of it");
    this._root.replaceChildren(
      h(
        "div",
        { class: "reference-head" },
        h("span", { class: "like" }, "Sounds like"),
        h("strong", {}, name === null ? "a sound of the index" : shown(name)),
        region && h("span", { class: "fact" }, region),
        h("span", { class: "spring" }),
        region && whole,
        remove,
      ),
    );
    void this._look(reference);
  }

  /** @param {Reference} reference */
  async _look(reference) {
    // Of a sound that came by an address, only the server knows how long it is.
    const duration_s = reference.duration_s ?? (await durationOf(reference));
    if (this._reference !== reference || duration_s === null) return;
    const { start_s, end_s } = reference;
    const span = { start_s: start_s ?? 0, end_s: Math.min(end_s ?? duration_s, duration_s) };
    const name = reference.name === null ? "the sound searched with" : plain(reference.name);
    const { kind, id } = reference;
    this._view = new SoundView({ kind, id, name, duration_s, span }, (region) =>
      this._listeners.onRegion({ ...reference, duration_s, ...region }),
    );
    this._root.append(this._view.element);
    void this._view.load();
  }
}

/**
 * @param {Reference} reference
 * @returns {Promise<number | null>} seconds; null where the server won't say
 */
async function durationOf(reference) {
  try {
    return (await peaks(reference, null)).end_s;
  } catch {
    return null; // the search itself says what is the matter
  }
}
