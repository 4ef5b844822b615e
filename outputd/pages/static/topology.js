/** The topology: addresses and links as a graph that grows while somebody looks. */

import { ask, refreshing } from "./ask.js";
import { Picture } from "./canvas.js";
import { $, h, put, say, since, table, targetLink, time } from "./dom.js";
import { onResults } from "./frame.js";
import { Graph } from "./graph.js";
import { here } from "./place.js";
import { at, count, iso, rtt } from "./units.js";

const MOST_LINKS = 8000;
const SMALL = 1500;
const WHOLE_EVERY_MS = 60_000;
const MOST_ROWS = 300;
/** Names of the colours of the style sheet. */
const inks = (name, size) => Array.from({ length: size }, (_, place) => `--${name}-${place}`);

const RTT_STEPS_MS = [5, 20, 50, 100, 200];
const RTT_INKS = inks("rtt", 6);
const AGE_STEPS_S = [60, 3600, 86_400, 604_800];
const AGE_INKS = inks("age", 5);
const AGE_WORDS = ["a minute", "an hour", "a day", "a week"];
const NODE_INKS = inks("node", 8);

let graph = new Graph();
let layout = null;
let picture = null;
let least = 1;
let wholeAt = 0;
let chosen = null;

// -- colours

const nodesByUse = () => {
  const uses = new Map();
  for (const address of graph.addresses) if (address.nodes.length === 1) uses.set(address.nodes[0], (uses.get(address.nodes[0]) ?? 0) + 1);
  return [...uses].sort((one, other) => other[1] - one[1]).map(([node]) => node);
};

function key(ink, words) {
  const swatch = h("span", { class: "swatch round", "aria-hidden": "true" });
  swatch.style.background = `var(${ink})`;
  return h("span", { class: "key" }, swatch, words);
}

function colour() {
  const kind = $("colour").value;
  if (kind === "rtt") {
    picture.palette = RTT_INKS;
    picture.colour = (address) => {
      const ms = address.rtt / 1e6;
      const place = RTT_STEPS_MS.findIndex((most) => ms < most);
      return place < 0 ? RTT_INKS.length - 1 : place;
    };
    put($("graph-legend"), "From the first hop, estimated:", RTT_INKS.map((ink, place) => key(ink, place < RTT_STEPS_MS.length ? `under ${RTT_STEPS_MS[place]} ms` : "more")));
  } else if (kind === "node") {
    const nodes = nodesByUse();
    const places = new Map(nodes.map((node, place) => [node, Math.min(place, NODE_INKS.length - 1)]));
    picture.palette = NODE_INKS;
    picture.colour = (address) => (address.nodes.length === 1 ? places.get(address.nodes[0]) : -1);
    put($("graph-legend"), "Seen by one node alone:", nodes.slice(0, NODE_INKS.length).map((node, place) => key(NODE_INKS[place], place === NODE_INKS.length - 1 && nodes.length > NODE_INKS.length ? "others" : node)), key("--quiet", "by several"));
  } else {
    const newest = Math.max(...graph.addresses.map((address) => address.lastSeen));
    picture.palette = AGE_INKS;
    picture.colour = (address) => {
      const place = AGE_STEPS_S.findIndex((most) => (newest - address.lastSeen) / 1000 < most);
      return place < 0 ? AGE_INKS.length - 1 : place;
    };
    put($("graph-legend"), "Before the newest:", AGE_INKS.map((ink, place) => key(ink, place < AGE_WORDS.length ? `under ${AGE_WORDS[place]}` : "longer")));
  }
  picture.draw();
}

// -- an address

function neighbours(title, rows) {
  if (!rows.length) return null;
  return h("div", null, h("h3", null, title), h("ul", null, rows.slice(0, 12).map((row) =>
    h("li", null, h("button", { type: "button", class: "plain address", onclick: () => go(row.ip, true) }, row.ip),
      h("span", { class: "quiet" }, `${count(row.count)} ×${row.rtt_difference_ns == null ? "" : `, ${row.rtt_difference_ns >= 0 ? "+" : ""}${rtt(row.rtt_difference_ns)}`}`)))),
    rows.length > 12 ? h("p", { class: "quiet" }, `and ${count(rows.length - 12)} more`) : null);
}

async function about(address) {
  chosen = address?.ip ?? null;
  history.replaceState(null, "", chosen ? `#${encodeURIComponent(chosen)}` : location.pathname);
  if (!address) {
    say($("details-title"), "An address");
    put($("about"), h("p", { class: "quiet" }, "Select an address in the graph, or search for it."));
    return;
  }
  say($("details-title"), address.ip);
  $("details-title").className = "address";
  const hop = await ask(`/hops/${encodeURIComponent(address.ip)}`, { limit: 200 }).catch(() => null);
  if (chosen !== address.ip) return;
  const link = h("p", null, h("a", { href: here(`/targets/${encodeURIComponent(address.ip)}`) }, "Its page as a target"));
  if (!hop) {
    put($("about"), h("p", { class: "quiet" }, "Nothing more is known about it now."), link);
    return;
  }
  put($("about"),
    h("dl", null, h("dt", null, "Seen"), h("dd", null, `${count(hop.seen)} times as a hop`), h("dt", null, "First"), h("dd", null, time(hop.first_seen)),
      h("dt", null, "Last"), h("dd", null, time(hop.last_seen), " (", since(hop.last_seen), ")"), h("dt", null, "By"), h("dd", null, hop.nodes.join(", ")),
      h("dt", null, "RTT"), h("dd", null, `about ${rtt(Math.round(address.rtt))} from the first hop`)),
    link, neighbours("Before it", hop.before), neighbours("After it", hop.after),
    hop.targets.length ? h("div", null, h("h3", null, `Targets behind it (${count(hop.targets.length)}${hop.targets.length >= 200 ? " or more" : ""})`), h("ul", null, hop.targets.slice(0, 12).map((target) =>
      h("li", null, targetLink(target.ip), h("span", { class: "quiet" }, `${count(target.count)} ×`))))) : null);
}

function go(ip, aloud) {
  const address = graph.get(ip);
  if (!address) return false;
  picture.pick(address);
  picture.show(address);
  if (aloud) $("details").scrollIntoView?.({ block: "nearest" });
  return true;
}

// -- all of them

function words() {
  const size = graph.addresses.length;
  const all = graph.links.length >= MOST_LINKS ? `the ${count(MOST_LINKS)} most frequent links` : `${count(graph.links.length)} links`;
  say($("graph-words"), size ? `${count(size)} addresses, ${all}` : "");
  $("nothing").hidden = size > 0;
  $("graph-legend").hidden = !size;
  if (!size) put($("nothing"), h("strong", null, "No link is known yet."), " The graph grows as soon as a node posts results with traceroutes. ", h("a", { href: here("/") }, "How to send the first one"), ".");
}

function list() {
  if (!$("all").open) return;
  const rows = graph.hubs(MOST_ROWS);
  put($("table"), table("Addresses, those with the most links first", [
    ["Address", (address) => h("button", { type: "button", class: "plain address", onclick: () => go(address.ip, true) }, address.ip)],
    ["Before it", (address) => count(address.in.length), "number"], ["After it", (address) => count(address.out.length), "number"],
    ["Seen", (address) => `${count(address.count)} ×`, "number"], ["RTT, estimated", (address) => rtt(Math.round(address.rtt)), "number"],
    ["Last seen", (address) => time(iso(address.lastSeen))], ["Nodes", (address) => h("span", { class: "text" }, address.nodes.join(", ")), "wide"],
  ], rows), graph.addresses.length > MOST_ROWS ? h("p", { class: "quiet" }, `${MOST_ROWS} of ${count(graph.addresses.length)}. `, h("a", { href: here("/links.csv?limit=100000") }, "All links as CSV")) : null);
}

function begin() {
  layout?.terminate();
  graph = new Graph();
  layout = new Worker(new URL("./layout.js", import.meta.url), { type: "module" });
  layout.addEventListener("message", ({ data: { places, resting } }) => {
    graph.addresses.forEach((address, place) => {
      if (2 * place + 1 < places.length) [address.x, address.y] = [places[2 * place], places[2 * place + 1]];
    });
    $("graph").dataset.resting = resting;
    picture.draw();
  });
  if (picture) {
    Object.assign(picture, { graph, layout, chosen: null, hovered: null });
    picture.fit();
  } else {
    picture = new Picture($("graph"), graph, layout, about);
  }
  wholeAt = 0;
  colour();
}

const refresh = refreshing(async () => {
  const mine = graph;
  const whole = graph.links.length < SMALL || performance.now() - wholeAt > WHOLE_EVERY_MS;
  const from = whole || graph.newest == null ? {} : { since: iso(at(graph.newest) - 60_000) };
  const { links } = await ask("/links", { limit: MOST_LINKS, min_count: least, ...from }).catch((problem) => {
    say($("graph-words"), `The graph is not up to date: ${problem.message}.`);
    throw problem;
  });
  if (mine !== graph) return;
  if (whole) wholeAt = performance.now();
  const first = graph.addresses.length === 0;
  if (graph.merge(links, MOST_LINKS)) {
    if (first) for (const address of graph.addresses) address.first = true;
    layout.postMessage({ size: graph.addresses.length, links: graph.ends() });
    put($("addresses"), graph.addresses.slice(0, 300).map(({ ip }) => h("option", { value: ip })));
  }
  $("graph").dataset.addresses = graph.addresses.length;
  words();
  colour();
  list();
  const wanted = decodeURIComponent(location.hash.slice(1));
  if (first && wanted && !chosen) go(wanted);
}, 2500);

$("colour").addEventListener("change", colour);
$("least").addEventListener("change", () => {
  least = Number($("least").value);
  begin();
  refresh.soon();
});
$("find").addEventListener("change", () => {
  const ip = $("find").value.trim().toLowerCase();
  $("find").setCustomValidity(!ip || go(ip) ? "" : "This address is not in the graph");
  $("find").reportValidity();
});
$("find").addEventListener("input", () => $("find").setCustomValidity(""));
$("in").addEventListener("click", () => picture.zoomBy(1.4));
$("out").addEventListener("click", () => picture.zoomBy(1 / 1.4));
$("fit").addEventListener("click", () => picture.fit());
$("all").addEventListener("toggle", list);

begin();
refresh();
onResults(refresh);
