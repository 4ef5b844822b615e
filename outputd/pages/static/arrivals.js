/** Results per second over time, and under it the loss as a strip: the more, the taller. */

import { lossClass, lossKeys, lossPlace, scale, timeAxis, valueAxis } from "./axes.js";
import { cursor } from "./cursor.js";
import { h, put, s } from "./dom.js";
import { ticks } from "./ticks.js";
import { at, count, local, percent, rate } from "./units.js";

/** Draw the answer of /arrivals into an element of this width. */
export function drawArrivals(element, answer, width) {
  const bucketMs = answer.bucket_s * 1000;
  const since = Math.floor(at(answer.since) / bucketMs) * bucketMs;
  const until = at(answer.until);
  const found = new Map(answer.buckets.map((bucket) => [at(bucket.start), bucket]));
  const rows = [];
  for (let start = since; start < until; start += bucketMs) {
    const seconds = Math.min(answer.bucket_s, Math.max(answer.bucket_s / 6, (until - start) / 1000)); // the last one has only begun
    const bucket = found.get(start);
    rows.push({ start, bucket, rate: bucket ? bucket.results / seconds : 0 });
  }
  const box = { left: 54, right: width - 8, top: 10, bottom: 150 };
  const most = Math.max(...rows.map((row) => row.rate));
  const values = ticks(most);
  const x = scale(since, until, box.left, box.right);
  const y = scale(0, values.at(-1), box.bottom, box.top);
  const end = (row) => x(Math.min(until, row.start + bucketMs));
  const steps = rows.map((row) => `L${x(row.start)} ${y(row.rate)}L${end(row)} ${y(row.rate)}`).join("");
  const shape = `M${box.left} ${box.bottom}${steps}L${box.right} ${box.bottom}`;
  const strip = { top: box.bottom + 4, bottom: box.bottom + 18 };
  const tall = (bucket) => 2 + 2 * lossPlace(bucket.loss_percent);
  const svg = s(
    "svg",
    {
      width, height: 190, role: "img",
      "aria-label": `Results per second, at most ${rate(most)}; arrow keys read them out`,
    },
    valueAxis(values, y, (value) => value === 0 || value >= 1 ? count(value) : String(Number(value.toPrecision(3))), box),
    timeAxis(since, until, { ...box, bottom: strip.bottom }),
    s("path", { class: "area", d: `${shape}Z` }),
    s("path", { class: "edge", d: shape }),
    rows
      .filter((row) => row.bucket)
      .map((row) =>
        s("rect", {
          class: lossClass(row.bucket.loss_percent), x: x(row.start), y: strip.bottom - tall(row.bucket),
          width: Math.max(1, end(row) - x(row.start) + 0.3), height: tall(row.bucket),
        }),
      ),
    s("text", { class: "tag", x: box.left - 8, y: strip.bottom, "text-anchor": "end" }, "loss"),
  );
  put(element, svg, h("div", { class: "legend" }, lossKeys("Loss:")));
  cursor(svg, rows.map((row) => (x(row.start) + end(row)) / 2), box.top, strip.bottom, (index) => {
    const { start, bucket, rate: perSecond } = rows[index];
    if (!bucket) return [local(start), "nothing arrived"];
    return [
      local(start), `${rate(perSecond)} (${count(bucket.results)} results)`,
      `${percent(bucket.loss_percent)} loss, ${count(bucket.failed)} without any reply`,
    ];
  });
}
