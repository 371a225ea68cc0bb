/**
 * Light, dark, or as the system has it.
 */

const KEY = "alm2vec-theme"; // theme.js reads it, too
const system = window.matchMedia("(prefers-color-scheme: dark)");

/**
 * @param {HTMLSelectElement} choice with "", "light" and "dark"
 */
export function listenToTheme(choice) {
  choice.value = document.documentElement.dataset.theme ?? "";
  choice.addEventListener("change", () => {
    if (choice.value) document.documentElement.dataset.theme = choice.value;
    else delete document.documentElement.dataset.theme;
    remember(choice.value);
    recolour();
  });
  system.addEventListener("change", recolour);
}

function recolour() {
  window.dispatchEvent(new Event("recolour")); // canvases don't follow the style sheet by themselves
}

/** @param {string} theme */
function remember(theme) {
  try {
    if (theme) localStorage.setItem(KEY, theme);
    else localStorage.removeItem(KEY);
  } catch {
    // no storage: it lasts as long as the page
  }
}
