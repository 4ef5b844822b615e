/** The list of nodes, the one that was silent for longest first. */

import { h, nodeLink, since } from "./dom.js";
import { listing } from "./listing.js";
import { count, rate, span } from "./units.js";

const WRONG_S = 60;

/** How far the clock of a node is off, in words that say when it is much. */
export function clockOffset(seconds) {
  if (seconds == null) return "–";
  const text = Math.abs(seconds) < 0.005 ? "0 s" : `${seconds > 0 ? "+" : ""}${span(seconds)}`;
  return Math.abs(seconds) > WRONG_S ? h("span", { class: "warned", title: "its clock is wrong, or its results waited" }, text) : text;
}

/** Show the nodes in an element; `silent` has the names of those that are. What is returned asks for them. */
export function nodeList(element, silent) {
  const heard = ({ node, last_heard }) => (silent.has(node) ? h("span", { class: "warned" }, "silent, ", since(last_heard)) : since(last_heard));
  return listing(element, {
    path: "/nodes", rows: "nodes", key: "node", name: "nodes", caption: "List of nodes", sort: "last_heard", order: "asc",
    also: () => [...silent],
    empty: () => "No node has sent anything yet.",
    columns: [
      ["Node", (node) => nodeLink(node.node), null, "node"],
      ["Last heard", heard, null, "last_heard"],
      ["Rate", (node) => rate(node.results_per_s), "number", "results_per_s"],
      ["Results", (node) => count(node.results), "number", "results"],
      ["Rejected", (node) => count(node.rejected), "number", "rejected"],
      ["Clock", (node) => clockOffset(node.clock_offset_s), "number", "clock_offset_s"],
    ],
  });
}
