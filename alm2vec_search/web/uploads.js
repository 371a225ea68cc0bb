/**
 * Sounds on their way to the server, which forgets them after a while: then they are sent again.
 */
import { ServerError, upload } from "./api.js";
import { plain, size } from "./text.js";

/**
 * @typedef {import("./query.js").Reference} Reference
 */

const SPARE_S = 20; // a search may take as long

/**
 * @param {File} file
 * @param {number} most_bytes that the server takes
 * @param {import("./api.js").Calling} calling
 * @returns {Promise<Reference>}
 */
export async function uploaded(file, most_bytes, calling) {
  if (file.size > most_bytes)
    throw new ServerError(`${plain(file.name)} has ${size(file.size)}; the server takes ${size(most_bytes)}.`, {
      hint: "Cut out what you mean.",
    });
  const told = await upload(file, calling);
  return {
    kind: "upload",
    id: told.upload,
    name: file.name || "the pasted sound",
    duration_s: told.duration_s,
    start_s: null,
    end_s: null,
    file,
    expires_at: expiry(told.expires_s),
  };
}

/**
 * Sends it again where the server has forgotten it, or will soon.
 *
 * @param {Reference} reference changed in place
 * @param {import("./api.js").Calling} calling
 * @param {boolean} [force]
 * @returns {Promise<boolean>} whether it was sent again
 */
export async function refresh(reference, calling, force = false) {
  if (!reference.file || (!force && Date.now() < reference.expires_at)) return false;
  const told = await upload(reference.file, calling);
  reference.id = told.upload;
  reference.expires_at = expiry(told.expires_s);
  return true;
}

/**
 * @param {number} expires_s
 * @returns {number} ms
 */
function expiry(expires_s) {
  return Date.now() + Math.max(expires_s - SPARE_S, 0) * 1000;
}
