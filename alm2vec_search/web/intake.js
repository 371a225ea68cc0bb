/**
 * Sounds that are brought along: dropped, pasted, or chosen.
 */
import { byId } from "./dom.js";

/**
 * @param {(files: File[]) => void} onFiles at least one
 */
export function listenForFiles(onFiles) {
  const curtain = byId("curtain", HTMLElement);
  const field = byId("file", HTMLInputElement);
  const take = (/** @type {FileList | undefined} */ files) => {
    if (files?.length) onFiles([...files]);
  };

  byId("choose", HTMLButtonElement).addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    take(field.files ?? undefined);
    field.value = ""; // so that the same file can be chosen again
  });

  document.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files);
  });

  const hasFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => {
    if (hasFiles(event)) curtain.hidden = false;
  });
  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) event.preventDefault();
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) curtain.hidden = true; // it left the window
  });
  document.addEventListener("drop", (event) => {
    curtain.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    take(event.dataTransfer?.files);
  });
}
