/**
 * All that is asked at once, as the form has it, as the address has it, and as the server wants it.
 */
import { clock } from "./text.js";

/**
 * A sound that is asked with: one of the index, or one that was brought along.
 *
 * @typedef {object} Reference
 * @property {"sound" | "upload"} kind
 * @property {string} id
 * @property {string | null} name null: not known, as after an address was followed
 * @property {number | null} duration_s
 * @property {number | null} start_s null: all of it
 * @property {number | null} end_s
 * @property {File | Blob | null} file what was uploaded, to do it again
 * @property {number} expires_at ms; Infinity for sounds of the index
 *
 * @typedef {object} Query
 * @property {string} text
 * @property {Reference | null} reference
 * @property {string} instruction
 * @property {string} aspect
 * @property {string[]} more
 * @property {string[]} less
 * @property {string} where
 * @property {string} under
 * @property {"weak" | "likely" | "strong"} min
 * @property {number} limit
 * @property {number | null} per_folder
 * @property {number | null} words null: as the server has it
 * @property {number | null} reembed null: as the server has it
 * @property {boolean} split
 * @property {boolean} all_chunks
 * @property {boolean} keep_copies
 * @property {boolean} include_silent
 */

/** @type {Readonly<Query>} */
export const NOTHING = Object.freeze({
  text: "",
  reference: null,
  instruction: "",
  aspect: "",
  more: [],
  less: [],
  where: "",
  under: "",
  min: "weak",
  limit: 10,
  per_folder: null,
  words: null,
  reembed: null,
  split: false,
  all_chunks: false,
  keep_copies: false,
  include_silent: false,
});

export const MOST_HITS = 200;

/** @type {("instruction" | "aspect" | "where" | "under")[]} */
const TEXTS = ["instruction", "aspect", "where", "under"];
/** @type {("per_folder" | "words" | "reembed")[]} */
const NUMBERS = ["per_folder", "words", "reembed"];
/** @type {("split" | "all_chunks" | "keep_copies" | "include_silent")[]} */
const SWITCHES = ["split", "all_chunks", "keep_copies", "include_silent"];
/** @type {("more" | "less")[]} */
const LISTS = ["more", "less"];

/**
 * Whether there is a question in it, and not only conditions.
 *
 * @param {Query} query
 * @returns {boolean}
 */
export function asksSomething(query) {
  return query.text !== "" || query.reference !== null || query.more.length > 0;
}

/**
 * @param {Query} query
 * @returns {string} of an address, "" or from its "?" on; an upload stays out
 */
export function toAddress(query) {
  const address = new URLSearchParams();
  if (query.text) address.set("q", query.text);
  const { reference } = query;
  if (reference?.kind === "sound") {
    address.set("like", reference.id);
    if (reference.start_s !== null && reference.end_s !== null) {
      address.set("from", String(reference.start_s));
      address.set("to", String(reference.end_s));
    }
  }
  for (const name of TEXTS) if (query[name]) address.set(name, query[name]);
  for (const name of LISTS) for (const words of query[name]) address.append(name, words);
  if (query.min !== NOTHING.min) address.set("min", query.min);
  if (query.limit !== NOTHING.limit) address.set("limit", String(query.limit));
  for (const name of NUMBERS) if (query[name] !== null) address.set(name, String(query[name]));
  for (const name of SWITCHES) if (query[name]) address.set(name, "1");
  const text = address.toString();
  return text && `?${text}`;
}

/**
 * @param {string} text of an address, from its "?" on
 * @returns {Query} what can't be understood is left out
 */
export function fromAddress(text) {
  const address = new URLSearchParams(text);
  /** @type {Query} */
  const query = { ...NOTHING, text: address.get("q") ?? "" };
  const like = address.get("like");
  if (like) {
    const [start_s, end_s] = [numberOf(address.get("from")), numberOf(address.get("to"))];
    query.reference = soundReference({ id: like, start_s, end_s });
  }
  for (const name of TEXTS) query[name] = address.get(name) ?? "";
  for (const name of LISTS) query[name] = address.getAll(name).filter(Boolean);
  const min = address.get("min");
  if (min === "likely" || min === "strong") query.min = min;
  query.limit = clamped(numberOf(address.get("limit")) ?? NOTHING.limit);
  for (const name of NUMBERS) query[name] = numberOf(address.get(name));
  for (const name of SWITCHES) query[name] = address.get(name) === "1";
  return query;
}

/**
 * @param {Query} query
 * @returns {Record<string, unknown>} what POST /v1/search takes
 */
export function toBody(query) {
  /** @type {Record<string, unknown>} */
  const body = { limit: query.limit };
  if (query.text) body.text = query.text;
  const { reference } = query;
  if (reference) {
    const region =
      reference.start_s === null || reference.end_s === null
        ? {}
        : { start_s: reference.start_s, end_s: reference.end_s };
    body.like = { [reference.kind]: reference.id, ...region };
  }
  for (const name of TEXTS) if (query[name]) body[name] = query[name];
  for (const name of LISTS) if (query[name].length) body[name] = query[name];
  if (query.min !== NOTHING.min) body.min = query.min;
  for (const name of NUMBERS) if (query[name] !== null) body[name] = query[name];
  for (const name of SWITCHES) if (query[name]) body[name] = true;
  return body;
}

/**
 * A sound of the index, or a region of it.
 *
 * @param {{id: string, name?: string | null, duration_s?: number | null,
 *   start_s?: number | null, end_s?: number | null}} what
 * @returns {Reference}
 */
export function soundReference({ id, name = null, duration_s = null, start_s = null, end_s = null }) {
  const region = start_s !== null && end_s !== null && start_s < end_s;
  return {
    kind: "sound",
    id,
    name,
    duration_s,
    start_s: region ? start_s : null,
    end_s: region ? end_s : null,
    file: null,
    expires_at: Infinity,
  };
}

/**
 * A question in words.
 *
 * @param {Query} query
 * @param {(name: string) => string} named how a name of a file is written
 * @returns {string}
 */
export function described(query, named) {
  const parts = [];
  if (query.text) parts.push(`“${named(query.text)}”`);
  if (query.reference) {
    const { name, start_s, end_s } = query.reference;
    const region = start_s === null || end_s === null ? "" : `, ${clock(start_s)} to ${clock(end_s)}`;
    parts.push(name === null ? `a sound of the index${region}` : `${named(name)}${region}`);
  }
  if (!parts.length) parts.push(...query.more.map((words) => `“${named(words)}”`));
  return parts.join(" and ");
}

/**
 * @param {string | null} text
 * @returns {number | null} not below 0
 */
function numberOf(text) {
  const number = Number.parseFloat(text ?? "");
  return Number.isFinite(number) && number >= 0 ? number : null;
}

/**
 * @param {number} limit
 * @returns {number}
 */
function clamped(limit) {
  return Math.min(Math.max(Math.round(limit), 1), MOST_HITS);
}
