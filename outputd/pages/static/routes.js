/** The routes of each node to one target. A route keeps its letter and colour: they come from its name and not from its rank. */

import { merged } from "./compare.js";
import { h } from "./dom.js";
import { at } from "./units.js";

const LETTERS = 24;
const HUES = 8;
const MOST_USUAL = 4;
const LEAST_SHARE = 0.02;
const MOST_KEPT = 2000;
const given = new Map(); // places by node and name: what has a letter keeps it while the page is open

/** The letter and the colour of a place. */
export const letter = (place) => (place < LETTERS ? String.fromCharCode(65 + place) : `${letter(Math.floor(place / LETTERS) - 1)}${letter(place % LETTERS)}`);
export const hue = (place) => `route-${place % HUES}`;
export const routeMark = (place) => h("span", { class: `route ${hue(place)}` }, letter(place));

/** The first free place from the one that a name asks for; while there are colours, one whose colour is free too. */
function freePlace(name, taken) {
  const wanted = parseInt(name.slice(0, 8), 16) % LETTERS;
  const hues = new Set([...taken].map((place) => place % HUES));
  const isFree = (place) => !taken.has(place) && (hues.size >= HUES || !hues.has(place % HUES));
  for (let step = 0; step < LETTERS; step += 1) if (isFree((wanted + step) % LETTERS)) return (wanted + step) % LETTERS;
  let beyond = LETTERS;
  while (taken.has(beyond)) beyond += 1;
  return beyond;
}

/** Give each route of a node its place: what has one keeps it, then the oldest chooses first. */
function placed(node, routes) {
  if (!given.has(node)) given.set(node, new Map());
  const known = given.get(node);
  const taken = new Set();
  const fresh = [];
  for (const route of routes) {
    const place = known.get(route.route) ?? route.members.map((path) => known.get(path.route)).find((each) => each != null);
    if (place == null || taken.has(place)) fresh.push(route);
    else taken.add((route.place = place));
  }
  fresh.sort((one, other) => at(one.first_seen) - at(other.first_seen) || (one.route < other.route ? -1 : 1));
  for (const route of fresh) taken.add((route.place = freePlace(route.route, taken)));
  if (known.size > MOST_KEPT) known.clear();
  for (const route of routes) for (const path of route.members) known.set(path.route, route.place);
}

/**
 * What /paths says, by node, those with most traceroutes first: the node's `routes`, the most usual first, how many of them
 * are `usual`, and its `traces`, [time, place] in rising order.
 */
export function routesByNode({ paths, timeline }) {
  const nodes = new Map();
  for (const path of paths) {
    if (!nodes.has(path.node)) nodes.set(path.node, { node: path.node, found: [], traces: [], count: 0 });
    nodes.get(path.node).found.push(path);
    nodes.get(path.node).count += path.count;
  }
  const places = new Map();
  for (const node of nodes.values()) {
    node.routes = merged(node.found);
    placed(node.node, node.routes);
    const rare = node.routes.findIndex((route, rank) => rank >= MOST_USUAL || (rank && route.count < LEAST_SHARE * node.count));
    node.usual = rare < 0 ? node.routes.length : rare;
    for (const route of node.routes) for (const path of route.members) places.set(path, route.place);
  }
  for (const [text, node, index] of timeline) nodes.get(node).traces.push([text, places.get(paths[index])]);
  for (const node of nodes.values()) node.traces.sort(([one], [other]) => at(one) - at(other));
  return [...nodes.values()].sort((one, other) => other.traces.length - one.traces.length || (one.node < other.node ? -1 : 1));
}
