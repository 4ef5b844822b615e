/** A target: round-trip times, losses and routes over time, by node. */

import { ask, refreshing } from "./ask.js";
import { lossPlace } from "./axes.js";
import { besides } from "./beside.js";
import { $, choice, drawn, h, put, say, since, table, tile, time } from "./dom.js";
import { onResults } from "./frame.js";
import { labelsOf, ways } from "./hops.js";
import { fill } from "./parts.js";
import { here } from "./place.js";
import { routesByNode } from "./routes.js";
import { ceiling, drawSmoke, smokeLegend } from "./smoke.js";
import { drawStrip } from "./strip.js";
import { at, count, counted, iso, now, percent, rtt, span } from "./units.js";

const { ip } = document.body.dataset;
const OLD_MS = 50_000;
const WEEK_S = 604_800;
const MOST_PANELS = 6;
const state = { spanS: null, node: null, allPanels: false, target: null, view: null, series: null, paths: null, nodes: [], recent: [] };

$("ip").textContent = ip;
$("on-map").href = here(`/topology#${encodeURIComponent(ip)}`);
put($("smoke-legend"), smokeLegend());

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
  const [last] = state.recent;
  put($("tiles"),
    tile("Last round-trip time", last ? rttOf(last) : "–", last ? ["measured ", since(last.timestamp), " by ", h("span", { class: "text" }, last.node)] : null),
    tile("Loss", percent(target.loss_percent), `${count(target.lost)} of ${count(target.sent)} packets lost`),
    tile("Results", count(target.results), `${count(target.failed)} without any reply`),
    tile("First measured", since(target.first_seen), time(target.first_seen)),
    tile("Nodes", count(target.nodes.length), h("span", { class: "text" }, target.nodes.slice(0, 5).join(", ") + (target.nodes.length > 5 ? "…" : ""))),
  );
}

// -- over time

/** What is shown: up to now while results come, else up to the last one; a week while nothing is known of the target. */
function view() {
  if (!state.target) return { since: now() - (state.spanS || WEEK_S) * 1000, until: now() };
  const last = at(state.target.last_seen);
  const until = now() - last < 2 * 86_400_000 ? Math.max(now(), last + 1000) : last + 1000;
  const first = at(state.target.first_seen);
  if (state.spanS == null) state.spanS = until - first > WEEK_S * 1000 ? WEEK_S : 0;
  const spanMs = state.spanS ? state.spanS * 1000 : Math.max(60_000, (until - first) * 1.02);
  return { since: until - spanMs, until };
}

function showChoices() {
  for (const button of $("span").querySelectorAll("button")) button.setAttribute("aria-pressed", Number(button.dataset.span) === state.spanS);
  const nodes = state.target?.nodes ?? [];
  $("chosen-nodes").hidden = nodes.length < 2;
  const key = JSON.stringify(nodes);
  if ($("chosen-nodes").dataset.key === key) return;
  $("chosen-nodes").dataset.key = key;
  put($("chosen-nodes"), [null, ...nodes].map((node) =>
    h("button", { type: "button", "aria-pressed": String(node === state.node), onclick: (event) => chooseNode(node, event.currentTarget) }, node ?? "All nodes")));
}

function chooseNode(node, button) {
  state.node = node;
  for (const other of $("chosen-nodes").children) other.setAttribute("aria-pressed", other === button);
  refresh.soon();
}

choice($("span"), (seconds) => {
  state.spanS = Number(seconds);
  refresh.soon();
});

/** Nodes with their buckets, those that lose most first: by the colours of loss, so that noise does not change the order. */
function byNode(buckets) {
  const found = new Map();
  for (const bucket of buckets) {
    if (!found.has(bucket.node)) found.set(bucket.node, []);
    found.get(bucket.node).push(bucket);
  }
  const total = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);
  const place = (rows) => lossPlace((100 * total(rows, "lost")) / (total(rows, "sent") || 1));
  return [...found].sort(([, one], [, other]) => place(other) - place(one) || other.length - one.length || (one[0].node < other[0].node ? -1 : 1));
}

function drawSeries(width) {
  if (!state.series) return;
  const { series } = state;
  const panels = byNode(series.buckets);
  const shown = state.allPanels ? panels : panels.slice(0, MOST_PANELS);
  const frame = {
    since: at(series.since), until: at(series.until), bucketMs: series.bucket_s * 1000,
    most: ceiling(shown.flatMap(([, buckets]) => buckets)),
  };
  if (!panels.length) {
    put($("smoke"), h("p", { class: "empty" }, "No result in this time. Choose a longer one."));
    return;
  }
  const places = shown.map(([node]) => h("div", { class: "picture" }));
  put($("smoke"), shown.map(([node, buckets], index) => h("figure", null,
    h("figcaption", null, h("span", { class: "text" }, node), h("span", { class: "quiet" }, ` · ${counted(buckets.reduce((sum, bucket) => sum + bucket.count, 0), "result")}, buckets of ${span(series.bucket_s)}`)),
    places[index])),
    panels.length > shown.length ? h("button", { type: "button", onclick: () => { state.allPanels = true; drawSeries(width); } }, `Show ${panels.length - shown.length} more nodes`) : null,
    h("details", null, h("summary", null, "As a table"), seriesTable(series.buckets)));
  shown.forEach(([node, buckets], index) => drawSmoke(places[index], buckets, frame, width, node));
}

function seriesTable(buckets) {
  const shown = buckets.slice(-500).reverse();
  return table("Round-trip times and losses, newest first", [
    ["From", (bucket) => time(bucket.start)], ["Node", (bucket) => bucket.node], ["Results", (bucket) => count(bucket.count), "number"],
    ["Loss", (bucket) => percent(bucket.loss_percent), "number"], ["Least", (bucket) => rtt(bucket.rtt_min_ns), "number"],
    ["Median", (bucket) => rtt(bucket.rtt_p50_ns), "number"], ["90 %", (bucket) => rtt(bucket.rtt_p90_ns), "number"], ["Most", (bucket) => rtt(bucket.rtt_max_ns), "number"],
  ], shown);
}

// -- routes

function drawRoutes(width) {
  if (!state.paths) return;
  const all = state.nodes;
  const shown = state.allPanels ? all : all.slice(0, MOST_PANELS);
  if (!all.length) {
    put($("strips"), h("p", { class: "empty" }, "No traceroute to this target has been stored."));
    say($("routes-words"), "");
    put($("paths"), h("p", { class: "empty" }, "There is no path to compare."));
    put($("ways"), h("p", { class: "empty" }, "There is no path to show."));
    say($("ways-node"), "");
    return;
  }
  const { since: from, until } = state.view;
  const isCut = state.paths.timeline.length < state.paths.paths.reduce((sum, path) => sum + path.count, 0) || !state.paths.complete;
  const oldest = Math.min(...state.paths.timeline.map(([text]) => at(text)));
  const frame = { since: isCut ? Math.max(from, Math.min(oldest, until - 60_000)) : from, until, bucketMs: (state.series?.bucket_s ?? 0) * 1000 };
  const places = shown.map(() => h("div", { class: "picture" }));
  put($("strips"), shown.map((route, index) => h("figure", null,
    h("figcaption", null, h("span", { class: "text" }, route.node), h("span", { class: "quiet" }, ` · ${counted(route.routes.length, "route")}`)), places[index])));
  const changes = shown.map((route, index) => drawStrip(places[index], route.traces, frame, width, route.node)).reduce((sum, value) => sum + value, 0);
  say($("routes-words"), `${counted(changes, "change")} in ${isCut ? `the newest ${count(state.paths.timeline.length)} traceroutes` : "this time"}. A colour and a letter stand for a route; what differs only by silent hops is the same one.`);
  drawPaths(all, labelsOf(state.paths.paths));
}

function drawPaths(all, labels) {
  put($("paths"), all.slice(0, state.allPanels ? 100 : MOST_PANELS).map((node, index) => h("details", { open: index === 0 },
    h("summary", null, h("span", { class: "text" }, node.node), h("span", { class: "quiet" }, ` · ${counted(node.routes.length, "route")}, ${counted(node.count, "traceroute")}`)),
    besides(node, labels))));
}

// -- newest

function showRecent(results) {
  put($("recent"), results.length
    ? [table("Newest results, by arrival", [
        ["Measured", (result) => since(result.timestamp)], ["Node", (result) => h("span", { class: "text" }, result.node)], ["RTT", rttOf, "number"],
        ["Loss", (result) => percent(result.packet_loss), "number"], ["Replies", (result) => `${count(result.received)} of ${count(result.sent)}`, "number"],
        ["Error", (result) => h("span", { class: "text" }, result.error ?? ""), "wide"],
        [h("span", { class: "unseen" }, "Whole"), (result) => h("a", { href: here(`/results/${result.id}`), "aria-label": `Result ${result.id} in full, as JSON` }, "JSON")],
      ], results)]
    : h("p", { class: "quiet" }, "None yet."));
}

const redrawSeries = drawn($("smoke"), drawSeries);
const redrawRoutes = drawn($("strips"), drawRoutes);

async function askTarget() {
  const { targets } = await ask("/targets", { ip, limit: 1 });
  state.target = targets[0] ?? null;
  showFigures();
}

async function askSeries(chosen) {
  const { since: from, until } = state.view;
  state.series = await ask("/series", { ip, since: iso(from), until: iso(until), ...chosen });
  redrawSeries();
}

async function askPaths(chosen, series) {
  const paths = await ask("/paths", { ip, ...chosen });
  await Promise.allSettled([series]); // whose buckets say how long a piece of a strip is at least
  state.paths = paths;
  state.nodes = ordered(routesByNode(paths));
  redrawRoutes();
}

/** Nodes in the order of the charts. */
function ordered(nodes) {
  const places = new Map(byNode(state.series?.buckets ?? []).map(([node], place) => [node, place]));
  const placeOf = ({ node }) => places.get(node) ?? Infinity;
  return nodes.sort((one, other) => placeOf(one) - placeOf(other) || 0);
}

/** The way of the node that is chosen, or of that which loses most. */
async function askWays(paths) {
  await Promise.allSettled([paths]);
  const [node] = state.nodes;
  if (!node) return;
  const { hops } = await ask("/trace", { ip, node: node.node, since: iso(state.view.since), until: iso(state.view.until) });
  say($("ways-node"), node.node);
  ways($("ways"), node, hops, labelsOf(state.paths.paths), ip);
}

async function askRecent(chosen) {
  state.recent = await ask("/recent", { ip, limit: 10, include: "node", ...chosen });
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
  const chosen = state.node ? { node: state.node } : {};
  const series = askSeries(chosen);
  const paths = askPaths(chosen, series);
  await fill([[$("smoke"), () => series], [$("strips"), () => paths], [$("ways"), () => askWays(paths)], [$("recent"), () => askRecent(chosen)]]);
  if (failure) throw failure;
}, 2000);

/** Ask for all again only when a result about this target has come, or the view is old. */
const look = refreshing(async () => {
  const [newest] = await ask("/recent", { ip, limit: 1, ...(state.node ? { node: state.node } : {}) });
  const counted = state.target && newest && at(state.target.last_seen) >= Math.min(at(newest.timestamp), now());
  if (newest?.id !== state.recent[0]?.id || !counted || Date.now() - state.askedAt > OLD_MS) refresh();
}, 1500);

refresh();
onResults(look);
