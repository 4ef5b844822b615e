/** Round-trip times of one target by one node: the spread as smoke, the median as a line whose colour is the loss. */

import { lossClass, lossKeys, scale, timeAxis, valueAxis } from "./axes.js";
import { cursor } from "./cursor.js";
import { h, put, s } from "./dom.js";
import { marks, roomForWords } from "./marks.js";
import { ticks } from "./ticks.js";
import { at, counted, local, percent, rtt } from "./units.js";

const HEIGHT = 190;
let hatches = 0;
const BANDS = [["rtt_min_ns", "rtt_max_ns", "smoke-1"], ["rtt_p10_ns", "rtt_p90_ns", "smoke-2"], ["rtt_p25_ns", "rtt_p75_ns", "smoke-3"]];

/** The most that the pictures of these buckets must show: outliers alone do not flatten the rest. */
export function ceiling(buckets) {
  const highs = buckets.map((bucket) => bucket.rtt_p90_ns).filter((value) => value != null).sort((a, b) => a - b);
  if (!highs.length) return 0;
  const usual = highs[Math.floor(0.98 * (highs.length - 1))];
  const most = Math.max(...buckets.map((bucket) => bucket.rtt_max_ns ?? 0));
  return Math.min(most, usual * 1.6);
}

/** Draw one node's buckets; `view` is {since, until, bucketMs, most, changes}, in milliseconds and nanoseconds. */
export function drawSmoke(element, buckets, view, width, name) {
  const room = roomForWords(view);
  const height = HEIGHT + room;
  const box = { left: 64, right: width - 10, top: 10 + room, bottom: height - 26 };
  const values = ticks(view.most || 1e6);
  const x = scale(view.since, view.until, box.left, box.right);
  const y = scale(0, values.at(-1), box.bottom, box.top);
  const inside = (ns) => Math.max(box.top, y(ns));
  const rows = buckets.map((bucket) => {
    const start = at(bucket.start);
    const left = Math.max(box.left, x(start));
    const right = Math.min(box.right, Math.max(left + 2, x(start + view.bucketMs)));
    return { bucket, start, left, right };
  });
  const answered = rows.filter((row) => row.bucket.rtt_p50_ns != null);
  const bands = BANDS.map(([low, high, band]) =>
    s("path", {
      class: band,
      d: answered.map(({ bucket, left, right }) => {
        const bottom = y(bucket[low]);
        const top = Math.min(bottom - 1, inside(bucket[high]));
        return bottom < box.top ? "" : `M${left} ${bottom}V${top}H${right}V${bottom}Z`;
      }).join(""),
    }),
  );
  const medians = new Map();
  for (const { bucket, left, right } of answered) {
    const kind = lossClass(bucket.loss_percent);
    medians.set(kind, `${medians.get(kind) ?? ""}M${left} ${inside(bucket.rtt_p50_ns)}H${right}`);
  }
  const hatch = `hatch-${(hatches += 1)}`; // one a picture: in one that is hidden nobody finds it
  const svg = s(
    "svg",
    {
      width, height, role: "img",
      "aria-label": `Round-trip times of ${name} over time; arrow keys read them out`,
    },
    valueAxis(values, y, rtt, box),
    timeAxis(view.since, view.until, box),
    s("defs", null, s("pattern", { id: hatch, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      s("line", { class: "hatch", y2: 7 }))),
    rows.filter((row) => row.bucket.rtt_p50_ns == null).map(({ left, right }) =>
      s("rect", { class: "dark", fill: `url(#${hatch})`, x: left, y: box.top, width: right - left, height: box.bottom - box.top })),
    bands,
    [...medians].map(([kind, d]) => s("path", { class: `median ${kind}`, d })),
    marks(view.changes, x, box, true),
  );
  put(element, svg);
  cursor(svg, rows.map((row) => (row.left + row.right) / 2), box.top, box.bottom, (index) => {
    const { bucket, start } = rows[index];
    const lines = [local(start), `${percent(bucket.loss_percent)} loss in ${counted(bucket.count, "result")}`];
    if (bucket.rtt_p50_ns != null) {
      lines.splice(1, 0, `median ${rtt(bucket.rtt_p50_ns)}`);
      lines.push(`half of them ${rtt(bucket.rtt_p25_ns)} to ${rtt(bucket.rtt_p75_ns)}`, `all ${rtt(bucket.rtt_min_ns)} to ${rtt(bucket.rtt_max_ns)}`);
    }
    return lines;
  });
}

/** What the colours mean. */
export function smokeLegend() {
  return [
    lossKeys("Median, by loss:"),
    h("span", { class: "key" }, h("span", { class: "swatch hatch-key", "aria-hidden": "true" }), "no reply"),
    h("span", { class: "key" }, h("span", { class: "swatch smoke-key", "aria-hidden": "true" }), "spread: half, 80 %, all"),
  ];
}
