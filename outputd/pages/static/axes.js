/** Scales and axes of the pictures, in SVG. */

import { h, s } from "./dom.js";
import { timeTicks } from "./ticks.js";
import { local } from "./units.js";

export const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);

const HALF_LABEL = 22;

/** The axis of time under a picture, with lines upwards. It says what it spans, for who drags on the picture. */
export function timeAxis(since, until, box) {
  const x = scale(since, until, box.left, box.right);
  return s(
    "g",
    { class: "axis", "data-since": since, "data-until": until, "data-left": box.left, "data-right": box.right, "data-top": box.top, "data-bottom": box.bottom },
    timeTicks(since, until, Math.max(2, (box.right - box.left) / 76)).map(({ at, label }) => [
      s("line", { class: "grid", x1: x(at), x2: x(at), y1: box.top, y2: box.bottom }),
      box.labels !== false &&
        s("text", { x: Math.min(x(at), box.right - HALF_LABEL), y: box.bottom + 16, "text-anchor": "middle" }, s("title", null, local(at)), label),
    ]),
  );
}

/** The axis of values at the left of a picture, from 0. */
export function valueAxis(values, y, print, box) {
  return s(
    "g",
    { class: "axis" },
    values.map((value) => [
      s("line", { class: "grid", x1: box.left, x2: box.right, y1: y(value), y2: y(value) }),
      s("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, print(value)),
    ]),
  );
}

/** Loss as a class of colour, from none to all. */
export const LOSSES = [
  [0, "none"], [5, "up to 5 %"], [10, "up to 10 %"], [25, "up to 25 %"], [50, "up to 50 %"], [99.999, "over 50 %"], [100, "all lost"],
];
export const lossPlace = (percent) => LOSSES.findIndex(([most]) => percent <= most);
export const lossClass = (percent) => `loss-${lossPlace(percent)}`;

/** What the colours of loss mean; `words` say what has them. */
export const lossKeys = (words) => [
  h("span", { class: "key" }, words),
  LOSSES.map(([, range], place) => h("span", { class: "key" }, h("span", { class: `swatch loss-${place}`, "aria-hidden": "true" }), range)),
];
