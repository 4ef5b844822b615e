/** Scales and axes of the pictures, in SVG. */

import { s } from "./dom.js";
import { local } from "./units.js";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  MINUTE / 60, MINUTE / 12, MINUTE / 4, MINUTE / 2, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR,
  6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 3 * DAY, 4 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 91 * DAY, 182 * DAY, 365 * DAY, 730 * DAY, 1826 * DAY,
];

export const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from || 1)) * (high - low);

/** Round values from 0 to at least `most`. */
export function ticks(most, about = 4) {
  if (!(most > 0)) return [0, 1];
  const rough = most / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((part) => part >= rough);
  const found = [];
  for (let value = 0; value < most + step; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

/** Times between two, at round hours of the reader's zone. */
export function timeTicks(since, until, about) {
  const step = STEPS.find((part) => part >= (until - since) / about) ?? STEPS.at(-1);
  const offset = new Date(since).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let at = Math.ceil((since - offset) / step) * step + offset; at <= until; at += step) found.push(at);
  return { step, found };
}

function label(at, step, span) {
  const date = new Date(at);
  const pad = (number) => String(number).padStart(2, "0");
  const day = date.toLocaleDateString(undefined, { month: "short", day: "numeric" });
  if (span > 300 * DAY) return date.toLocaleDateString(undefined, { year: "numeric", month: "short" });
  if (step >= DAY) return day;
  const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}${step < MINUTE ? `:${pad(date.getSeconds())}` : ""}`;
  return span > DAY && date.getHours() === 0 && date.getMinutes() === 0 ? day : clock;
}

const HALF_LABEL = 22;

/** The axis of time under a picture, with lines upwards. */
export function timeAxis(since, until, box) {
  const x = scale(since, until, box.left, box.right);
  const { step, found } = timeTicks(since, until, Math.max(2, (box.right - box.left) / 76));
  return s(
    "g",
    { class: "axis" },
    found.map((at) => [
      s("line", { class: "grid", x1: x(at), x2: x(at), y1: box.top, y2: box.bottom }),
      box.labels !== false &&
        s("text", { x: Math.min(x(at), box.right - HALF_LABEL), y: box.bottom + 16, "text-anchor": "middle" }, s("title", null, local(at)), label(at, step, until - since)),
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
export const lossClass = (percent) => `loss-${LOSSES.findIndex(([most]) => percent <= most)}`;
