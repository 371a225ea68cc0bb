/**
 * What the server is asked. A busy server is asked again when it said so; one that wants a token
 * gets it from `signIn`, and the call goes on.
 */

/**
 * @typedef {object} Hit
 * @property {number} rank
 * @property {string} sound
 * @property {string} path
 * @property {string} library
 * @property {number} start_s
 * @property {number} end_s
 * @property {number} duration_s
 * @property {number} score
 * @property {"strong" | "likely" | "weak"} [verdict]
 * @property {number} [probability]
 * @property {number} [channels]
 * @property {number} [sampling_rate]
 * @property {string[]} [tags]
 * @property {string[]} [copies]
 * @property {{clause: string, weight: number, score: number}[]} [clauses]
 * @property {boolean} [reembedded]
 * @property {number} [words_score]
 * @property {boolean} [silent]
 * @property {Explanation} [explanation]
 *
 * @typedef {object} Explanation
 * @property {[number, number]} window
 * @property {string} compared
 * @property {Record<string, number>} heard
 *
 * @typedef {object} Answer
 * @property {Hit[]} hits
 * @property {string | null} way
 * @property {boolean} nothing_matches
 * @property {number} took_s
 *
 * @typedef {object} Status
 * @property {string} version
 * @property {{name: string, device: string, sampling_rate: number}} model
 * @property {{store: string, chunks: number, libraries: string[],
 *   aspects: {name: string, instruction: string}[]}} index
 * @property {{upload_bytes: number, upload_s: number, clip_s: number}} limits
 *
 * @typedef {{start_s: number, end_s: number, min: number[], max: number[]}} Peaks
 * @typedef {{signal?: AbortSignal, onBusy?: (wait_s: number) => void}} Calling
 */

const MOST_TRIES = 20; // of a busy server
const LONGEST_WAIT_S = 30;

/** The server said no, or nothing. */
export class ServerError extends Error {
  /**
   * @param {string} message what happened
   * @param {{status?: number, type?: string, hint?: string | null}} [more] status 0: it was not reached
   */
  constructor(message, { status = 0, type = "", hint = null } = {}) {
    super(message);
    this.status = status;
    this.type = type;
    this.hint = hint;
  }
}

/** @type {() => Promise<void>} */
let askForToken = () => Promise.reject(new ServerError("the server wants a token", { status: 401 }));
/** @type {Promise<void> | null} */
let signingIn = null;

/**
 * @param {() => Promise<void>} ask asks for the token; resolves once the server took it
 */
export function onTokenWanted(ask) {
  askForToken = ask;
}

/**
 * @param {string} token
 * @returns {Promise<void>}
 */
export async function signIn(token) {
  const answer = await send("v1/session", jsonRequest({ token }));
  if (!answer.ok) throw await refusal(answer);
}

/**
 * @param {Calling} [calling]
 * @returns {Promise<Status>}
 */
export async function status(calling) {
  return (await call("v1/status", {}, calling)).json();
}

/**
 * @param {Record<string, unknown>} body
 * @param {Calling} [calling]
 * @returns {Promise<Answer>}
 */
export async function search(body, calling) {
  return (await call("v1/search", jsonRequest(body), calling)).json();
}

/**
 * @param {Blob} sound
 * @param {Calling} [calling]
 * @returns {Promise<{upload: string, duration_s: number, expires_s: number}>}
 */
export async function upload(sound, calling) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await call("v1/uploads", { method: "POST", body: sound, headers }, calling)).json();
}

/**
 * Where the waveform, the spectrogram and the audio of a sound are.
 *
 * @param {{kind: "sound" | "upload", id: string}} sound
 * @param {"peaks" | "spectrogram.png" | "audio"} what
 * @param {{start_s: number, end_s: number} | null} stretch null: all of it
 * @returns {string}
 */
export function addressOf(sound, what, stretch) {
  const address = `v1/${sound.kind}s/${encodeURIComponent(sound.id)}/${what}`;
  if (stretch === null) return address;
  return `${address}?start=${seconds(stretch.start_s)}&end=${seconds(stretch.end_s)}`;
}

/**
 * @param {{kind: "sound" | "upload", id: string}} sound
 * @param {{start_s: number, end_s: number} | null} stretch null: all of it
 * @param {Calling} [calling]
 * @returns {Promise<Peaks>}
 */
export async function peaks(sound, stretch, calling) {
  return (await call(addressOf(sound, "peaks", stretch), {}, calling)).json();
}

/**
 * Asks for an address that the browser could not use by itself, as it gives no token and does not
 * ask again where the server is busy.
 *
 * @param {string} address
 * @param {Calling} [calling]
 * @returns {Promise<boolean>} whether something was in its way that is not any more; rejects where
 *   the server does not give it
 */
export async function clearTheWay(address, calling) {
  /** @type {RequestInit} */
  const request = { headers: { Range: "bytes=0-0" }, cache: "no-store" };
  if ((await send(address, { ...request, signal: calling?.signal })).ok) return false;
  await call(address, request, calling);
  return true;
}

/**
 * @param {number} time_s
 * @returns {string} to the millisecond
 */
function seconds(time_s) {
  return String(Math.round(time_s * 1000) / 1000);
}

/**
 * @param {unknown} body
 * @returns {RequestInit}
 */
function jsonRequest(body) {
  return {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json" },
  };
}

/**
 * @param {string} address
 * @param {RequestInit} request
 * @param {Calling} [calling]
 * @returns {Promise<Response>} one that is ok
 */
async function call(address, request, { signal, onBusy } = {}) {
  for (let attempt = 1; ; attempt++) {
    const answer = await send(address, { ...request, signal });
    if (answer.ok) return answer;
    if (answer.status === 401) {
      // All calls that are refused meanwhile wait for one form.
      signingIn ??= askForToken().finally(() => (signingIn = null));
      await signingIn;
    } else if (answer.status === 503 && answer.headers.has("Retry-After") && attempt < MOST_TRIES) {
      const wait_s = waitOf(answer.headers.get("Retry-After") ?? "");
      onBusy?.(wait_s);
      await pause(wait_s, signal);
    } else throw await refusal(answer);
  }
}

/**
 * @param {string} address
 * @param {RequestInit} request
 * @returns {Promise<Response>}
 */
async function send(address, request) {
  try {
    return await fetch(address, { credentials: "same-origin", ...request });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ServerError("The server can't be reached.", { hint: "Is alm2vec serve still running?" });
  }
}

/**
 * @param {string} header seconds, or a date
 * @returns {number} seconds
 */
function waitOf(header) {
  const told = /^\s*\d+\s*$/.test(header)
    ? Number(header)
    : (Date.parse(header) - Date.now()) / 1000;
  return Math.min(Math.max(Number.isFinite(told) ? told : 1, 0.5), LONGEST_WAIT_S);
}

/**
 * @param {number} wait_s
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function pause(wait_s, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("aborted", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, wait_s * 1000);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/**
 * @param {Response} answer
 * @returns {Promise<ServerError>}
 */
async function refusal(answer) {
  const { status } = answer;
  try {
    const { error } = await answer.json();
    return new ServerError(String(error.message), { status, type: error.type, hint: error.hint });
  } catch {
    return new ServerError(`The server answered ${status} ${answer.statusText}.`.replace(" .", "."), {
      status,
    });
  }
}
