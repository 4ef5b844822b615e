/** The topology: networks, addresses and links as a graph that grows while somebody looks; or the ways from one node in layers. */

import { ask, refreshing, rows } from "./ask.js";
import { Picture } from "./canvas.js";
import { choose, chosen as chosenOf } from "./chosen.js";
import { $, h, put, say, since, table, targetLink, time } from "./dom.js";
import { onResults } from "./frame.js";
import { Graph, hubs } from "./graph.js";
import { groups } from "./groups.js";
import { legend, painter } from "./inks.js";
import { arrange, layered, layers } from "./layers.js";
import { system } from "./networks.js";
import { here } from "./place.js";
import { Scene } from "./scene.js";
import { at, count, counted, iso, isAddress, rtt } from "./units.js";

const MOST_LINKS = 8000;
const MOST_ITEMS = 130;
const MOST_TRACES = 1000;
const BESIDE = 100;
const SMALL = 1500;
const WHOLE_EVERY_MS = 60_000;
const TRACES_EVERY_MS = 15_000;
const SHOWN_EVERY_MS = 400;
const MOST_ROWS = 300;
const STIR = 0.3;

const opened = new Set();
const layout = new Worker(new URL("./layout.js", import.meta.url), { type: "module" });
let graph = new Graph();
let scene = new Scene();
let traced = null; // the ways from a node, instead of the graph
let sceneNumber = 0;
let isKnown = false; // from then on, what comes is news
let least = 1;
let wholeAt = -Infinity;
let tracedAt = -Infinity;
let chosen = null;
let sought = null; // what is kept in the middle, until somebody looks elsewhere

const view = () => $("view").value;
const drawn = () => (view() === "layers" ? traced : graph);

const picture = new Picture($("graph"), {
  choose: about,
  hold: (item) => view() !== "layers" && layout.postMessage(item ? { hold: [item.place, item.x, item.y] } : { release: true }),
});
picture.scene = scene;

// -- the scene

/** Draw what is known now; `stir` is how much what has its place may still move. */
function show(stir = 0.05) {
  const known = drawn();
  if (!known) return;
  const isLayered = view() === "layers";
  const most = view() === "addresses" ? Infinity : MOST_ITEMS;
  const isNew = scene.build(known, isLayered ? layers(known.addresses, opened) : groups(known.addresses, most, opened), isKnown && scene.items.length ? performance.now() : -Infinity);
  if (isLayered) {
    picture.columns = arrange(scene);
    $("graph").dataset.resting = true;
  } else if (isNew) {
    picture.columns = [];
    sceneNumber += 1;
    const { places, ends, weights, radii } = scene.shape();
    layout.postMessage({ scene: sceneNumber, places, ends, weights, radii, stir }, [places.buffer, ends.buffer, weights.buffer, radii.buffer]);
    $("graph").dataset.resting = false;
  }
  if (sought) sought = chosen && scene.of(chosen);
  if (!scene.items.includes(picture.hovered)) picture.hovered = null;
  if (picture.chosen && !scene.items.includes(picture.chosen)) picture.chosen = chosen ? scene.of(chosen) : null;
  $("graph").dataset.addresses = known.addresses.length;
  $("close-all").hidden = !opened.size;
  words();
  colour();
  list();
}

layout.addEventListener("message", ({ data: { scene: number, places, resting } }) => {
  if (number !== sceneNumber || view() === "layers") return;
  scene.items.forEach((item, place) => ([item.x, item.y] = [places[2 * place], places[2 * place + 1]]));
  $("graph").dataset.resting = resting;
  if (sought) picture.centre(sought);
  picture.draw();
});

function begin() {
  opened.clear();
  scene = new Scene();
  Object.assign(picture, { scene, chosen: null, hovered: null, columns: [] });
  picture.fit();
}

function colour() {
  const kind = $("colour").value;
  const known = drawn()?.addresses ?? [];
  Object.assign(picture, painter(kind, known));
  put($("graph-legend"), legend(kind, known), h("span", { class: "key" }, h("span", { class: "swatch ring", "aria-hidden": "true" }), "a network, opened by a click"),
    h("span", { class: "key" }, h("span", { class: "swatch wider", "aria-hidden": "true" }), "seen more often"));
  picture.draw();
}

function words() {
  const size = drawn().addresses.length;
  const boxes = scene.items.filter((item) => !item.address).length;
  const inNetworks = boxes ? ` in ${counted(boxes, "network")} and ${counted(scene.items.length - boxes, "single address").replace("addresss", "addresses")}` : "";
  const what = view() === "layers"
    ? `addresses at their TTLs, of the newest ${count(MOST_TRACES)} results of ${$("from").value}`
    : `addresses, ${graph.pairs.size >= MOST_LINKS ? `the ${count(MOST_LINKS)} most frequent links` : `${count(graph.links.length)} links`}`;
  say($("graph-words"), size ? `${count(size)} ${what}${inNetworks}` : "");
  $("nothing").hidden = size > 0;
  $("graph-legend").hidden = !size;
  if (!size) put($("nothing"), h("strong", null, "No link is known yet."), " The graph grows as soon as a node posts results with traceroutes. ", h("a", { href: here("/") }, "How to send the first one"), ".");
}

function list() {
  if (!$("all").open || !drawn()) return;
  const { addresses } = drawn();
  put($("table"), table("Addresses, those with the most links first", [
    ["Address", (address) => button(address)],
    ["Before it", (address) => count(address.in.length), "number"], ["After it", (address) => count(address.out.length), "number"],
    ["Seen", (address) => `${count(address.count)} ×`, "number"], ["RTT, estimated", (address) => rtt(Math.round(address.rtt)), "number"],
    ["Last seen", (address) => time(iso(address.lastSeen))], ["Nodes", (address) => h("span", { class: "text" }, some([...address.nodes])), "wide"],
  ], hubs(addresses, MOST_ROWS)), addresses.length > MOST_ROWS ? h("p", { class: "quiet" }, `${MOST_ROWS} of ${count(addresses.length)}. `, h("a", { href: here("/links.csv?limit=100000") }, "All links as CSV")) : null);
}

// -- one of them

const some = (names) => (names.length > 5 ? `${names.slice(0, 5).join(", ")} and ${count(names.length - 5)} more` : names.join(", "));
const button = (address) => h("button", { type: "button", class: "plain address", onclick: () => reveal(address) }, address.ip, address.node ? h("span", { class: "quiet" }, ` ${address.node}`) : null);

function tellNothing() {
  say($("details-title"), "An address");
  put($("about"), h("p", { class: "quiet" }, "Select a network in the graph to open it, or an address to see what is known of it."));
}

/** Tell of an item, and open it when it is a network and `isOpen`. */
function about(item, isOpen = false) {
  sought = null;
  chosen = item?.address ?? null;
  history.replaceState(null, "", `${location.pathname}${location.search}${chosen ? `#${encodeURIComponent(chosen.key)}` : ""}`);
  if (!item) return tellNothing();
  if (item.address) return aboutAddress(item);
  const { key, members } = item;
  const close = h("button", { type: "button", onclick: () => toggle(key) }, opened.has(key) ? "Close it" : "Open it");
  say($("details-title"), key);
  $("details-title").className = "address";
  put($("about"), h("p", null, `${counted(members.length, "address").replace("addresss", "addresses")} of this network answered. `, close), membersOf(members));
  if (isOpen && !opened.has(key)) toggle(key);
}

function membersOf(members) {
  const shown = hubs(members, 30);
  return h("div", null, h("h3", null, "Those with the most links"), h("ul", null, shown.map((address) =>
    h("li", null, button(address), h("span", { class: "quiet" }, rtt(Math.round(address.rtt)))))),
    members.length > shown.length ? h("p", { class: "quiet" }, `and ${count(members.length - shown.length)} more`) : null);
}

/** Open a network, or close it. */
function toggle(key) {
  if (!opened.delete(key)) opened.add(key);
  for (const element of $("about").querySelectorAll("button:not(.plain)")) element.textContent = opened.has(key) ? "Close it" : "Open it";
  show(STIR);
}

function neighbours(title, links, end) {
  if (!links.length) return null;
  const sorted = [...links].sort((one, other) => other.count - one.count);
  return h("div", null, h("h3", null, title), h("ul", null, sorted.slice(0, 12).map((link) =>
    h("li", null, button(drawn().addresses[link[end]]),
      h("span", { class: "quiet" }, `${count(link.count)} ×${link.difference ? `, ${link.difference >= 0 ? "+" : ""}${rtt(link.difference)}` : ""}`)))),
    sorted.length > 12 ? h("p", { class: "quiet" }, `and ${count(sorted.length - 12)} more`) : null);
}

async function aboutAddress({ address, within }) {
  say($("details-title"), address.ip);
  $("details-title").className = "address";
  const hop = await ask(`/hops/${encodeURIComponent(address.ip)}`, { limit: 200 }).catch(() => null);
  if (chosen !== address) return;
  const fact = (name, ...words) => [h("dt", null, name), h("dd", null, words)];
  put($("about"),
    h("dl", null,
      address.node
        ? [fact("Of", h("span", { class: "text" }, address.node)), fact("Private", "each node has its own machine with this address")]
        : hop && [fact("Seen", `${count(hop.seen)} times as a hop`), fact("First", time(hop.first_seen)),
            fact("Last", time(hop.last_seen), " (", since(hop.last_seen), ")"), hop.name && fact("Name", h("span", { class: "text" }, hop.name)), hop.asn != null && fact("Network", h("span", { class: "text" }, system(hop.asn, hop.as_name))), fact("By", h("span", { class: "text", title: hop.nodes.join(", ") }, some(hop.nodes)))],
      address.node && fact("Last", since(iso(address.lastSeen))),
      fact("RTT", `about ${rtt(Math.round(address.rtt))} ${view() === "layers" ? `at TTL ${address.ttl}` : "from the first hop"}`)),
    h("p", null, h("a", { href: here(`/targets/${encodeURIComponent(address.ip)}`) }, "Its page as a target")),
    within ? h("p", null, h("button", { type: "button", onclick: () => toggle(within) }, `Close ${within}`)) : null,
    neighbours("Before it", address.in, "a"), neighbours("After it", address.out, "b"),
    !address.node && hop?.targets.length ? h("div", null, h("h3", null, `Targets behind it (${count(hop.targets.length)}${hop.targets.length >= 200 ? " or more" : ""})`), h("ul", null, hop.targets.slice(0, 12).map((target) =>
      h("li", null, targetLink(target.ip), h("span", { class: "quiet" }, `${count(target.count)} ×`))))) : null);
}

/** Open what hides an address, choose it, and keep it in the middle while the layout moves. */
function reveal(address) {
  for (let item = scene.of(address); item && item.address !== address; item = scene.of(address)) {
    opened.add(item.key);
    show(STIR);
  }
  const item = scene.of(address);
  picture.pick(item);
  picture.centre(item);
  sought = item;
}

/** Find an address; one that is not among the drawn links is brought with its neighbours. Whether it is known. */
async function find(text) {
  const own = view() === "layers" && traced?.addresses.find(({ key, ip }) => key === text || ip === text);
  if (own) return reveal(own) ?? true;
  if (view() === "layers") look("networks");
  if (!graph.get(text)) {
    if (!isAddress(text)) return false;
    const { links } = await ask("/links", { ip: text, limit: BESIDE });
    graph.merge(links, Infinity);
    graph.estimate();
    show(STIR);
  }
  const address = graph.get(text);
  if (address) reveal(address);
  return Boolean(address);
}

// -- what is asked

async function askLinks() {
  const mine = graph;
  const isWhole = mine.links.length < SMALL || performance.now() - wholeAt > WHOLE_EVERY_MS;
  const isFirst = mine.links.length === 0;
  const from = isWhole || mine.newest == null ? {} : { since: iso(at(mine.newest) - 60_000) };
  let shownAt = isFirst ? -Infinity : performance.now();
  let came = false;
  for await (const links of rows("/links", { limit: MOST_LINKS, min_count: least, ...from })) {
    if (mine !== graph) return;
    mine.merge(links, MOST_LINKS);
    came ||= links.length > 0;
    if (isFirst && links.length && view() !== "layers" && performance.now() - shownAt > SHOWN_EVERY_MS) {
      mine.estimate();
      show();
      shownAt = performance.now();
    }
  }
  mine.estimate();
  put($("addresses"), mine.addresses.slice(0, 300).map(({ key }) => h("option", { value: key })));
  if (view() !== "layers") show();
  if (isWhole) [wholeAt, isKnown] = [performance.now(), came];
}

async function askTraces() {
  const node = $("from").value;
  if (!node || performance.now() - tracedAt < TRACES_EVERY_MS) return;
  const results = await ask("/recent", { node, include: "traceroute", limit: MOST_TRACES });
  if (node !== $("from").value || view() !== "layers") return;
  tracedAt = performance.now();
  traced = layered(results, node);
  show();
}

async function askNodes() {
  const { nodes } = await ask("/nodes");
  const asked = chosenOf("node");
  put($("from"), nodes.map(({ node }) => h("option", { value: node, selected: node === asked }, node)));
}

/** What stands in the address is gone to once it can be. */
let wanted = decodeURIComponent(location.hash.slice(1));
const refresh = refreshing(async () => {
  await (view() === "layers" ? askTraces() : askLinks()).catch((problem) => {
    say($("graph-words"), `The graph is not up to date: ${problem.message}.`);
    throw problem;
  });
  if (!wanted || !drawn()?.addresses.length) return;
  const text = wanted;
  wanted = "";
  if (!chosen) await find(text);
}, 2500);

/** Look at it in another way. */
function look(how) {
  const isLayered = how === "layers";
  $("view").value = how;
  $("from-label").hidden = !isLayered;
  $("least-label").hidden = isLayered;
  choose({ node: isLayered ? $("from").value : null }, "replace");
  tracedAt = -Infinity;
  traced = null;
  begin();
  picture.pick(null);
  show();
}

async function lookAnew() {
  if (view() === "layers" && !$("from").options.length) await askNodes().catch(() => {});
  look(view());
  refresh.soon();
}

$("view").addEventListener("change", lookAnew);
$("from").addEventListener("change", lookAnew);
$("colour").addEventListener("change", colour);
$("least").addEventListener("change", () => {
  least = Number($("least").value);
  graph = new Graph();
  [isKnown, wholeAt] = [false, -Infinity];
  begin();
  refresh.soon();
});
$("find").addEventListener("change", async () => {
  const ip = $("find").value.trim();
  const isFound = !ip || (await find(ip).catch(() => false));
  $("find").setCustomValidity(isFound ? "" : "No link of this address is known");
  $("find").reportValidity();
});
$("find").addEventListener("input", () => $("find").setCustomValidity(""));
for (const name of ["pointerdown", "wheel"]) $("graph").addEventListener(name, () => (sought = null), { passive: true });
$("in").addEventListener("click", () => picture.zoomBy(1.4));
$("out").addEventListener("click", () => picture.zoomBy(1 / 1.4));
$("fit").addEventListener("click", () => picture.fit());
$("close-all").addEventListener("click", () => {
  opened.clear();
  picture.pick(null);
  picture.fit();
  show(STIR);
});
$("all").addEventListener("toggle", list);

if (chosenOf("node") !== null) {
  $("view").value = "layers";
  await lookAnew();
} else {
  words();
  refresh();
}
onResults(refresh);
