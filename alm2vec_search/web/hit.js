/**
 * One answer: where it is, how sure, why, and the sound itself.
 */
import { ServerError } from "./api.js";
import { copyButton } from "./copying.js";
import { errorPanel } from "./errors.js";
import { h } from "./dom.js";
import { SoundView } from "./sound_view.js";
import { clock, count, placed, plain, shown } from "./text.js";

/**
 * @typedef {import("./api.js").Hit} Hit
 * @typedef {import("./api.js").Explanation} Explanation
 *
 * @typedef {object} HitActions
 * @property {(hit: Hit, region: import("./stretch.js").Stretch) => void} searchLike
 * @property {(hit: Hit) => Promise<Explanation | null>} explain
 */

/** Marks that don't need colours. */
const STRENGTHS = { strong: 3, likely: 2, weak: 1 };

export class HitCard {
  /**
   * @param {Hit} hit
   * @param {HitActions} actions
   */
  constructor(hit, actions) {
    this.hit = hit;
    this._actions = actions;
    const { name, folder } = placed(hit.path, hit.library);
    const span = { start_s: hit.start_s, end_s: hit.end_s };
    this.view = new SoundView(
      { kind: "sound", id: hit.sound, name: plain(name), duration_s: hit.duration_s, span },
      (region) => actions.searchLike(hit, region),
      [h("button", { type: "button", class: "more-like", onclick: () => this.moreLike() }, "More like this")],
    );
    const title = `hit-${hit.rank}`;
    this.element = h(
      "li",
      { class: "hit", tabindex: "-1", "aria-labelledby": title },
      h(
        "div",
        { class: "head" },
        h("span", { class: "rank", "aria-hidden": "true" }, String(hit.rank)),
        h(
          "div",
          { class: "names" },
          h("h3", { id: title }, shown(name)),
          h("p", { class: "folder" }, folder ? shown(folder) : null),
        ),
        h("div", { class: "judged" }, verdictOf(hit), h("span", { class: "score" }, hit.score.toFixed(3))),
      ),
      this.view.element,
      h("div", { class: "foot" }, h("div", { class: "facts" }, ...facts(hit)), ...this._folds()),
    );
  }

  moreLike() {
    const { start_s, end_s } = this.hit;
    this._actions.searchLike(this.hit, { start_s, end_s });
  }

  destroy() {
    this.view.destroy();
  }

  /** @returns {HTMLElement[]} what opens */
  _folds() {
    const { hit } = this;
    const place = h(
      "details",
      {},
      h("summary", {}, "Where it is"),
      h("p", { class: "path" }, h("code", {}, shown(hit.path)), copyButton(hit.path, "Copy the path")),
    );
    const why = h("details", { class: "why" }, h("summary", {}, "Why"), h("div", {}));
    why.addEventListener("toggle", () => {
      if (why.open) void this._explain(/** @type {HTMLElement} */ (why.lastElementChild));
    });
    const folds = [place, why];
    if (hit.copies?.length)
      folds.push(
        h(
          "details",
          {},
          h("summary", {}, hit.copies.length === 1 ? "1 copy" : `${hit.copies.length} copies`),
          h("ul", { class: "copies" }, ...hit.copies.map((path) => h("li", {}, h("code", {}, shown(path))))),
        ),
      );
    return folds;
  }

  /** @param {HTMLElement} into */
  async _explain(into) {
    if (into.childElementCount) return;
    into.replaceChildren(h("p", { class: "quiet-text" }, "Listening to the answers once more…"));
    try {
      const explanation = this.hit.explanation ?? (await this._actions.explain(this.hit));
      into.replaceChildren(...reasons(this.hit, explanation));
    } catch (error) {
      const isKnown = error instanceof ServerError;
      into.replaceChildren(errorPanel(isKnown ? error : new ServerError("It was stopped.")));
    }
  }
}

/**
 * @param {Hit} hit
 * @returns {HTMLElement | null}
 */
function verdictOf({ verdict, probability }) {
  if (!verdict) return null;
  const bars = [1, 2, 3].map((n) => h("i", { class: n <= STRENGTHS[verdict] ? "on" : "" }));
  const chance = probability === undefined ? "" : `right in ${percent(probability)} of such cases`;
  return h(
    "span",
    { class: `verdict ${verdict}`, title: chance || null },
    h("span", { class: "bars", "aria-hidden": "true" }, ...bars),
    verdict,
  );
}

/**
 * @param {Hit} hit
 * @returns {HTMLElement[]}
 */
function facts(hit) {
  const told = [
    isWhole(hit) ? "all of it" : `${clock(hit.start_s)} – ${clock(hit.end_s)}`,
    hit.channels && (["", "mono", "stereo"][hit.channels] ?? `${hit.channels} channels`),
    hit.sampling_rate && `${hit.sampling_rate / 1000} kHz`,
    hit.reembedded && "heard again under the instruction",
    hit.silent && "silent",
  ];
  return [
    ...told.filter(Boolean).map((fact) => h("span", { class: "fact" }, String(fact))),
    ...(hit.clauses ?? []).map((clause) =>
      h("span", { class: "clause" }, shown(clause.clause), ` ${clause.score.toFixed(2)}`),
    ),
    ...(hit.tags ?? []).map((tag) => h("span", { class: "tag" }, shown(tag))),
  ];
}

/**
 * @param {Hit} hit
 * @returns {boolean} whether nothing else is in its file
 */
function isWhole(hit) {
  return hit.start_s <= 0 && hit.end_s >= hit.duration_s;
}

/**
 * @param {Hit} hit
 * @param {Explanation | null} explanation
 * @returns {HTMLElement[]}
 */
function reasons(hit, explanation) {
  if (explanation === null) return [h("p", {}, "The server gave no reasons.")];
  const rows = [];
  const [start_s, end_s] = explanation.window;
  if (start_s !== hit.start_s || end_s !== hit.end_s)
    rows.push(["nearest window", `${clock(start_s)} to ${clock(end_s)}`]);
  const compared = explanation.compared === "plain" ? "the sound as it was indexed" : explanation.compared;
  rows.push(["compared", compared]);
  if (hit.probability !== undefined) rows.push(["an answer", `in ${percent(hit.probability)} of such cases`]);
  if (hit.words_score !== undefined) rows.push(["words of its name", hit.words_score.toFixed(2)]);
  const heard = Object.entries(explanation.heard ?? {});
  return [
    h("dl", {}, ...rows.map(([term, told]) => h("div", {}, h("dt", {}, term), h("dd", {}, shown(told))))),
    ...(heard.length ? [h("p", { class: "quiet-text" }, `Heard in it (${count(heard.length, "name")}):`)] : []),
    h("ul", { class: "heard" }, ...heard.map(([name, presence]) => heardRow(name, presence))),
  ];
}

/**
 * @param {string} name
 * @param {number} presence 0 to 1
 * @returns {HTMLElement}
 */
function heardRow(name, presence) {
  const bar = h("span", { class: "bar", "aria-hidden": "true" });
  bar.style.width = `${Math.min(Math.max(presence, 0), 1) * 100}%`;
  return h(
    "li",
    {},
    h("span", { class: "heard-name" }, shown(name)),
    h("span", { class: "track", "aria-hidden": "true" }, bar),
    h("span", { class: "presence" }, presence.toFixed(2)),
  );
}

/**
 * @param {number} share
 * @returns {string}
 */
function percent(share) {
  return `${Math.round(share * 100)}%`;
}
