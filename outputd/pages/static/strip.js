/** Routes over time: a strip for each node, in which every route has its colour, so that a change is an edge. */

import { scale, timeAxis } from "./axes.js";
import { cursor } from "./cursor.js";
import { put, s } from "./dom.js";
import { marks, roomForWords } from "./marks.js";
import { hue, letter } from "./routes.js";
import { at, count, local } from "./units.js";

const TALL = 26;

/** What touches and is the same route is one piece. */
function runs(rows) {
  const found = [];
  for (const row of rows) {
    const last = found.at(-1);
    if (last && last.place === row.place && row.left - last.right < 0.5) last.right = row.right;
    else found.push({ ...row });
  }
  return found;
}

/** Draw one node's traceroutes, [time, place of the route among the node's] in rising order. */
export function drawStrip(element, traces, view, width, name) {
  const room = roomForWords(view);
  const box = { left: 64, right: width - 10, top: 2 + room, bottom: TALL + room };
  const x = scale(view.since, view.until, box.left, box.right);
  const gaps = traces.slice(1).map((trace, index) => at(trace[0]) - at(traces[index][0])).sort((a, b) => a - b);
  const usual = Math.max(gaps[Math.floor(gaps.length / 2)] ?? 0, view.bucketMs);
  const rows = traces.map(([text, place], index) => {
    const start = at(text);
    const next = index + 1 < traces.length ? at(traces[index + 1][0]) : Infinity;
    const left = Math.max(box.left, x(start));
    return { start, place, left, right: Math.min(box.right, Math.max(left + 2.5, x(Math.min(next, start + 3 * usual)))) };
  }).filter((row) => row.start >= view.since && row.start <= view.until);
  const changes = rows.filter((row, index) => index && row.place !== rows[index - 1].place).length;
  const svg = s(
    "svg",
    {
      width, height: TALL + 22 + room, role: "img",
      "aria-label": `Routes of ${name}: ${count(rows.length)} traceroutes, ${count(changes)} changes; arrow keys read them out`,
    },
    timeAxis(view.since, view.until, box),
    view.readFrom > view.since && s("rect", { class: "unread", x: box.left, y: box.top, width: x(view.readFrom) - box.left, height: TALL - 4 }, s("title", null, "Older traceroutes are not read: choose a time that ends earlier")),
    runs(rows).map(({ place, left, right }) => [
      s("rect", { class: hue(place), x: left, y: box.top, width: Math.max(1, right - left), height: TALL - 4 }),
      right - left > 14 && s("text", { class: "letter", x: left + 4, y: box.top + 15, "aria-hidden": "true" }, letter(place)),
    ]),
    marks(view.changes, x, { ...box, bottom: box.bottom - 2 }, true),
  );
  put(element, svg);
  cursor(svg, rows.map((row) => row.left + 1), box.top, box.bottom - 2, (index) => [local(rows[index].start), `route ${letter(rows[index].place)}`]);
  return changes;
}
