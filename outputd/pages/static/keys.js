/** The keys of the pages, shown by `?`; `/` goes to the search. */

import { $ } from "./dom.js";

const TYPED = "input, select, textarea, [contenteditable]";

/** Listen to the keys that every page has. */
export function listen() {
  const dialog = $("keys");
  $("show-keys").addEventListener("click", () => dialog.showModal());
  $("close-keys").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPED)) return;
    if (event.key === "?" && !dialog.open) dialog.showModal();
    else if (event.key === "/" && !dialog.open) $("search").elements.ip.focus();
    else return;
    event.preventDefault();
  });
}
