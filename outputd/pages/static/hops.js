/** A way as a table, a hop a row as mtr has it: who replied, what was lost, how long it took. */

import { lossClass } from "./axes.js";
import { h, put, table } from "./dom.js";
import { address } from "./label.js";
import { letter, routeMark } from "./routes.js";
import { at, count, counted, percent, rtt } from "./units.js";
import { wayOf, whereLossBegins } from "./way.js";

const MOST_ADDRESSES = 3;
const ALL = -1;
const NEWEST = -2;
const chosen = { node: null, place: NEWEST };

function who(hop, labels) {
  if (!hop.addresses.length) return h("span", { class: "quiet" }, h("span", { "aria-hidden": "true" }, "∗ "), "no reply");
  const more = hop.addresses.length - MOST_ADDRESSES;
  const isOne = hop.addresses.length === 1;
  return [hop.addresses.slice(0, MOST_ADDRESSES).map(({ ip, share }) => h("div", null, address(ip, labels), !isOne && h("span", { class: "quiet" }, ` ${percent(share)} of replies`))),
    more > 0 && h("div", { class: "quiet" }, `and ${count(more)} more`)];
}

function lossCell(hop, goesOn) {
  const bar = h("span", { class: `lost ${goesOn ? lossClass(hop.loss_percent) : "alone"}`, "aria-hidden": "true" });
  bar.style.width = `${(hop.loss_percent * 0.05).toFixed(2)}rem`;
  return [bar, percent(hop.loss_percent)];
}

const nameOf = (hop) => hop.addresses[0]?.ip ?? `TTL ${hop.ttl}`;

/** What a way says of loss, in words. */
function verdict(way, begins, target) {
  const end = way.at(-1);
  if (!begins) return `No loss that reaches the target: ${percent(end.loss_percent)} of the probes to TTL ${end.ttl} got no reply.`;
  const isCut = !way.some((hop) => hop.addresses.some(({ ip }) => ip === target));
  const before = begins.after < 0 ? "at the first hop" : `behind TTL ${way[begins.after].ttl}, ${nameOf(way[begins.after])}`;
  if (isCut && !end.replies) return `Nothing replies ${before}.`;
  const unsure = begins.place - begins.after > 1 ? ", or at a hop before it that seldom replies" : "";
  return `Loss begins ${before}: ${percent(way[begins.place].loss_percent)} at TTL ${way[begins.place].ttl}, ${nameOf(way[begins.place])}${unsure}; ${percent(end.loss_percent)} at the end.`;
}

/** The table of a way, below what it says of loss. */
export function hopTable(way, labels, words, target) {
  const begins = whereLossBegins(way);
  const goesOn = (hop) => begins && way.indexOf(hop) > begins.after;
  const whom = (hop) => [begins && way[begins.place] === hop && h("div", null, h("span", { class: "badge begins" }, "loss begins")), who(hop, labels)];
  const rows = table(words, [
    ["TTL", (hop) => hop.ttl, "number"], ["Address", whom, "wide"], ["Loss", (hop) => lossCell(hop, goesOn(hop)), "number"],
    ["Probes", (hop) => count(hop.sent), "number"], ["Best", (hop) => rtt(hop.least), "number"], ["Median", (hop) => rtt(hop.median), "number"], ["Worst", (hop) => rtt(hop.most), "number"],
  ], way);
  rows.classList.add("hops");
  if (begins) rows.querySelectorAll("tbody tr")[begins.place].classList.add("marked");
  return [h("p", { class: begins ? "says lossy" : "says" }, verdict(way, begins, target)), rows,
    h("p", { class: "quiet" }, `Loss in grey does not go on to the target: such a hop only replies seldom. ${counted(way[0].sent, "probe")} to the first TTL.`)];
}

/**
 * Hop by hop: buttons for the routes of a node and the table of the one that is chosen, at first the one that was seen last.
 * `node` is of routesByNode, `rows` are of /trace.
 */
export function ways(element, node, rows, labels, target) {
  const usual = node.routes.slice(0, node.usual);
  const now = usual.reduce((newest, route) => (at(route.last_seen) > at(newest.last_seen) ? route : newest));
  if (chosen.node !== node.node) Object.assign(chosen, { node: node.node, place: NEWEST });
  const route = usual.find(({ place }) => place === chosen.place) ?? (chosen.place === ALL ? null : now);
  const choose = (place) => {
    chosen.place = place;
    ways(element, node, rows, labels, target);
    element.querySelector("[aria-pressed=true]").focus();
  };
  const button = (place, ...words) => h("button", { type: "button", "aria-pressed": String(place === (route?.place ?? ALL)), onclick: () => choose(place) }, ...words);
  const names = route && new Set(route.members.map((path) => path.route));
  const way = wayOf(rows, names, target);
  put(element,
    h("div", { class: "choice chips", role: "group", "aria-label": `Routes of ${node.node}` },
      usual.map((each) => button(each.place, routeMark(each.place), ` ${count(each.count)} ×`, each === now ? ", the newest" : "")), button(ALL, "All routes together")),
    way.length ? hopTable(way, labels, route ? `Route ${letter(route.place)} of ${node.node}, hop by hop` : `All routes of ${node.node}, hop by hop`, target)
      : h("p", { class: "empty" }, "No traceroute on this route in this time."));
}
