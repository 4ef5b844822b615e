/**
 * The time range of a page, in its URL: `?last=6h` goes on with the clock; `?from=2026-01-07T22:30:00Z&to=2026-01-08T00:00:00Z`
 * stands still, and without `to` it ends now. Without any of them a page shows what is usual there.
 *
 *   range()               {from, to, last, isLive}, milliseconds since 1970; `last` in seconds or null. null: none, or a bad one
 *   rangeProblem()        what is wrong with the one in the URL, null when nothing is
 *   setRange(from, to)    choose one; setLast(seconds) the last so long
 *   onChoice(look)        of chosen.js: calls `look` when another one is chosen, by whatever way
 *   bucketOf(from, to)    seconds of a bucket that suits a chart, of at most so many buckets
 *   inRange(url)          the URL of another page with the range of this one; all links of a page get it when they are followed
 *
 * `rangeBar` (rangebar.js) is what chooses one; a drag on any chart with a `timeAxis` does so, too (drag.js).
 */

import { choose } from "./chosen.js";
import { here } from "./place.js";
import { iso, now } from "./units.js";

const UNITS_S = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };
const NAMES = ["from", "to", "last"];
const PAGES = /^(heat|topology|targets\/.+|nodes\/.*)?$/;
const TIME = /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)$/i;
const MOST_S = 100 * 366 * 86_400;
const LEAST_MS = 10_000;
const BUCKETS = 150;
const NICE_S = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200];

/** Milliseconds since 1970 of a time that somebody wrote; NaN for what is none. */
function written(text) {
  const whole = text.replace(/ (?=\d\d:\d\d$)/, "+"); // a plus that came unquoted is a space by now
  return TIME.test(whole) ? Date.parse(whole.replace(/(\.\d{3})\d+/, "$1")) : NaN;
}

/** The range that a query string says at this time: {from, to, last, isLive}, {problem}, or null when it says none. */
export function rangeIn(search, at) {
  const query = new URLSearchParams(search);
  const [from, to, last] = NAMES.map((name) => query.get(name) || null);
  if (last !== null) {
    if (from !== null || to !== null) return { problem: "it says both last and from or to" };
    const [, number, unit] = /^(\d{1,10})([smhdw])$/.exec(last) ?? [];
    const seconds = Number(number) * UNITS_S[unit];
    if (!(seconds >= 1)) return { problem: "last must be a number with s, m, h, d or w, such as 6h" };
    if (seconds > MOST_S) return { problem: "last must be at most 100 years" };
    return { from: at - 1000 * seconds, to: at, last: seconds, isLive: true };
  }
  if (from === null && to === null) return null;
  if (from === null) return { problem: "it has an end, but no beginning: from" };
  const begin = written(from);
  const end = to === null ? at : written(to);
  if (Number.isNaN(begin)) return { problem: "from must be a time with a zone, such as 2026-01-07T22:30:00Z" };
  if (Number.isNaN(end)) return { problem: "to must be a time with a zone, such as 2026-01-07T22:30:00Z" };
  if (end - begin < 1000) return { problem: "it must begin at least a second before it ends" };
  if (end - begin > 1000 * MOST_S) return { problem: "it must be at most 100 years" };
  return { from: begin, to: end, last: null, isLive: to === null };
}

export function range() {
  const found = rangeIn(location.search, now());
  return found?.problem ? null : found;
}

export const rangeProblem = () => rangeIn(location.search, now())?.problem ?? null;

/** Seconds as `last` has them. */
function lastOf(seconds) {
  const unit = ["d", "h", "m"].find((name) => seconds % UNITS_S[name] === 0) ?? "s";
  return `${seconds / UNITS_S[unit]}${unit}`;
}

export const setLast = (seconds) => choose({ last: lastOf(Math.min(MOST_S, Math.max(1, Math.round(seconds)))), from: null, to: null });

/** Choose a range; `to` null for now. One that is too short to show anything is made longer. */
export function setRange(from, to) {
  const lack = to === null ? 0 : Math.max(0, LEAST_MS - (to - from)) / 2;
  const whole = (ms) => iso(Math.round(ms / 1000) * 1000);
  choose({ from: whole(from - lack), to: to === null ? null : whole(to + lack), last: null });
}

/** Make what is shown, {from, to}, longer or shorter; one that goes on with the clock still does. */
export function zoom({ from, to }, factor) {
  const chosen = range();
  if (chosen?.last) return setLast(chosen.last * factor);
  const middle = (from + to) / 2;
  const half = Math.min(500 * MOST_S, ((to - from) * factor) / 2);
  setRange(middle - half, Math.min(now(), middle + half));
}

/** Show what is earlier or later, by a part of what is shown. */
export function pan({ from, to }, part) {
  const step = Math.min((to - from) * part, now() - to);
  setRange(from + step, to + step);
}

export function bucketOf(from, to, buckets = BUCKETS) {
  const least = (to - from) / 1000 / buckets;
  return NICE_S.find((seconds) => seconds >= least) ?? Math.ceil(least / 86_400) * 86_400;
}

export function inRange(url) {
  const found = new URL(url, location.href);
  const root = new URL(here("/"));
  const isPage = found.origin === root.origin && found.pathname.startsWith(root.pathname) && PAGES.test(found.pathname.slice(root.pathname.length));
  if (!isPage || NAMES.some((name) => found.searchParams.has(name))) return url;
  const query = new URLSearchParams(location.search);
  for (const name of NAMES) if (range() && query.has(name)) found.searchParams.set(name, query.get(name));
  return found.href;
}

const carried = new WeakMap();

/** A link leads to the range of this page: also one that is opened in another tab, or copied. */
function carry(event) {
  const link = event.target.closest?.("a[href]");
  if (!link) return;
  const href = link.getAttribute("href");
  const before = carried.get(link);
  const plain = before?.whole === href ? before.plain : href; // without the range that it was given before
  const whole = inRange(plain);
  carried.set(link, { plain, whole });
  if (whole !== href) link.setAttribute("href", whole);
}
for (const kind of ["pointerdown", "click", "contextmenu"]) document.addEventListener(kind, carry, true);
