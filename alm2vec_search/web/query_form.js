/**
 * The form: what it says is a query, and it can be filled in from one.
 */
import { byId, h } from "./dom.js";
import { MOST_HITS, NOTHING } from "./query.js";
import { shown } from "./text.js";
import { WordsList } from "./words_list.js";

/**
 * @typedef {import("./query.js").Query} Query
 */

/** @type {("where" | "under")[]} */
const TEXTS = ["where", "under"];
/** @type {("per_folder" | "words" | "reembed")[]} */
const NUMBERS = ["per_folder", "words", "reembed"];
/** @type {("split" | "all_chunks" | "keep_copies" | "include_silent")[]} */
const SWITCHES = ["split", "all_chunks", "keep_copies", "include_silent"];

export class QueryForm {
  /**
   * @param {import("./reference_panel.js").ReferencePanel} panel
   * @param {() => void} onSubmit
   */
  constructor(panel, onSubmit) {
    this._panel = panel;
    this._text = byId("text", HTMLInputElement);
    this._instruction = byId("instruction", HTMLInputElement);
    this._aspect = byId("aspect", HTMLSelectElement);
    this._limit = byId("limit", HTMLInputElement);
    this._filters = byId("filters", HTMLDetailsElement);
    this._more = new WordsList(byId("more", HTMLElement));
    this._less = new WordsList(byId("less", HTMLElement));
    const form = byId("query", HTMLFormElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      onSubmit();
    });
    form.addEventListener("change", () => this._countFilters());
    byId("examples", HTMLElement).addEventListener("click", ({ target }) => {
      if (!(target instanceof HTMLButtonElement)) return;
      this._instruction.value = target.textContent ?? "";
      this._aspect.value = "";
      onSubmit();
    });
    // The one or the other: an aspect is an instruction that was indexed.
    this._instruction.addEventListener("input", () => (this._aspect.value = ""));
    this._aspect.addEventListener("change", () => {
      if (this._aspect.value) this._instruction.value = "";
    });
    byId("clear-filters", HTMLButtonElement).addEventListener("click", () => {
      const { text, reference, instruction, aspect } = this.read();
      this.fill({ ...NOTHING, text, reference, instruction, aspect });
    });
  }

  /** @returns {Query} */
  read() {
    /** @type {Query} */
    const query = {
      ...NOTHING,
      text: this._text.value.trim(),
      reference: this._panel.reference,
      instruction: this._instruction.value.trim(),
      aspect: this._aspect.value,
      more: this._more.items,
      less: this._less.items,
      min: /** @type {Query["min"]} */ (checkedMin().value),
      limit: Math.min(Math.max(Math.round(numberIn(this._limit) ?? NOTHING.limit), 1), MOST_HITS),
    };
    for (const name of TEXTS) query[name] = byId(name, HTMLInputElement).value.trim();
    for (const name of NUMBERS) query[name] = numberIn(byId(name, HTMLInputElement));
    for (const name of SWITCHES) query[name] = byId(name, HTMLInputElement).checked;
    this._countFilters();
    return query;
  }

  /** @param {Query} query */
  fill(query) {
    this._text.value = query.text;
    this._panel.reference = query.reference;
    this._instruction.value = query.instruction;
    if (query.aspect && ![...this._aspect.options].some((option) => option.value === query.aspect))
      this._aspect.append(new Option(query.aspect, query.aspect)); // the server says if there is none
    this._aspect.value = query.aspect;
    this._more.items = query.more;
    this._less.items = query.less;
    this._limit.value = String(query.limit);
    for (const radio of minChoices()) radio.checked = radio.value === query.min;
    for (const name of TEXTS) byId(name, HTMLInputElement).value = query[name];
    for (const name of NUMBERS) byId(name, HTMLInputElement).value = String(query[name] ?? "");
    for (const name of SWITCHES) byId(name, HTMLInputElement).checked = query[name];
    this._countFilters();
  }

  /** @param {{name: string, instruction: string}[]} aspects of the index */
  offerAspects(aspects) {
    const chosen = this._aspect.value;
    this._aspect.replaceChildren(
      new Option("none", ""),
      ...aspects.map(({ name, instruction }) => new Option(`${name}: ${instruction}`, name)),
    );
    byId("aspect-choice", HTMLElement).hidden = !aspects.length && !chosen;
    if (chosen && !aspects.some(({ name }) => name === chosen)) this._aspect.append(new Option(chosen, chosen));
    this._aspect.value = chosen;
  }

  /** @param {string[]} libraries */
  offerLibraries(libraries) {
    byId("libraries", HTMLDataListElement).replaceChildren(...libraries.map((path) => new Option(path, path)));
  }

  /**
   * Where the condition can't be understood.
   *
   * @param {import("./api.js").ServerError | null} error null: it can
   */
  tellWhereError(error) {
    const field = byId("where", HTMLInputElement);
    field.toggleAttribute("aria-invalid", error !== null);
    if (error) field.setAttribute("aria-invalid", "true");
    const place = byId("where-error", HTMLElement);
    if (error === null) return place.replaceChildren();
    this._filters.open = true;
    const [first, ...rest] = error.message.split("\n");
    place.replaceChildren(
      h("p", { class: "wrong" }, shown(first)),
      rest.length ? h("pre", { tabindex: "0" }, rest.join("\n")) : "",
      error.hint ? h("p", { class: "hint" }, error.hint) : "",
    );
    field.focus();
  }

  focus() {
    this._text.focus();
    this._text.select();
  }

  /** Says how many are set, also while they are folded away. */
  _countFilters() {
    const set = [...TEXTS, ...NUMBERS].filter((name) => byId(name, HTMLInputElement).value.trim() !== "");
    const switched = SWITCHES.filter((name) => byId(name, HTMLInputElement).checked);
    const others = [
      checkedMin().value !== NOTHING.min,
      numberIn(this._limit) !== NOTHING.limit,
      this._more.count > 0,
      this._less.count > 0,
    ].filter(Boolean);
    const count = set.length + switched.length + others.length;
    byId("filters-count", HTMLElement).textContent = count ? `${count} set` : "";
  }
}

/** @returns {HTMLInputElement[]} */
function minChoices() {
  return [.../** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll('input[name="min"]'))];
}

/** @returns {HTMLInputElement} */
function checkedMin() {
  return minChoices().find((radio) => radio.checked) ?? minChoices()[0];
}

/**
 * @param {HTMLInputElement} field
 * @returns {number | null}
 */
function numberIn(field) {
  const number = field.valueAsNumber;
  return Number.isFinite(number) && number >= 0 ? number : null;
}
