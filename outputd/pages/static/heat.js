/** The heat map: loss or round-trip time of all targets over time, the worst first; each cell leads to its target. */

import { refreshing, rows } from "./ask.js";
import { lossKeys, lossPlace, timeAxis } from "./axes.js";
import { choose, chosen, onChoice } from "./chosen.js";
import { $, drawn, h, put, s, say, table, targetLink } from "./dom.js";
import { onResults } from "./frame.js";
import { cellAt, HeatMap } from "./heatmap.js";
import { fill } from "./parts.js";
import { here } from "./place.js";
import { bucketOf, range } from "./range.js";
import { rangeBar } from "./rangebar.js";
import { count, counted, iso, local, now, percent, rtt, span } from "./units.js";

const DAY_MS = 86_400_000;
const LEAST_PX = 8;
const MOST_CELLS = 1_000_000;
const IN_TABLE = 100;
const AGAIN_MS = 60_000;
const RISES = [10, 25, 50, 100, 200];
const RISE_WORDS = [...RISES.map((most) => `up to ${most} % above`), "more"];
const state = { all: [], shown: [], view: null, askedAt: -Infinity, isWhole: true, isAsked: false };

// -- what a cell is

/** A row of the answer, with its cells in flat lists. */
function rowOf(target) {
  const { cells, ...more } = target;
  return {
    ...more, size: cells.length,
    places: Uint16Array.from(cells, ([place]) => place), sent: Float64Array.from(cells, ([, sent]) => sent),
    lost: Float64Array.from(cells, ([, , lost]) => lost), rtts: Float64Array.from(cells, ([, , , ns]) => ns ?? NaN),
  };
}

const lossOf = (row, cell) => (row.sent[cell] ? Math.min(100, (100 * row.lost[cell]) / row.sent[cell]) : 100);
const riseOf = (row, cell) => 100 * (row.rtts[cell] / row.rtt_ns - 1);
const measure = () => (chosen("measure") === "rtt" ? "rtt" : "loss");

function paint(row, cell) {
  if (measure() === "loss" || Number.isNaN(row.rtts[cell])) {
    const place = measure() === "loss" ? lossPlace(lossOf(row, cell)) : 6;
    return { ink: `--loss-${place}`, tall: 0.12 + (0.88 * place) / 6, isHollow: measure() === "rtt" };
  }
  const step = RISES.findIndex((most) => riseOf(row, cell) <= most);
  const place = step < 0 ? RISES.length : step;
  return { ink: `--rtt-${place}`, tall: 0.12 + (0.68 * place) / RISES.length };
}

const beginOf = (place) => state.view.start + place * state.view.bucketMs;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

function lines(row, place) {
  const cell = cellAt(row, place);
  const found = [row.name ? `${row.ip} ${row.name}` : row.ip, `${local(beginOf(place))} to ${clock.format(beginOf(place + 1))}`];
  if (cell < 0) return [...found, "no result"];
  found.push(`${percent(lossOf(row, cell))} loss, ${count(row.lost[cell])} of ${counted(row.sent[cell], "packet")}`);
  if (Number.isNaN(row.rtts[cell])) return [...found, "no reply"];
  const rise = Math.round(riseOf(row, cell));
  return [...found, `RTT ${rtt(row.rtts[cell])}, ${rise ? `${count(Math.abs(rise))} % ${rise < 0 ? "below" : "above"}` : "at"} its median of ${rtt(row.rtt_ns)}`];
}

function href(row, place) {
  const [from, to] = [beginOf(place), beginOf(place + 1)].map(iso);
  return `${here(`/targets/${encodeURIComponent(row.ip)}`)}?${new URLSearchParams({ from, to })}`;
}

/** What stands beside an address: that by which the rows are sorted. */
function value(row) {
  const sort = chosen("sort") ?? "loss_percent";
  if (sort === "rtt_rise_percent") return row.rtt_rise_percent === null ? "no reply" : `+${percent(row.rtt_rise_percent)}`;
  if (sort === "ip" && measure() === "rtt") return rtt(row.rtt_ns);
  return percent(sort === "ip" ? row.loss_percent : row[sort]);
}

function label(row) {
  const link = targetLink(row.ip);
  link.title = [row.ip, row.name, row.as_name].filter(Boolean).join("\n");
  link.tabIndex = -1;
  return [link, h("span", { class: row.loss_percent >= 50 ? "warned" : "quiet" }, value(row))];
}

const map = new HeatMap($("grid"), { label, href, lines, paint }, "grid-help");

// -- what is shown

function legend() {
  const key = (ink, words, tall, isHollow = false) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    Object.assign(swatch.style, isHollow ? { border: `2px solid var(${ink})`, height: `${tall}px` } : { background: `var(${ink})`, height: `${tall}px` });
    return h("span", { class: "key" }, swatch, words);
  };
  put($("heat-legend"), measure() === "loss"
    ? lossKeys("Loss, the more the taller:")
    : [h("span", { class: "key" }, "RTT against the target's median, the higher the taller:"), RISE_WORDS.map((words, place) => key(`--rtt-${place}`, words, 3 + 2 * place)), key("--loss-6", "no reply", 15, true)]);
}

const redrawAxis = drawn($("heat-axis"), (width) => {
  if (!state.view) return;
  const { left, width: wide } = map.box;
  const { start, bucketMs, buckets } = state.view;
  const svg = s("svg", { width, height: 24, "aria-hidden": "true" }, timeAxis(start, start + buckets * bucketMs, { left, right: Math.min(width, left + wide), top: 2, bottom: 4 }));
  put($("heat-axis"), svg);
});

const wanted = () => ($("filter").value ?? "").trim().toLowerCase();
const isNetwork = (text) => text.includes("/");

function show() {
  const text = wanted();
  const has = (row) => [row.ip, row.name, row.as_name].some((value) => value?.toLowerCase().includes(text));
  state.shown = text && !isNetwork(text) ? state.all.filter(has) : state.all;
  map.show(state.shown, state.view.buckets);
  redrawAxis();
  list();
  if (!state.isAsked) return say($("heat-words"), state.all.length ? `${counted(state.all.length, "target")} so far…` : "Asking…");
  const dead = state.shown.filter((row) => row.loss_percent === 100).length;
  const most = state.isWhole ? "" : "the first of more; ask for less time or a network. ";
  say($("heat-words"), state.shown.length
    ? `${counted(state.shown.length, "target")}, ${most}${dead ? `${count(dead)} without any reply; ` : ""}a cell is ${span(state.view.bucketMs / 1000)}. Select one to see its target at that time.`
    : text ? "No target matches." : "No result in this time. Choose a longer one.");
}

function list() {
  if (!$("all").open) return;
  const some = state.shown.slice(0, IN_TABLE);
  put($("heat-table"), table("Targets, in the order of the heat map", [
    ["Target", (row) => targetLink(row.ip)], ["Results", (row) => count(row.results), "number"], ["Loss", (row) => percent(row.loss_percent), "number"],
    ["Loss at the end", (row) => percent(row.last_loss_percent), "number"], ["Median RTT", (row) => rtt(row.rtt_ns), "number"],
    ["Highest above it", (row) => percent(row.rtt_rise_percent), "number"], ["Cells with loss", (row) => count(row.lost.filter(Boolean).length), "number"],
  ], some), state.shown.length > some.length ? h("p", { class: "quiet" }, `The first ${IN_TABLE} of ${count(state.shown.length)}.`) : null);
}

// -- what is asked

const showRange = rangeBar($("range"), { usualS: DAY_MS / 1000 });

function viewOf({ from, to }) {
  const bucketMs = 1000 * bucketOf(from, to, Math.max(20, Math.min(150, map.box.width / LEAST_PX)));
  const start = Math.floor(from / bucketMs) * bucketMs;
  return { from, to, bucketMs, start, buckets: Math.max(1, Math.ceil((to - start) / bucketMs)) };
}

/** Ask for all, and show them as they come. */
async function askCells() {
  const view = viewOf(range() ?? { from: now() - DAY_MS, to: now() });
  const isNew = !state.view || view.start !== state.view.start || view.buckets !== state.view.buckets || !state.isAsked;
  const limit = Math.floor(MOST_CELLS / (view.buckets + 1));
  const text = wanted();
  const found = [];
  showRange(view);
  state.askedAt = performance.now();
  if (isNew) Object.assign(state, { view, all: found, isAsked: false });
  if (isNew) show();
  const sort = chosen("sort") ?? "loss_percent";
  const asked = { since: iso(view.from), until: iso(view.to), bucket: view.bucketMs / 1000, limit, sort, prefix: isNetwork(text) ? text : null };
  for await (const some of rows("/cells", asked)) {
    const isFirst = !found.length;
    found.push(...some.map(rowOf));
    if (isNew && isFirst) show();
  }
  Object.assign(state, { view, all: found, isAsked: true, isWhole: found.length < limit });
  $("grid").dataset.asked = "true";
  show();
}

async function askOrSay() {
  await askCells().catch((failure) => {
    say($("heat-words"), state.isAsked || !state.all.length ? "" : `${counted(state.all.length, "target")}, not all.`);
    throw failure;
  });
}

const refresh = refreshing(() => fill([[$("grid"), askOrSay]]), 2000);

function showChoices() {
  $("measure").value = measure();
  $("sort").value = chosen("sort") ?? "loss_percent";
  if (document.activeElement !== $("filter")) $("filter").value = chosen("only") ?? "";
  legend();
}

for (const name of ["measure", "sort"]) $(name).addEventListener("change", () => choose({ [name]: $(name).value }));
$("filter").addEventListener("input", () => isNetwork(wanted()) || show());
$("filter").addEventListener("change", () => choose({ only: $("filter").value.trim() }));
$("all").addEventListener("toggle", list);

let last = "";
onChoice(() => {
  showChoices();
  const key = JSON.stringify([location.search.replace(/measure=\w+/, ""), wanted()]);
  if (key === last) show();
  else {
    state.isAsked = false;
    refresh.soon();
  }
  last = key;
});
showChoices();
refresh();
onResults(() => {
  const isOld = performance.now() - state.askedAt > Math.max(AGAIN_MS, (state.view?.bucketMs ?? 0) / 4);
  if (isOld && (range()?.isLive ?? true)) refresh();
});
