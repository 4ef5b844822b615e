/** The usual routes of a node side by side: hops that are the same stand in one row, what differs is marked, rare ones fold. */

import { aligned, differs, ttlsOf } from "./compare.js";
import { h, since, table } from "./dom.js";
import { address } from "./label.js";
import { routeMark } from "./routes.js";
import { count, counted, percent } from "./units.js";

const MOST_RARE = 100;

function hopCell(cell, labels) {
  if (cell == null) return h("td", { class: "quiet" }, h("span", { class: "unseen" }, "no such hop"));
  if (cell.hop == null) return h("td", { class: "quiet" }, h("span", { "aria-hidden": "true" }, "∗ "), "no answer");
  return h("td", null, address(cell.hop, labels));
}

function rareRoutes(node) {
  const rare = node.routes.slice(node.usual);
  if (!rare.length) return null;
  return h("details", null, h("summary", null, counted(rare.length, "rare route")), table(`Rare routes of ${node.node}`, [
    ["Route", (route) => routeMark(route.place)], ["Traceroutes", (route) => count(route.count), "number"], ["Share", (route) => percent((100 * route.count) / node.count), "number"],
    ["Last", (route) => since(route.last_seen)], ["Hops", (route) => h("span", { class: "text" }, route.hops.map(({ hop }) => hop ?? "∗").join(" → ")), "wide"],
  ], rare.slice(0, MOST_RARE)));
}

/** The table of one node's usual routes, and its rare ones. */
export function besides(node, labels) {
  const routes = node.routes.slice(0, node.usual);
  const rows = aligned(routes.map((route) => route.hops));
  const label = `The usual routes of ${node.node}`;
  const head = (route) => h("th", { scope: "col" }, routeMark(route.place), h("span", null, ` ${count(route.count)} ×`),
    h("br"), h("span", { class: "quiet" }, "last ", since(route.last_seen), route.completed === false ? ", not completed" : ""));
  const line = (row) => {
    const marked = routes.length > 1 && differs(row);
    return h("tr", { class: marked ? "differs" : null },
      h("th", { scope: "row" }, marked ? h("span", { class: "mark", title: "differs" }, "≠") : null, marked ? h("span", { class: "unseen" }, "differs, ") : null, ttlsOf(row).join(" / ")),
      routes.map((route, place) => hopCell(row[place], labels)));
  };
  return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h("table", { class: "paths" }, h("caption", { class: "unseen" }, label),
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "TTL"), routes.map(head))),
      h("tbody", null, rows.map(line)))), rareRoutes(node)];
}
