/** Round-trip times of one target by many nodes: the median of each as a line, loss of all of them below. */

import { lossClass, lossPlace, scale, timeAxis, valueAxis } from "./axes.js";
import { cursor } from "./cursor.js";
import { h, put, s } from "./dom.js";
import { marks, roomForWords } from "./marks.js";
import { ticks } from "./ticks.js";
import { at, counted, local, percent, rtt } from "./units.js";

const HEIGHT = 260;
const LOSS_TALL = 14;
const CROSS = 3;
const GAP = 2.5; // of the usual time between two buckets: what is longer is a gap in a line

/** Pieces of a line: it ends where nothing was measured or nothing replied. */
function pieces(points) {
  const gaps = points.slice(1).map((point, index) => point.start - points[index].start).sort((one, other) => one - other);
  const usual = gaps[Math.floor(gaps.length / 2)] ?? 0;
  let before = null;
  return points.map((point) => {
    const goesOn = before != null && before.median != null && point.start - before.start <= GAP * usual;
    before = point;
    return point.median == null ? "" : `${goesOn ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}${goesOn ? "" : "h1"}`;
  }).join("");
}

/** Where a node got no reply: crosses where its line was. */
function crosses(points) {
  let last = points.find((point) => point.median != null)?.y;
  return points.map((point) => {
    if (point.median != null) last = point.y;
    return point.median != null || last == null ? "" : `M${point.x - CROSS} ${last - CROSS}l${2 * CROSS} ${2 * CROSS}m0 ${-2 * CROSS}l${-2 * CROSS} ${2 * CROSS}`;
  }).join("");
}

/** Loss of all nodes together by bucket, [start, percent]. */
function lossByTime(nodes) {
  const sums = new Map();
  for (const bucket of nodes.flatMap(([, buckets]) => buckets)) {
    const sum = sums.get(bucket.start) ?? { lost: 0, sent: 0 };
    sums.set(bucket.start, { lost: sum.lost + bucket.lost, sent: sum.sent + bucket.sent });
  }
  return [...sums].map(([start, { lost, sent }]) => [at(start), sent ? (100 * lost) / sent : 0]).sort(([one], [other]) => one - other);
}

/** Draw nodes, [name, buckets], the first `named` of them in colours; `view` is {since, until, bucketMs, most, changes}. */
export function drawLines(element, nodes, named, view, width) {
  const box = { left: 64, right: width - 10, top: 10 + roomForWords(view), bottom: HEIGHT - 26 - LOSS_TALL };
  const values = ticks(view.most || 1e6);
  const x = scale(view.since, view.until, box.left, box.right);
  const y = scale(0, values.at(-1), box.bottom - 6, box.top);
  const byNode = nodes.map(([node, buckets]) => [node, buckets.map((bucket) => {
    const start = at(bucket.start);
    const median = bucket.rtt_p50_ns;
    return { bucket, start, median, x: Math.min(box.right, Math.max(box.left, x(start + view.bucketMs / 2))), y: Math.max(box.top, y(median ?? 0)) };
  })]);
  const first = byNode.slice(0, named);
  const losses = lossByTime(nodes);
  const svg = s("svg", { width, height: HEIGHT, role: "img", "aria-label": `Median round-trip times by ${nodes.length} nodes over time; arrow keys read them out` },
    valueAxis(values, y, rtt, box), timeAxis(view.since, view.until, { ...box, bottom: box.bottom + LOSS_TALL }),
    losses.map(([start, percents]) => {
      const tall = (LOSS_TALL * lossPlace(percents)) / 6;
      return tall > 0 && s("rect", { class: lossClass(percents), x: x(start), y: box.bottom + LOSS_TALL - tall, width: Math.max(1, x(start + view.bucketMs) - x(start)), height: tall });
    }),
    s("path", { class: "line other", d: byNode.slice(named).map(([, points]) => pieces(points)).join("") }),
    first.map(([, points], place) => s("path", { class: `line line-${place}`, d: pieces(points) })).reverse(),
    first.map(([, points], place) => s("path", { class: `crosses line-${place}`, d: crosses(points) })),
    marks(view.changes, x, box, false));
  put(element, svg);
  const shown = new Map(first.map(([node, points]) => [node, new Map(points.map((point) => [point.start, point.bucket]))]));
  cursor(svg, losses.map(([start]) => Math.min(box.right, x(start + view.bucketMs / 2))), box.top, box.bottom + LOSS_TALL, (index) => {
    const [start, percents] = losses[index];
    const said = [...shown].filter(([, buckets]) => buckets.has(start)).map(([node, buckets]) => {
      const { rtt_p50_ns: median, loss_percent: loss } = buckets.get(start);
      return `${node}: ${median == null ? "no reply" : rtt(median)}${loss > 0 && median != null ? `, ${percent(loss)} loss` : ""}`;
    });
    return [local(start), ...said, `all nodes: ${percent(percents)} loss`];
  });
}

/** The nodes that have colours, as buttons that choose one. */
export function lineLegend(nodes, named, choose) {
  const total = (buckets, name) => buckets.reduce((sum, bucket) => sum + bucket[name], 0);
  const loss = (buckets) => (100 * total(buckets, "lost")) / (total(buckets, "sent") || 1);
  const rest = nodes.length - named;
  return h("div", { class: "legend nodes" },
    nodes.slice(0, named).map(([node, buckets], place) => h("button", { type: "button", class: "key", title: `Show ${node} alone`, onclick: () => choose(node) },
      h("span", { class: `swatch node-${place}`, "aria-hidden": "true" }), h("span", { class: "text" }, node), h("span", { class: "quiet" }, `${percent(loss(buckets))} loss`))),
    rest > 0 && h("span", { class: "key" }, h("span", { class: "swatch other", "aria-hidden": "true" }), counted(rest, "other node")),
    h("span", { class: "key" }, h("span", { "aria-hidden": "true" }, "✕"), "no reply"),
    h("span", { class: "key" }, "Below the lines: loss of all nodes together"));
}
