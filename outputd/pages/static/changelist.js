/** The list of changes: what became different, the newest first. */

import { ask } from "./ask.js";
import { difference } from "./change.js";
import { choose, chosen } from "./chosen.js";
import { $, h, nodeLink, put, since, table, targetLink } from "./dom.js";
import { here } from "./place.js";
import { count } from "./units.js";

const ROWS = 15;
const MOST = 500;
const ENDS = ["loss_ended", "node_back"]; // of which nothing lasts
export const KINDS = {
  route_changed: "Route changed", loss_began: "Loss began", loss_ended: "Loss ended", rtt_shifted: "Round-trip time shifted",
  node_silent: "Node silent", node_back: "Node back",
};

/** Show the changes that are chosen in an element; `only` says of which node or target. What is returned asks for them. */
export function changeList(element, only = {}) {
  let shown = "";
  return async () => {
    const [kind, lasting] = [chosen("kind"), chosen("lasting")];
    const limit = chosen("changes") === "more" ? MOST : ROWS;
    const filters = { ...only, kind, lasting };
    const { changes, total } = await ask("/changes", { ...filters, limit, total: true });
    const key = JSON.stringify([filters, changes, total]);
    if (key === shown) return;
    shown = key;
    const query = new URLSearchParams(Object.entries({ ...filters, limit: 100_000 }).filter(([, value]) => value != null));
    put(element, changes.length
      ? [table("Changes, the newest first", [
          ["Change", (change) => KINDS[change.kind]],
          ["Began", (change) => since(change.since)],
          ["Target", (change) => (change.target ? targetLink(change.target) : "–")],
          ["Node", (change) => nodeLink(change.node)],
          ["What", (change) => h("span", { class: "text" }, difference(change)), "wide"],
          ["Until", (change) => (change.until ? since(change.until) : ENDS.includes(change.kind) ? "–" : "lasts")],
        ], changes),
        h("div", { class: "pager" }, h("span", { class: "quiet" }, `${count(changes.length)} of ${count(total)}`),
          total > changes.length && limit < MOST ? h("button", { type: "button", onclick: () => choose({ changes: "more" }) }, "More") : null,
          h("a", { class: "quiet", href: here(`/changes.csv?${query}`) }, "All as CSV"))]
      : h("p", { class: "quiet" }, kind || lasting ? "No such change." : "Nothing has changed, as far as is known."));
  };
}

/** Keep the choice of a kind of change in the URL. */
export function chooseKind() {
  const select = $("change-kind");
  put(select, h("option", { value: "" }, "all"), Object.entries(KINDS).map(([kind, words]) => h("option", { value: kind }, words)));
  select.addEventListener("change", () => choose({ kind: select.value, lasting: null, changes: null }));
  const show = () => (select.value = chosen("kind") ?? "");
  show();
  return show;
}
