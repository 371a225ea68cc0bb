/**
 * Keys for listening. They are asleep where something is typed, chosen or pressed.
 */

const TYPED_INTO = "input, textarea, select, [contenteditable]";
const PRESSED = "button, a[href], summary";
const SEEK_S = 1;

/**
 * @param {object} page
 * @param {import("./results.js").Results} page.results
 * @param {() => void} page.focusSearch
 * @param {() => void} page.showKeys
 * @param {() => boolean} page.cancel whether there was something to stop
 */
export function listenToKeys({ results, focusSearch, showKeys, cancel }) {
  /** @type {Record<string, () => unknown>} */
  const keys = {
    ArrowDown: () => results.move(1),
    ArrowUp: () => results.move(-1),
    ArrowLeft: () => results.current?.view.seek(-SEEK_S),
    ArrowRight: () => results.current?.view.seek(SEEK_S),
    " ": () => results.current?.view.toggle(),
    Enter: () => results.current?.view.playOn(),
    m: () => results.current?.moreLike(),
    "/": focusSearch,
    "?": showKeys,
  };
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (cancel()) event.preventDefault(); // or it would empty the search box, too
      return;
    }
    const target = event.target instanceof Element ? event.target : document.body;
    if (target.closest(TYPED_INTO)) return;
    if ((event.key === " " || event.key === "Enter") && target.closest(PRESSED)) return;
    const action = Object.hasOwn(keys, event.key) ? keys[event.key] : undefined;
    if (!action) return;
    const needsHit = action !== focusSearch && action !== showKeys;
    if (needsHit && !results.current) return;
    event.preventDefault();
    if (event.repeat && (event.key === " " || event.key === "Enter" || event.key === "m")) return;
    void action();
  });
}
