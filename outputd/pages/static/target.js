/** A target: round-trip times, losses and routes over time, by node. */

import { ask, refreshing } from "./ask.js";
import { besides } from "./beside.js";
import { choose, chosen, onChoice } from "./chosen.js";
import { $, drawn, h, nodeLink, put, say, since, table, tile, time } from "./dom.js";
import { onResults } from "./frame.js";
import { ways } from "./hops.js";
import { label, labelsOf } from "./label.js";
import { changeList } from "./marks.js";
import { fill } from "./parts.js";
import { here } from "./place.js";
import { range } from "./range.js";
import { rangeBar } from "./rangebar.js";
import { routesByNode } from "./routes.js";
import { byNode, drawSeries } from "./series.js";
import { drawStrip } from "./strip.js";
import { at, count, counted, iso, now, percent, rtt, span } from "./units.js";

const { ip } = document.body.dataset;
const OLD_MS = 50_000;
const REST = 10; // times as long as the charts took to be asked for: many nodes and a crowd of results cost no more than few
const WEEK_MS = 604_800_000;
const MOST_PANELS = 6;
const MOST_CHANGES = 200;
const state = { askedAt: 0, tookMs: 0, target: null, view: null, series: null, changes: [], paths: null, nodes: [], recent: [] };

$("ip").textContent = ip;
$("on-map").href = here(`/topology#${encodeURIComponent(ip)}`);

// -- figures

/** The round-trip time of a result, none of one that nothing has answered, whatever its node has written there. */
const rttOf = (result) => (result.received ? rtt(result.avg_rtt) : "none");

function showFigures() {
  const target = state.target;
  $("nothing").hidden = Boolean(target);
  for (const card of document.querySelectorAll("main .card")) card.hidden = !target;
  if (!target) {
    put($("nothing"), h("strong", null, "This address has not been measured yet."),
      " The page fills as soon as a node posts a result about it. It may still be known as a hop: ", h("a", { href: here(`/topology#${encodeURIComponent(ip)}`) }, "look in the topology"), ".");
    put($("tiles"));
    return;
  }
  put($("label"), label(target));
  const [last] = state.recent;
  put($("tiles"),
    tile("Last round-trip time", last ? rttOf(last) : "–", last ? ["measured ", since(last.timestamp), " by ", nodeLink(last.node)] : null),
    tile("Loss", percent(target.loss_percent), `${count(target.lost)} of ${count(target.sent)} packets lost`),
    tile("Results", count(target.results), `${count(target.failed)} without any reply`),
    tile("First measured", since(target.first_seen), time(target.first_seen)),
    tile("Nodes", count(target.nodes.length), h("span", { class: "text" }, target.nodes.slice(0, 5).join(", ") + (target.nodes.length > 5 ? "…" : ""))),
  );
}

// -- over time

/** All that is known of the target: up to now while results come, else up to the last one. */
function whole() {
  if (!state.target) return { from: now() - WEEK_MS, to: now() };
  const last = at(state.target.last_seen);
  const to = now() - last < 2 * 86_400_000 ? Math.max(now(), last + 1000) : last + 1000;
  return { from: to - Math.max(60_000, (to - at(state.target.first_seen)) * 1.02), to };
}

/** What is shown: the range that is chosen, else all, or the last week of it. */
function view() {
  const { from, to } = range() ?? { from: Math.max(whole().from, whole().to - WEEK_MS), to: whole().to };
  return { since: from, until: to };
}
const showRange = rangeBar($("range"), { whole });

function showChoices() {
  showRange({ from: state.view.since, to: state.view.until });
  const nodes = state.target?.nodes ?? [];
  $("chosen-nodes").hidden = nodes.length < 2 && chosenNode() == null;
  $("all-nodes").hidden = chosenNode() == null;
  $("node").placeholder = `All ${nodes.length} nodes`;
  if (document.activeElement !== $("node")) $("node").value = chosenNode() ?? "";
  const key = JSON.stringify(nodes);
  if ($("node-names").dataset.key === key) return;
  $("node-names").dataset.key = key;
  put($("node-names"), nodes.map((node) => h("option", { value: node })));
}

/** The node that is shown alone, null for all of them. */
const chosenNode = () => chosen("node") || null;

/** Show one node alone, or all of them. */
const chooseNode = (name) => choose({ node: name });

$("node").addEventListener("input", ({ target: { value } }) => {
  if (state.target?.nodes.includes(value)) chooseNode(value);
  else if (!value && chosenNode()) chooseNode(null);
});
$("all-nodes").addEventListener("click", () => {
  chooseNode(null);
  $("node").focus();
});

// -- routes

function drawRoutes(width) {
  if (!state.paths) return;
  const all = state.nodes;
  const shown = all.slice(0, MOST_PANELS);
  if (!all.length) {
    put($("strips"), h("p", { class: "empty" }, "No traceroute of this time has been stored."));
    say($("routes-words"), "");
    put($("paths"), h("p", { class: "empty" }, "There is no path to compare."));
    put($("ways"), h("p", { class: "empty" }, "There is no path to show."));
    say($("ways-node"), "");
    return;
  }
  const { since: from, until } = state.view;
  const isCut = state.paths.timeline.length < state.paths.paths.reduce((sum, path) => sum + path.count, 0) || !state.paths.complete;
  const readFrom = isCut ? Math.max(from, Math.min(...state.paths.timeline.map(([text]) => at(text)))) : from;
  const frame = { since: from, until, readFrom, bucketMs: (state.series?.bucket_s ?? 0) * 1000 };
  const changesOf = (node) => state.changes.filter((change) => change.node === node && change.kind === "route_changed");
  const places = shown.map(() => h("div", { class: "picture" }));
  put($("strips"), shown.map((route, index) => h("figure", null,
    h("figcaption", null, h("span", { class: "text" }, route.node), h("span", { class: "quiet" }, ` · ${counted(route.routes.length, "route")}`)), places[index])));
  const changes = shown.map((route, index) => drawStrip(places[index], route.traces, { ...frame, changes: changesOf(route.node) }, width, route.node)).reduce((sum, value) => sum + value, 0);
  say($("routes-words"), `${counted(changes, "change")} in ${isCut ? `the newest ${count(state.paths.timeline.length)} traceroutes; for older ones choose a time that ends earlier` : "this time"}. A colour and a letter stand for a route; what differs only by silent hops is the same one.${all.length > shown.length ? ` ${counted(all.length - shown.length, "more node")}: choose one above.` : ""}`);
  drawPaths(all, labelsOf(state.paths.paths, []));
}

function drawPaths(all, labels) {
  put($("paths"), all.slice(0, MOST_PANELS).map((node, index) => h("details", { open: index === 0 },
    h("summary", null, h("span", { class: "text" }, node.node), h("span", { class: "quiet" }, ` · ${counted(node.routes.length, "route")}, ${counted(node.count, "traceroute")}`)),
    besides(node, labels))));
}

// -- newest

function showRecent(results) {
  put($("recent"), results.length
    ? [table("Newest results, by arrival", [
        ["Measured", (result) => since(result.timestamp)], ["Node", (result) => nodeLink(result.node)], ["RTT", rttOf, "number"],
        ["Loss", (result) => percent(result.packet_loss), "number"], ["Replies", (result) => `${count(result.received)} of ${count(result.sent)}`, "number"],
        ["Error", (result) => h("span", { class: "text" }, result.error ?? ""), "wide"],
        [h("span", { class: "unseen" }, "Whole"), (result) => h("a", { href: here(`/results/${result.id}`), "aria-label": `Result ${result.id} in full, as JSON` }, "JSON")],
      ], results)]
    : h("p", { class: "quiet" }, "None yet."));
}

const redrawSeries = drawn($("smoke"), (width) => state.series && drawSeries($("smoke"), state.series, state.changes, width, chooseNode));
const redrawRoutes = drawn($("strips"), drawRoutes);

async function askTarget() {
  const { targets } = await ask("/targets", { ip, limit: 1 });
  state.target = targets[0] ?? null;
  showFigures();
}

async function askSeries(one, changes) {
  const { since: from, until } = state.view;
  const series = await ask("/series", { ip, since: iso(from), until: iso(until), ...one });
  await Promise.allSettled([changes]); // which are marked on it
  state.series = series;
  redrawSeries();
}

async function askChanges(one) {
  const { since: from, until } = state.view;
  const { changes } = await ask("/changes", { ip, limit: MOST_CHANGES, since: iso(from), until: iso(until), ...one });
  state.changes = changes;
  put($("changes"), changeList(changes));
}

async function askPaths(one, series) {
  const { since: from, until } = state.view;
  const paths = await ask("/paths", { ip, since: iso(from), until: iso(until), ...one });
  await Promise.allSettled([series]); // whose buckets say how long a piece of a strip is at least
  state.paths = paths;
  state.nodes = ordered(routesByNode(paths));
  redrawRoutes();
}

/** Nodes in the order of the charts. */
function ordered(nodes) {
  const places = new Map(byNode(state.series?.buckets ?? [], state.changes).map(([node], place) => [node, place]));
  const placeOf = ({ node }) => places.get(node) ?? Infinity;
  return nodes.sort((one, other) => placeOf(one) - placeOf(other) || 0);
}

/** The way of the node that is chosen, or of that which loses most. */
async function askWays(paths) {
  await Promise.allSettled([paths]);
  const [node] = state.nodes;
  if (!node) return;
  const { hops } = await ask("/trace", { ip, node: node.node, since: iso(state.view.since), until: iso(state.view.until) });
  say($("ways-node"), `${node.node}${state.nodes.length > 1 ? " (choose another above)" : ""}`);
  ways($("ways"), node, hops, labelsOf(state.paths.paths, hops), ip);
}

async function askRecent(one) {
  state.recent = await ask("/recent", { ip, limit: 10, include: "node", ...one });
  showRecent(state.recent);
  if (state.target) showFigures(); // of which the last round-trip time is one
}

const refresh = refreshing(async () => {
  const failure = await fill([[$("tiles"), askTarget]]).catch((problem) => problem);
  state.view = view();
  showChoices();
  if (!state.target && !failure) {
    showRecent([]);
    return;
  }
  state.askedAt = Date.now();
  const one = chosenNode() ? { node: chosenNode() } : {};
  const changes = askChanges(one);
  const series = askSeries(one, changes);
  const paths = askPaths(one, series);
  await fill([[$("smoke"), () => series], [$("changes"), () => changes], [$("strips"), () => paths], [$("ways"), () => askWays(paths)], [$("recent"), () => askRecent(one)]]);
  state.tookMs = Date.now() - state.askedAt;
  if (failure) throw failure;
}, 2000);

/** When a result about this target has come, ask for the figures again, and for the charts if they have rested; in a while for all. */
const look = refreshing(async () => {
  const one = chosenNode() ? { node: chosenNode() } : {};
  const [newest] = await ask("/recent", { ip, limit: 1, ...one });
  const counted = state.target && newest && at(state.target.last_seen) >= Math.min(at(newest.timestamp), now());
  const ageMs = Date.now() - state.askedAt;
  const isNew = newest?.id !== state.recent[0]?.id || !counted;
  if (ageMs > OLD_MS || (isNew && ageMs > REST * state.tookMs)) refresh();
  else if (isNew) await fill([[$("tiles"), askTarget], [$("recent"), () => askRecent(one)]]);
}, 1500);

refresh();
onResults(look);
onChoice(() => refresh.soon());
