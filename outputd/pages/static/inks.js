/** Colours of the topology: by round-trip time, by node, by age. They are those of the style sheet, by name. */

import { h } from "./dom.js";

const inks = (name, size) => Array.from({ length: size }, (_, place) => `--${name}-${place}`);
const RTT_STEPS_MS = [5, 20, 50, 100, 200];
const RTT_INKS = inks("rtt", 6);
const AGE_STEPS_S = [60, 3600, 86_400, 604_800];
const AGE_WORDS = ["a minute", "an hour", "a day", "a week"];
const AGE_INKS = inks("age", 5);
const NODE_INKS = inks("node", 8);

const step = (steps, value) => {
  const place = steps.findIndex((most) => value < most);
  return place < 0 ? steps.length : place;
};
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const newest = (addresses) => addresses.reduce((most, { lastSeen }) => Math.max(most, lastSeen), 0);

/** The node that alone has seen all of these, else undefined. */
function onlyNode(addresses) {
  const [node] = addresses[0].nodes;
  return addresses.every(({ nodes }) => nodes.size === 1 && nodes.has(node)) ? node : undefined;
}

/** Nodes by how many addresses they alone have seen. */
function nodesByUse(addresses) {
  const uses = new Map();
  for (const { nodes } of addresses) {
    if (nodes.size !== 1) continue;
    const [node] = nodes;
    uses.set(node, (uses.get(node) ?? 0) + 1);
  }
  return [...uses].sort((one, other) => other[1] - one[1]).map(([node]) => node);
}

/** {palette, colour} for a picture: `colour` gives an item's place in the palette, -1 for none. */
export function painter(kind, addresses) {
  if (kind === "rtt") return { palette: RTT_INKS, colour: ({ members }) => step(RTT_STEPS_MS, mean(members.map(({ rtt }) => rtt)) / 1e6) };
  if (kind === "age") {
    const last = newest(addresses);
    return { palette: AGE_INKS, colour: ({ members }) => step(AGE_STEPS_S, (last - newest(members)) / 1000) };
  }
  const places = new Map(nodesByUse(addresses).map((node, place) => [node, Math.min(place, NODE_INKS.length - 1)]));
  return { palette: NODE_INKS, colour: ({ members }) => places.get(onlyNode(members)) ?? -1 };
}

function key(ink, words) {
  const swatch = h("span", { class: "swatch round", "aria-hidden": "true" });
  swatch.style.background = `var(${ink})`;
  return h("span", { class: "key" }, swatch, words);
}

/** What the colours mean. */
export function legend(kind, addresses) {
  if (kind === "rtt") return ["Round-trip time:", RTT_INKS.map((ink, place) => key(ink, place < RTT_STEPS_MS.length ? `under ${RTT_STEPS_MS[place]} ms` : "more"))];
  if (kind === "age") return ["Before the newest:", AGE_INKS.map((ink, place) => key(ink, place < AGE_WORDS.length ? `under ${AGE_WORDS[place]}` : "longer"))];
  const nodes = nodesByUse(addresses);
  const last = NODE_INKS.length - 1;
  return ["Seen by one node alone:", nodes.slice(0, last + 1).map((node, place) => key(NODE_INKS[place], place === last && nodes.length > last + 1 ? "others" : node)), key("--quiet", "by several")];
}
