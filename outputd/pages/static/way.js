/** The way to a target, TTL by TTL, as /trace has counted it; and where on it loss begins. */

const LEAST_LOSS_PERCENT = 2;
const LEAST_LOST = 3; // fewer are chance, unless they are half of all
const MOST_SILENT = 3;

/** The median of medians, each as often as it stands for. */
function middle(rows) {
  const known = rows.filter((row) => row.rtt_p50_ns != null).sort((one, other) => one.rtt_p50_ns - other.rtt_p50_ns);
  let left = known.reduce((sum, row) => sum + row.replies, 0) / 2;
  return known.find((row) => (left -= row.replies) <= 0)?.rtt_p50_ns ?? null;
}

const least = (values) => values.reduce((best, value) => (value != null && (best == null || value < best) ? value : best), null);
const most = (values) => values.reduce((best, value) => (value != null && (best == null || value > best) ? value : best), null);

/** The rows of one TTL as one row. */
function together(ttl, rows) {
  const counts = new Map();
  for (const { ip, count } of rows.flatMap((row) => row.addresses)) counts.set(ip, (counts.get(ip) ?? 0) + count);
  const [sent, replies] = ["sent", "replies"].map((name) => rows.reduce((sum, row) => sum + row[name], 0));
  return {
    ttl, sent, replies, loss_percent: (100 * (sent - replies)) / sent,
    addresses: [...counts].sort(([, one], [, other]) => other - one).map(([ip, count]) => ({ ip, share: (100 * count) / replies })),
    least: least(rows.map((row) => row.rtt_min_ns)), median: middle(rows), most: most(rows.map((row) => row.rtt_max_ns)),
  };
}

/**
 * Rows of /trace as one way, up to the target. `names` are those of the routes to be counted together, null for all
 * traceroutes. Where nothing replies any more the first TTLs without a reply are left, so that it can be seen.
 */
export function wayOf(rows, names, target) {
  const byTtl = new Map();
  for (const row of rows) {
    if (names ? !names.has(row.route) : row.route != null) continue;
    if (!byTtl.has(row.ttl)) byTtl.set(row.ttl, []);
    byTtl.get(row.ttl).push(row);
  }
  const way = [...byTtl].sort(([one], [other]) => one - other).map(([ttl, found]) => together(ttl, found));
  const last = way.findLastIndex((hop) => hop.replies);
  const reached = way.findLastIndex((hop) => hop.addresses.some(({ ip }) => ip === target));
  return way.slice(0, reached < 0 ? last + 1 + MOST_SILENT : last + 1);
}

/**
 * Where loss begins that goes on to the end of a way: {place, after}, `after` the place of the last hop without it, -1 for
 * none. Hops between the two reply too seldom to tell. Null where the end has no loss.
 */
export function whereLossBegins(way) {
  const { sent = 0, replies = 0, loss_percent: end = 0 } = way.at(-1) ?? {};
  if (end < LEAST_LOSS_PERCENT || (sent - replies < LEAST_LOST && end < 50)) return null;
  const after = way.findLastIndex((hop) => hop.loss_percent < end / 2);
  const place = way.findIndex((hop, index) => index > after && hop.loss_percent <= Math.max(1.5 * end, end + 5));
  return { place, after };
}
