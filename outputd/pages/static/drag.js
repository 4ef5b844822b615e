/** A range of time is chosen by a drag on any chart that has an axis of time; a double click shows twice as much. */

import { s } from "./dom.js";
import { setRange, zoom } from "./range.js";

const LEAST_PX = 5;
let drag = null;

/** The axis of the chart that an event is about: the time that it spans, and where it lies. */
function axisAt(event) {
  const svg = event.target.closest?.("svg");
  const axis = svg?.querySelector(".axis[data-since]");
  if (!axis) return null;
  const { since, until, left, right, top, bottom } = Object.fromEntries(Object.entries(axis.dataset).map(([name, value]) => [name, Number(value)]));
  const x = (at) => left + ((at - since) / (until - since)) * (right - left);
  const at = (clientX) => since + ((Math.min(right, Math.max(left, clientX - svg.getBoundingClientRect().left)) - left) / (right - left)) * (until - since);
  return { svg, from: since, to: until, top, bottom, x, at };
}

function leave() {
  drag?.mark.remove();
  drag = null;
}

document.addEventListener("pointerdown", (event) => {
  leave();
  const axis = event.button === 0 && event.isPrimary ? axisAt(event) : null;
  if (axis) drag = { axis, begin: axis.at(event.clientX), end: null, clientX: event.clientX, mark: s("rect", { class: "dragged" }) };
});

document.addEventListener("pointermove", (event) => {
  if (!drag || (drag.end === null && Math.abs(event.clientX - drag.clientX) < LEAST_PX)) return;
  drag.axis = drag.axis.svg.isConnected ? drag.axis : (axisAt(event) ?? drag.axis); // the chart may be drawn anew meanwhile
  const { axis, mark, begin } = drag;
  drag.end = axis.at(event.clientX);
  const [low, high] = [begin, drag.end].sort((one, other) => one - other).map(axis.x);
  for (const [name, value] of Object.entries({ x: low, width: high - low, y: axis.top, height: axis.bottom - axis.top })) mark.setAttribute(name, value);
  axis.svg.append(mark);
});

document.addEventListener("pointerup", () => {
  const [from, to] = [drag?.begin, drag?.end].sort((one, other) => one - other);
  const isOne = drag && drag.end !== null;
  leave();
  if (isOne) setRange(from, to);
});

document.addEventListener("pointercancel", leave);
document.addEventListener("keydown", (event) => event.key === "Escape" && leave());
document.addEventListener("dblclick", (event) => {
  const axis = axisAt(event);
  if (axis) zoom(axis, 2);
});
