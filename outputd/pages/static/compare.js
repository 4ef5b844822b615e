/** Paths side by side: hops that are the same stand in one row, and what differs is marked. */

import { at } from "./units.js";

/** Whether two paths may be one route: where both answered it was the same address, and one that was cut short began alike. */
function alike(one, other) {
  const whole = (path) => path.completed !== false;
  const last = (hops) => hops.findLastIndex((hop) => hop != null) + 1;
  const size = Math.min(whole(one) ? one.hops.length : last(one.hops), whole(other) ? other.hops.length : last(other.hops));
  if (whole(one) && whole(other) && one.hops.length !== other.hops.length) return false;
  let common = 0;
  for (let place = 0; place < size; place += 1) {
    const [near, far] = [one.hops[place], other.hops[place]];
    if (near != null && far != null && near !== far) return false;
    if (near != null && near === far) common += 1;
  }
  return common > 0;
}

/**
 * Paths of one node as routes: those that differ only by silence are one. A route has the hops that its members know,
 * their counts together, and `members`.
 */
export function merged(paths) {
  const routes = [];
  for (const path of paths) {
    const route = routes.find((known) => alike(known, path));
    if (!route) {
      routes.push({ ...path, hops: [...path.hops], members: [path] });
      continue;
    }
    if (path.completed !== false && route.completed === false) {
      route.hops = path.hops.map((hop, place) => hop ?? route.hops[place] ?? null);
      route.completed = path.completed;
    } else {
      route.hops = route.hops.map((hop, place) => hop ?? path.hops[place] ?? null);
    }
    route.members.push(path);
    route.count += path.count;
    if (at(path.last_seen) > at(route.last_seen)) route.last_seen = path.last_seen;
  }
  return routes;
}

/** Rows of hops, one for each path, null where it has none: paths are laid beside the first by their common hops. */
export function aligned(paths) {
  let rows = (paths[0] ?? []).map((hop, place) => [{ hop, ttl: place + 1 }]);
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
      best[i][j] = Math.max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + worth(rows[i], path[j]));
    }
  }
  const cells = (place) => ({ hop: path[place], ttl: place + 1 });
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
    if (i < rows.length && j < path.length && fits(rows[i], path[j]) && best[i][j] === best[i + 1][j + 1] + worth(rows[i], path[j])) {
      pair();
      result.push([...rows[i], cells(j)]);
      i += 1;
      j += 1;
    } else if (j >= path.length || (i < rows.length && best[i + 1][j] >= best[i][j + 1])) {
      spareRows.push(rows[i]);
      i += 1;
    } else {
      sparePath.push(cells(j));
      j += 1;
    }
  }
  pair();
  return result;
}

/** Whether a row's cells are not all the same. */
export const differs = (row) => row.some((cell) => (cell?.hop ?? null) !== (row[0]?.hop ?? null) || (cell == null) !== (row[0] == null));
