/** Paths side by side: hops that are the same stand in one row, and what differs is marked. */

import { at } from "./units.js";

const MOST_COMPARED = 300; // routes of a node: it chooses how many there are

/** A path as the beginning of a route: who replied, by TTL. */
function begun(path) {
  const answered = path.ttls.map((ttl, place) => [ttl, path.hops[place]]).filter(([, hop]) => hop != null);
  return { ...path, replies: new Map(answered), last: answered.at(-1)?.[0] ?? 0, members: [path] };
}

/** Whether two routes may be one: where both answered it was the same address, and none goes on behind the target. */
function alike(one, other) {
  if ((one.completed && other.last > one.last) || (other.completed && one.last > other.last)) return false;
  let common = 0;
  for (const [ttl, hop] of other.replies) {
    const known = one.replies.get(ttl);
    if (known != null && known !== hop) return false;
    if (known != null) common += 1;
  }
  return common > 0;
}

/** Whether one says more of a route than another; of equals the name decides, so that it does not change with their counts. */
const byReplies = (one, other) => other.replies.size - one.replies.size || (one.route < other.route ? -1 : 1);

/**
 * Paths of one node as routes, the most usual first: those that differ only by silence are one, and one that fits several
 * belongs to the most usual of them. A route has the name of its member with most replies, its `hops` by TTL as its members
 * know them (null for silence), their counts together, and `members`.
 */
export function merged(paths) {
  const routes = [];
  for (const found of paths.map(begun).sort(byReplies)) {
    const fits = routes.slice(0, MOST_COMPARED).filter((known) => alike(known, found));
    if (!fits.length) {
      routes.push(found);
      continue;
    }
    const route = fits.reduce((best, other) => (other.count > best.count ? other : best));
    for (const [ttl, hop] of found.replies) route.replies.set(ttl, hop);
    route.last = Math.max(route.last, found.last);
    route.completed ||= found.completed;
    route.members.push(found.members[0]);
    route.count += found.count;
    if (at(found.first_seen) < at(route.first_seen)) route.first_seen = found.first_seen;
    if (at(found.last_seen) > at(route.last_seen)) route.last_seen = found.last_seen;
  }
  for (const route of routes) {
    const ttls = new Set(route.members.flatMap((path) => path.ttls));
    route.hops = [...ttls].sort((one, other) => one - other).map((ttl) => ({ ttl, hop: route.replies.get(ttl) ?? null }));
  }
  return routes.sort((one, other) => other.count - one.count || (one.route < other.route ? -1 : 1));
}

/** Rows of hops, one for each path, null where it has none: paths are laid beside the first by their common hops. */
export function aligned(paths) {
  let rows = (paths[0] ?? []).map((cell) => [cell]);
  for (let number = 1; number < paths.length; number += 1) rows = joined(rows, paths[number], number);
  return rows;
}

/** Lay one more path beside rows, by the longest common order of hops (silent hops fit each other). */
function joined(rows, path, number) {
  const fits = (row, hop) => row.some((cell) => cell != null && cell.hop === hop);
  const worth = (row, hop) => (fits(row, hop) ? (hop == null ? 1 : 3) : -Infinity);
  const best = Array.from({ length: rows.length + 1 }, () => new Float64Array(path.length + 1));
  for (let i = rows.length - 1; i >= 0; i -= 1) {
    for (let j = path.length - 1; j >= 0; j -= 1) {
      best[i][j] = Math.max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + worth(rows[i], path[j].hop));
    }
  }
  const nothing = Array(number).fill(null);
  const result = [];
  let spareRows = [];
  let sparePath = [];
  const pair = () => { // what lies between two common hops is laid side by side
    for (let place = 0; place < Math.max(spareRows.length, sparePath.length); place += 1) {
      result.push([...(spareRows[place] ?? nothing), sparePath[place] ?? null]);
    }
    spareRows = [];
    sparePath = [];
  };
  let i = 0;
  let j = 0;
  while (i < rows.length || j < path.length) {
    if (i < rows.length && j < path.length && fits(rows[i], path[j].hop) && best[i][j] === best[i + 1][j + 1] + worth(rows[i], path[j].hop)) {
      pair();
      result.push([...rows[i], path[j]]);
      i += 1;
      j += 1;
    } else if (j >= path.length || (i < rows.length && best[i + 1][j] >= best[i][j + 1])) {
      spareRows.push(rows[i]);
      i += 1;
    } else {
      sparePath.push(path[j]);
      j += 1;
    }
  }
  pair();
  return result;
}

/** Whether a row's cells are not all the same. */
export const differs = (row) => row.some((cell) => (cell?.hop ?? null) !== (row[0]?.hop ?? null) || (cell == null) !== (row[0] == null));

/** The TTLs of a row: usually all have the same. */
export const ttlsOf = (row) => [...new Set(row.filter((cell) => cell != null).map((cell) => cell.ttl))];
