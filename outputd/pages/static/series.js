/** What /series says of a target: all nodes in one chart, or one node with its spread. */

import { lossPlace } from "./axes.js";
import { h, put, table, time } from "./dom.js";
import { drawLines, lineLegend } from "./lines.js";
import { ceiling, drawSmoke, smokeLegend } from "./smoke.js";
import { at, count, counted, percent, rtt, span } from "./units.js";

const MOST_ROWS = 500;
const MOST_NAMED = 8;
const NOTABLE_LOSS = 2; // over 5 %

const total = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);
const lossOf = (rows) => lossPlace((100 * total(rows, "lost")) / (total(rows, "sent") || 1));

/** Nodes with their buckets, those that lose most first: by the colours of loss, so that noise does not change the order. */
export function byNode(buckets, changes) {
  const found = new Map();
  for (const bucket of buckets) {
    if (!found.has(bucket.node)) found.set(bucket.node, []);
    found.get(bucket.node).push(bucket);
  }
  const ranks = new Map([...found].map(([node, rows]) => [node, [lossOf(rows), changes.filter((change) => change.node === node).length, rows.length]]));
  return [...found].sort(([one], [other]) => {
    const place = ranks.get(one).findIndex((value, index) => value !== ranks.get(other)[index]);
    return place < 0 ? (one < other ? -1 : 1) : ranks.get(other)[place] - ranks.get(one)[place];
  });
}

/** How many of these nodes get a colour: of many only those that lose or changed. */
function notable(nodes, changes) {
  if (nodes.length <= MOST_NAMED) return nodes.length;
  const changed = new Set(changes.map((change) => change.node));
  const count = nodes.filter(([node, rows]) => lossOf(rows) >= NOTABLE_LOSS || changed.has(node)).length;
  return Math.min(MOST_NAMED, count || MOST_NAMED);
}

function seriesTable(buckets) {
  return table("Round-trip times and losses, newest first", [
    ["From", (bucket) => time(bucket.start)], ["Node", (bucket) => bucket.node], ["Results", (bucket) => count(bucket.count), "number"],
    ["Loss", (bucket) => percent(bucket.loss_percent), "number"], ["Least", (bucket) => rtt(bucket.rtt_min_ns), "number"],
    ["Median", (bucket) => rtt(bucket.rtt_p50_ns), "number"], ["90 %", (bucket) => rtt(bucket.rtt_p90_ns), "number"], ["Most", (bucket) => rtt(bucket.rtt_max_ns), "number"],
  ], buckets.slice(-MOST_ROWS).reverse());
}

/** Draw a series; `choose` is called with the node that is to be shown alone. */
export function drawSeries(element, series, changes, width, choose) {
  const nodes = byNode(series.buckets, changes);
  if (!nodes.length) {
    put(element, h("p", { class: "empty" }, "No result in this time. Choose a longer one."));
    return;
  }
  const view = { since: at(series.since), until: at(series.until), bucketMs: series.bucket_s * 1000, most: ceiling(series.buckets), changes };
  const place = h("div", { class: "picture" });
  const named = notable(nodes, changes);
  const isOne = nodes.length === 1;
  const what = isOne ? h("span", { class: "text" }, nodes[0][0]) : `${nodes.length} nodes, median of each`;
  put(element, h("figure", null,
    h("figcaption", null, what, h("span", { class: "quiet" }, ` · ${counted(series.buckets.reduce((sum, bucket) => sum + bucket.count, 0), "result")}, buckets of ${span(series.bucket_s)}`)), place),
    isOne ? h("div", { class: "legend" }, smokeLegend()) : lineLegend(nodes, named, choose),
    h("details", null, h("summary", null, "As a table"), seriesTable(series.buckets)));
  if (isOne) drawSmoke(place, nodes[0][1], view, width, nodes[0][0]);
  else drawLines(place, nodes, named, view, width);
}
