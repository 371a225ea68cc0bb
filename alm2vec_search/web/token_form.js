/**
 * The token that a server may want: from the address, or from whoever looks at the page.
 */
import { ServerError, onTokenWanted, signIn } from "./api.js";
import { byId } from "./dom.js";

/** Asks for it whenever the server wants one. */
export function listenForTokens() {
  onTokenWanted(askForToken);
}

/**
 * What stands in `#token=...` is given to the server, and taken out of the address.
 *
 * @returns {Promise<void>}
 */
export async function useTokenOfAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  try {
    await signIn(token);
  } catch {
    // It is a wrong one, or an old one: the next call asks for another.
  }
}

/** @returns {Promise<void>} resolves once the server took one */
function askForToken() {
  const dialog = byId("token", HTMLDialogElement);
  const form = byId("token-form", HTMLFormElement);
  const field = byId("token-text", HTMLInputElement);
  const wrong = byId("token-error", HTMLElement);
  const stay = (/** @type {Event} */ event) => event.preventDefault(); // nothing works without it
  return new Promise((resolve) => {
    /** @param {Event} event */
    const send = async (event) => {
      event.preventDefault();
      wrong.textContent = "";
      try {
        await signIn(field.value);
      } catch (error) {
        wrong.textContent = told(error);
        field.setAttribute("aria-invalid", "true");
        return field.select();
      }
      field.value = "";
      field.removeAttribute("aria-invalid");
      form.removeEventListener("submit", send);
      dialog.removeEventListener("cancel", stay);
      dialog.close();
      resolve();
    };
    form.addEventListener("submit", send);
    dialog.addEventListener("cancel", stay);
    dialog.showModal();
    field.focus();
  });
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function told(error) {
  if (!(error instanceof ServerError)) return String(error);
  return [error.message, error.hint].filter(Boolean).join("; ");
}
