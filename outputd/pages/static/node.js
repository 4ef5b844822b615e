/** A node: what it sends, its clock, its targets worst first, what changed for it, and what of it was rejected. */

import { drawArrivals } from "./arrivals.js";
import { ask, askPage, refreshing } from "./ask.js";
import { changeList, chooseKind } from "./changelist.js";
import { choose, chosen, onChoice } from "./chosen.js";
import { $, drawn, h, put, since, table, tile, time } from "./dom.js";
import { onResults } from "./frame.js";
import { clockOffset } from "./nodelist.js";
import { fill } from "./parts.js";
import { here } from "./place.js";
import { bucketOf, range } from "./range.js";
import { rangeBar } from "./rangebar.js";
import { chooseTargets, targetList } from "./targetlist.js";
import { compact, count, iso, now, rate } from "./units.js";

const { node: name } = document.body.dataset;
const REST_MS = 5000;
const ROWS = 10;
const MOST_RAW = 2000;
const HOUR_MS = 3_600_000;
const arrivals = { answer: null };
const showRange = rangeBar($("range"), { usualS: 3600 });

$("name").textContent = name;
$("on-map").href = here(`/topology?node=${encodeURIComponent(name)}`);

async function askNode() {
  const { nodes: [node] } = await ask("/nodes", { node: name, limit: 1 });
  $("nothing").hidden = Boolean(node);
  for (const card of document.querySelectorAll("main .card")) card.hidden = !node;
  put($("tiles"), node ? [
    tile("Last heard", since(node.last_heard), time(node.last_heard)),
    tile("Rate", rate(node.results_per_s), "results, over five minutes"),
    tile("Results", compact(node.results), `in ${count(node.batches)} POSTs`),
    tile("Clock", clockOffset(node.clock_offset_s), "against the collector's, where its results do not wait"),
    tile("Rejected items", compact(node.rejected), node.rejected ? "the newest are below" : "none"),
    tile("First heard", since(node.first_heard), time(node.first_heard)),
  ] : []);
}

const redraw = drawn($("arrivals"), (width) => arrivals.answer && drawArrivals($("arrivals"), arrivals.answer, width));

async function askArrivals() {
  const { from, to } = range() ?? { from: now() - HOUR_MS, to: now() };
  const bucket = bucketOf(from, to);
  showRange({ from, to });
  const begin = Math.floor(from / 1000 / bucket) * bucket; // a minute is where its beginning is
  arrivals.answer = await ask("/arrivals", { node: name, since: iso(begin * 1000), until: iso(to), bucket });
  redraw();
}

/** An item as it was sent, so far as it is read by a person; all of it is a click away. */
function raw({ raw: text }) {
  return text.length <= MOST_RAW ? h("code", { class: "text raw" }, text)
    : h("details", null, h("summary", null, h("code", { class: "text raw" }, text.slice(0, 200), "…")), h("code", { class: "text raw" }, text));
}

async function askRejected() {
  const before = chosen("before");
  const { answer: items, cursor } = await askPage("/rejected", { node: name, limit: ROWS, before });
  const key = JSON.stringify([before, items.map(({ batch, index }) => [batch, index])]);
  if ($("rejected").dataset.key === key) return;
  $("rejected").dataset.key = key;
  put($("rejected"), items.length
    ? [table("Rejected items, the newest first", [
        ["Arrived", (item) => since(item.received_at)],
        ["Field", (item) => h("code", { class: "text" }, item.field || "the item")],
        ["Why", (item) => h("span", { class: "text" }, item.reason), "wide"],
        ["As it was sent", raw, "wide"],
      ], items),
      h("div", { class: "pager" },
        h("button", { type: "button", disabled: !before, onclick: () => choose({ before: null }) }, "Newest"),
        h("button", { type: "button", disabled: !cursor, onclick: () => choose({ before: cursor }) }, "Older"))]
    : h("p", { class: "quiet" }, before ? "No older item." : "No item of it was rejected, as far as the files tell."));
}

const parts = [
  [$("tiles"), askNode], [$("arrivals"), askArrivals], [$("targets"), targetList($("targets"), { node: name })],
  [$("changes"), changeList($("changes"), { node: name })], [$("rejected"), askRejected],
];
const refresh = refreshing(() => fill(parts), REST_MS);
const showFilters = [chooseTargets(), chooseKind()];

refresh();
onResults(refresh);
onChoice(() => {
  for (const show of showFilters) show();
  refresh.soon();
});
for (const show of showFilters) show();
