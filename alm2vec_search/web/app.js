/**
 * The page as a whole: a question is asked, the address says it, and its answers are shown.
 */
import { ServerError, search, status } from "./api.js";
import { byId, h } from "./dom.js";
import { errorPanel } from "./errors.js";
import { listenForFiles } from "./intake.js";
import { listenToKeys } from "./keyboard.js";
import { Progress } from "./progress.js";
import * as queries from "./query.js";
import { QueryForm } from "./query_form.js";
import { ReferencePanel } from "./reference_panel.js";
import { Results } from "./results.js";
import { count, placed, plain } from "./text.js";
import { listenToTheme } from "./theme_switch.js";
import { listenForTokens, useTokenOfAddress } from "./token_form.js";
import { refresh, uploaded } from "./uploads.js";

/**
 * @typedef {import("./api.js").Hit} Hit
 * @typedef {import("./query.js").Query} Query
 * @typedef {import("./query.js").Reference} Reference
 */

const notices = byId("notices", HTMLElement);
const welcome = byId("welcome", HTMLElement);
const further = byId("further", HTMLButtonElement);
const progress = new Progress(byId("results", HTMLElement));
const panel = new ReferencePanel(byId("reference", HTMLElement), byId("drop", HTMLElement), {
  onRegion: (reference) => ask({ ...form.read(), reference }),
  onRemove: () => {
    panel.reference = null;
    form.focus(); // the button is gone
    if (queries.asksSomething(form.read())) ask(form.read());
  },
});
const form = new QueryForm(panel, () => submit());
const results = new Results(byId("hits", HTMLElement), { searchLike, explain });

/** Sounds of earlier questions, for the back button; an address can't hold an upload.
 * @type {Map<string, Reference>} */
const references = new Map();
/** @type {AbortController | null} of what runs now */
let running = null;
/** @type {{query: Query, hits: Hit[], explained: Promise<Hit[]> | null} | null} */
let answered = null;
/** @type {import("./api.js").Status | null} */
let server = null;

/** The form was sent. */
function submit() {
  const query = form.read();
  if (queries.asksSomething(query)) return ask(query);
  notices.replaceChildren(h("p", { class: "notice" }, "Say what to look for: some words, or a sound."));
  form.focus();
}

/**
 * A new question: the address says it from now on.
 *
 * @param {Query} query
 */
function ask(query) {
  const key = query.reference === null ? null : remembered(query.reference);
  const address = location.pathname + queries.toAddress(query);
  const isSame = address === location.pathname + location.search && key === (history.state?.reference ?? null);
  if (isSame) history.replaceState({ reference: key }, "", address);
  else history.pushState({ reference: key }, "", address);
  form.fill(query);
  void run(query);
}

/** What the address asks, as after the back button. */
function askAddress() {
  const query = queries.fromAddress(location.search);
  const known = references.get(history.state?.reference ?? "");
  if (known) query.reference = known;
  form.fill(query);
  if (queries.asksSomething(query)) void run(query);
  else clear();
  const isLost = history.state?.reference && !query.reference;
  if (isLost) tell("The sound that was asked with is not in the address. Drop it here once more.");
}

/** @param {Query} query */
async function run(query) {
  const controller = begin("Searching…");
  form.tellWhereError(null);
  notices.replaceChildren();
  welcome.hidden = true;
  try {
    const answer = await searched(query, {}, controller.signal);
    if (running !== controller) return;
    show(query, answer);
  } catch (error) {
    if (running === controller) fail(error, () => void run(query), controller);
  } finally {
    if (running === controller) end();
  }
}

/**
 * @param {Query} query
 * @param {Record<string, unknown>} more of the request
 * @param {AbortSignal} signal
 */
async function searched(query, more, signal) {
  const calling = { signal, onBusy: (/** @type {number} */ wait_s) => progress.busy(wait_s) };
  const { reference } = query;
  if (reference && (await refresh(reference, calling))) panel.reference = reference;
  try {
    return await search({ ...queries.toBody(query), ...more }, calling);
  } catch (error) {
    const mayBeForgotten = error instanceof ServerError && [404, 410].includes(error.status);
    if (!mayBeForgotten || !reference || !(await refresh(reference, calling, true))) throw error;
    panel.reference = reference;
    return search({ ...queries.toBody(query), ...more }, calling);
  }
}

/**
 * @param {Query} query
 * @param {import("./api.js").Answer} answer
 */
function show(query, answer) {
  answered = { query, hits: answer.hits, explained: null };
  nameReference(query, answer.hits);
  results.show(answer.hits);
  const asked = queries.described(query, plain);
  document.title = `${asked} – alm2vec`;
  const found = answer.hits.length ? count(answer.hits.length, "answer") : "No answers";
  progress.say(`${found} to ${asked}, in ${answer.took_s.toFixed(2)} s`);
  if (!answer.hits.length)
    tell("Nothing was found. Less strict filters may help.");
  else if (answer.nothing_matches)
    tell("Nothing here matches well.", "These are the nearest all the same; none is likely to be an answer.");
  if (answer.way) notices.append(h("p", { class: "way" }, sentence(answer.way)));
  further.hidden = answer.hits.length < query.limit || query.limit >= queries.MOST_HITS;
}

/**
 * A sound that came by an address is named by an answer, where it is one.
 *
 * @param {Query} query
 * @param {Hit[]} hits
 */
function nameReference(query, hits) {
  const { reference } = query;
  if (reference?.kind !== "sound" || reference.name !== null) return;
  const same = hits.find((hit) => hit.sound === reference.id);
  if (!same) return;
  const name = placed(same.path, same.library).name;
  query.reference = { ...reference, name, duration_s: same.duration_s };
  panel.reference = query.reference;
  history.replaceState({ reference: remembered(query.reference) }, "");
}

/**
 * @param {Hit} hit
 * @param {import("./stretch.js").Stretch} region
 */
function searchLike(hit, region) {
  const isWhole = region.start_s <= 0 && region.end_s >= hit.duration_s;
  const reference = queries.soundReference({
    id: hit.sound,
    name: placed(hit.path, hit.library).name,
    duration_s: hit.duration_s,
    start_s: isWhole ? null : rounded(region.start_s),
    end_s: isWhole ? null : Math.min(rounded(region.end_s), hit.duration_s),
  });
  // What was asked in words was about other sounds; the filters still hold.
  ask({ ...form.read(), text: "", reference });
  window.scrollTo({ top: 0 });
}

/**
 * Why something is an answer: asked when somebody wants to know, as all are heard again for it.
 *
 * @param {Hit} hit
 * @returns {Promise<import("./api.js").Explanation | null>}
 */
async function explain(hit) {
  const now = answered;
  if (now === null) return null;
  now.explained ??= searched(now.query, { explain: true }, new AbortController().signal).then(
    (answer) => answer.hits,
  );
  now.explained.catch(() => (now.explained = null)); // so that it can be tried again
  const same = (await now.explained).find(
    ({ sound, start_s, end_s }) => sound === hit.sound && start_s === hit.start_s && end_s === hit.end_s,
  );
  return same?.explanation ?? null;
}

/** @param {File[]} files */
async function bring(files) {
  const [file] = files;
  const controller = begin(`Sending ${plain(file.name || "the sound")}…`);
  notices.replaceChildren();
  try {
    const most_bytes = server?.limits.upload_bytes ?? Infinity;
    const onBusy = (/** @type {number} */ wait_s) => progress.busy(wait_s);
    const reference = await uploaded(file, most_bytes, { signal: controller.signal, onBusy });
    if (running !== controller) return;
    ask({ ...form.read(), reference });
    if (files.length > 1) tell(`Of ${files.length} files, the first was taken.`);
  } catch (error) {
    if (running === controller) fail(error, () => void bring(files), controller);
  } finally {
    if (running === controller) end();
  }
}

/**
 * @param {string} doing
 * @returns {AbortController} whatever ran before is stopped
 */
function begin(doing) {
  running?.abort();
  running = new AbortController();
  progress.begin(doing);
  return running;
}

function end() {
  running = null;
  progress.end();
}

/** @returns {boolean} whether there was something to stop */
function cancel() {
  running?.abort();
  return running !== null;
}

/**
 * @param {unknown} error
 * @param {() => void} again
 * @param {AbortController} controller
 */
function fail(error, again, controller) {
  if (controller.signal.aborted) return progress.say("Stopped.");
  if (!(error instanceof ServerError)) throw error;
  empty();
  progress.say("");
  if (error.type === "WhereError") return form.tellWhereError(error);
  const isPassing = error.status === 0 || error.status >= 500;
  const button = h("button", { type: "button", onclick: again }, "Try again");
  notices.replaceChildren(errorPanel(error, ...(isPassing ? [button] : [])));
}

/** As at first. */
function clear() {
  running?.abort();
  end();
  empty();
  notices.replaceChildren();
  progress.say("");
  document.title = "alm2vec";
  if (server) greet(server);
}

function empty() {
  results.show([]);
  further.hidden = true;
  answered = null;
}

/** @param {import("./api.js").Status} told */
function greet({ index }) {
  if (index.chunks > 0) welcome.hidden = queries.asksSomething(form.read());
  else tellEmpty();
}

function tellEmpty() {
  notices.replaceChildren(
    h(
      "div",
      { class: "notice" },
      h("p", { class: "what" }, "Nothing is indexed yet."),
      h("p", {}, "Index a folder with sounds, then load this page again:"),
      h("pre", { tabindex: "0" }, "alm2vec index ~/recordings"),
    ),
  );
}

/** @param {import("./api.js").Status} told */
function describeServer({ version, model, index }) {
  const places = index.libraries.map((path) => placed(`${path}/x`, path).folder).join(", ");
  byId("collection", HTMLElement).textContent = places
    ? `${count(index.chunks, "stretch").replace("stretchs", "stretches")} of sound in ${plain(places)}`
    : "";
  byId("about", HTMLElement).textContent = `alm2vec ${version}, model ${plain(model.name)} on ${model.device}`;
  form.offerAspects(index.aspects);
  form.offerLibraries(index.libraries);
}

/**
 * @param {string} what
 * @param {string} [more]
 */
function tell(what, more) {
  notices.append(
    h("div", { class: "notice" }, h("p", { class: "what" }, what), more ? h("p", {}, more) : null),
  );
}

/**
 * @param {Reference} reference
 * @returns {string} a key for the history
 */
function remembered(reference) {
  for (const [key, known] of references) if (known === reference) return key;
  const key = crypto.getRandomValues(new Uint32Array(2)).join("-"); // of this visit: others can't have it
  references.set(key, reference);
  return key;
}

/**
 * @param {number} time_s
 * @returns {number} to the millisecond
 */
function rounded(time_s) {
  return Math.round(time_s * 1000) / 1000;
}

/**
 * @param {string} text
 * @returns {string}
 */
function sentence(text) {
  const end = /[.?!]$/.test(text) ? "" : ".";
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${end}`;
}

function showKeys() {
  byId("keys", HTMLDialogElement).showModal();
}

async function start() {
  listenToTheme(byId("theme", HTMLSelectElement));
  listenForTokens();
  listenForFiles((files) => void bring(files));
  listenToKeys({ results, focusSearch: () => form.focus(), showKeys, cancel });
  byId("show-keys", HTMLButtonElement).addEventListener("click", showKeys);
  byId("cancel", HTMLButtonElement).addEventListener("click", cancel);
  further.addEventListener("click", () => {
    if (!answered) return;
    ask({ ...answered.query, limit: Math.min(answered.query.limit * 2, queries.MOST_HITS) });
  });
  welcome.addEventListener("click", ({ target }) => {
    if (target instanceof HTMLButtonElement) ask({ ...form.read(), text: target.textContent ?? "" });
  });
  window.addEventListener("popstate", askAddress);

  await useTokenOfAddress();
  askAddress();
  try {
    server = await status({ onBusy: (wait_s) => progress.busy(wait_s) });
    describeServer(server);
    if (!queries.asksSomething(form.read())) greet(server);
  } catch (error) {
    if (!(error instanceof ServerError)) throw error;
    if (notices.childElementCount) return; // a search says the same
    if (error.type === "CollectionNotFound") tellEmpty();
    else notices.replaceChildren(errorPanel(error));
  }
}

void start();
