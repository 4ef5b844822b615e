/** The list of targets, worst first, and what it is filtered by. */

import { choose, chosen } from "./chosen.js";
import { $, h, nodeLink, since, targetLink } from "./dom.js";
import { label } from "./label.js";
import { listing } from "./listing.js";
import { count, percent, rtt } from "./units.js";

const TYPING_MS = 250;
const MOST_NODES = 3;
const isNetwork = (text) => /^[0-9a-f:.]+\/\d{1,3}$/i.test(text);

function nodesOf({ nodes }) {
  const more = nodes.length > MOST_NODES ? h("span", { class: "quiet", title: nodes.join(", ") }, ` and ${nodes.length - MOST_NODES} more`) : null;
  return h("span", { class: "text" }, nodes.slice(0, MOST_NODES).map((node, place) => [place ? ", " : null, nodeLink(node)]), more);
}

/** Show the targets that are chosen in an element, those of one node where `only` says so. What is returned asks for them. */
export function targetList(element, only = {}) {
  return listing(element, {
    path: "/targets", rows: "targets", key: "ip", caption: "List of targets", sort: "loss_percent",
    filters: () => ({ prefix: chosen("prefix"), text: chosen("text"), node: chosen("node"), loss_over: chosen("loss_over"), ...only }),
    empty: (isFiltered) => (isFiltered ? "No target matches." : "Nothing has been measured yet."),
    columns: [
      ["Target", (target) => [targetLink(target.ip), label(target)], null, "ip"],
      ["Loss", (target) => h("span", { class: target.loss_percent >= 50 ? "warned" : null }, percent(target.loss_percent)), "number", "loss_percent"],
      ["Failed", (target) => count(target.failed), "number", "failed"],
      ["Results", (target) => count(target.results), "number", "results"],
      ["Last reply's RTT", (target) => rtt(target.last_rtt_ns), "number", "last_rtt_ns"],
      ["First seen", (target) => since(target.first_seen), null, "first_seen"],
      ["Last seen", (target) => since(target.last_seen), null, "last_seen"],
      ...(only.node ? [] : [["Nodes", nodesOf, "wide"]]),
    ],
  });
}

/** Keep what is filtered by in the URL; what is returned shows what is chosen there. The page of a node has no field for one. */
export function chooseTargets() {
  const [text, node, loss] = [$("target-filter"), $("target-node"), $("target-loss")];
  const anew = { page: null, cursor: null };
  let typing = 0;
  const soon = (change) => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ ...anew, ...change() }, "replace"), TYPING_MS); // a step back is none for each letter
  };
  text.addEventListener("input", () => soon(() => {
    const value = text.value.trim();
    return isNetwork(value) ? { prefix: value, text: null } : { text: value, prefix: null };
  }));
  node?.addEventListener("input", () => soon(() => ({ node: node.value.trim() })));
  loss.addEventListener("change", () => choose({ ...anew, loss_over: loss.value }));
  return () => {
    if (document.activeElement !== text) text.value = chosen("prefix") ?? chosen("text") ?? "";
    if (node && document.activeElement !== node) node.value = chosen("node") ?? "";
    loss.value = chosen("loss_over") ?? "";
  };
}
