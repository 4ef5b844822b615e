/** One change, in words. */

import { percent, rtt } from "./units.js";

/** The part of two routes in which they differ: what they begin and end with is left out. */
function differing(before, after) {
  const same = (one, other) => one == null || other == null || one === other;
  let begin = 0;
  while (begin < Math.min(before.length, after.length) && same(before[begin], after[begin])) begin += 1;
  let end = 0;
  while (end < Math.min(before.length, after.length) - begin && same(before.at(-1 - end), after.at(-1 - end))) end += 1;
  return { ttl: begin + 1, before: before.slice(begin, before.length - end), after: after.slice(begin, after.length - end) };
}

const hops = (route) => (route.length ? route.map((hop) => hop ?? "∗").join(", ") : "no hop");

/** From what to what, empty for a change of a node. */
export function difference({ kind, before, after }) {
  if (kind === "route_changed") {
    const part = differing(before ?? [], after ?? []);
    return `from TTL ${part.ttl}: ${hops(part.before)} → ${hops(part.after)}`;
  }
  if (before == null) return "";
  const print = kind === "rtt_shifted" ? rtt : percent;
  return `${print(before)} → ${print(after)}`;
}
