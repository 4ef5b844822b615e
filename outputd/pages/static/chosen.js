/** What a reader has chosen of a page, kept in its URL: so back, forward and a link that is passed on find it again. */

const listeners = new Set();

/** What was chosen under this name, null for nothing. */
export const chosen = (name) => new URLSearchParams(location.search).get(name);

/** Call `look` when something else is chosen, by whatever way. */
export function onChoice(look) {
  listeners.add(look);
}

/** The page's URL with these choices; null or an empty text takes one back. */
export function withChoices(changes) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value == null || value === "") query.delete(name);
    else query.set(name, value);
  }
  return `${location.pathname}${query.size ? `?${query}` : ""}${location.hash}`;
}

/** Choose; `way` is "push" for a step that the back button undoes, else "replace". `state` is remembered with a step. */
export function choose(changes, way = "push", state = null) {
  const url = withChoices(changes);
  if (way === "push") history.pushState(state, "", url);
  else history.replaceState(state, "", url);
  tell();
}

function tell() {
  for (const look of listeners) look();
}

addEventListener("popstate", tell);
