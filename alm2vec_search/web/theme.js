// Before anything is painted: the light or the dark that was chosen here last. A classic script, as
// modules run only once the page is there.
(() => {
  try {
    const theme = localStorage.getItem("alm2vec-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // no storage: as the system has it
  }
})();
