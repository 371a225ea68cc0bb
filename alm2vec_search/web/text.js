/**
 * Names, numbers and times as people read them. Names of files come from anywhere: characters that
 * can't be seen, or that turn the text around, are made visible.
 */
import { h } from "./dom.js";

// Controls, what directs bidirectional text, line separators, the invisible, and halves of
// surrogate pairs (bytes of a file name that are no text). Not U+200C and U+200D: scripts need them.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/**
 * A text in a direction of its own, with what can't be seen shown.
 *
 * @param {string} text
 * @returns {HTMLElement} a bdi
 */
export function shown(text) {
  const whole = h("bdi");
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    whole.append(text.slice(end, match.index));
    whole.append(h("span", { class: "unseen" }, picture(match[0])));
    end = match.index + match[0].length;
  }
  whole.append(text.slice(end));
  return whole;
}

/**
 * The same as a string, for labels and titles.
 *
 * @param {string} text
 * @returns {string}
 */
export function plain(text) {
  return text.replace(UNSEEN, picture);
}

/**
 * @param {string} character one that can't be seen
 * @returns {string}
 */
function picture(character) {
  const code = character.charCodeAt(0);
  const known = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
  if (known !== undefined) return known;
  const isByte = code >= 0xdc80 && code <= 0xdcff; // that is no text: 0xdc00 + byte
  if (code < 0x100 || isByte) return `\\x${(code & 0xff).toString(16).padStart(2, "0")}`;
  return `\\u${code.toString(16).padStart(4, "0")}`;
}

/**
 * A point in a file: 1:02:03.2, or 0:59.9.
 *
 * @param {number} seconds
 * @returns {string}
 */
export function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const minutes = Math.floor(tenths / 600);
  const hours = Math.floor(minutes / 60);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/**
 * @param {number} bytes
 * @returns {string}
 */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * @param {number} n
 * @param {string} one its name for one of it
 * @returns {string} 1 sound, 1,234 sounds
 */
export function count(n, one) {
  return `${n.toLocaleString("en")} ${one}${n === 1 ? "" : "s"}`;
}

/**
 * A path in its parts.
 *
 * @param {string} path
 * @param {string} library the folder it lies below
 * @returns {{name: string, folder: string}} folder: below the library, from the library's own name on
 */
export function placed(path, library) {
  const slash = path.includes("/") ? "/" : "\\";
  const root = library.endsWith(slash) ? library.slice(0, -1) : library;
  const below = path.startsWith(root + slash) ? path.slice(root.length + 1) : path;
  const parts = below.split(slash);
  const name = parts.pop() ?? below;
  const top = root.split(slash).pop() ?? "";
  return { name, folder: [below === path ? "" : top, ...parts].filter(Boolean).join(" / ") };
}
