/** The ways from one node in layers: what answered at each TTL of its newest traceroutes. */

import { isPrivate, networks } from "./networks.js";
import { groups } from "./groups.js";
import { at } from "./units.js";

const A_LAYER = 22;
const WIDE = [75, 190];
const ASPECT = 1.5; // as wide to as high as the whole is about
const HIGH = 30;
const SWEEPS = 6;

/** Addresses and links of traceroutes as /recent tells them; an address is one a TTL. A silent TTL is jumped over. */
export function layered(results, node) {
  const found = new Map();
  const links = new Map();
  const addresses = [];
  const place = (ip, ttl, rtt, seen) => {
    const key = `${ip} at TTL ${ttl}`;
    let address = found.get(key);
    if (!address) {
      const own = isPrivate(ip) ? node : null;
      address = {
        key, ip, node: own, ttl, place: addresses.length, networks: networks(ip, own).map((name) => `${name} at TTL ${ttl}`),
        in: [], out: [], usual: null, count: 0, lastSeen: 0, rtt: 0, nodes: new Set([node]),
      };
      found.set(key, address);
      addresses.push(address);
    }
    address.count += 1;
    address.rtt += ((rtt ?? 0) - address.rtt) / address.count;
    address.lastSeen = Math.max(address.lastSeen, seen);
    return address;
  };
  for (const { traceroute, timestamp } of results) {
    let before = null;
    for (const hop of traceroute?.hops ?? []) {
      if (!hop.ip || hop.timeout) continue;
      const address = place(hop.ip, hop.ttl, hop.rtt, at(timestamp));
      if (before && before.ttl < hop.ttl) {
        const ends = `${before.place} ${address.place}`;
        let link = links.get(ends);
        if (!link) {
          links.set(ends, (link = { a: before.place, b: address.place, count: 0 }));
          before.out.push(link);
          address.in.push(link);
        }
        link.count += 1;
      }
      before = address;
    }
  }
  return { addresses, links: [...links.values()] };
}

/** Groups of each layer, few enough to be seen one below the other. */
export function layers(addresses, opened) {
  const byTtl = new Map();
  for (const address of addresses) {
    if (!byTtl.has(address.ttl)) byTtl.set(address.ttl, []);
    byTtl.get(address.ttl).push(address);
  }
  return [...byTtl].flatMap(([ttl, layer]) => groups(layer, A_LAYER, opened, `other networks at TTL ${ttl}`));
}

/**
 * Give the items of a scene their places: a column a TTL that answered, with a gap where others lie between, and in it the order
 * with the fewest crossings that a few sweeps find. Returns the columns, [{ttl, x}].
 */
export function arrange(scene) {
  const columns = new Map();
  for (const item of scene.items) {
    const { ttl } = item.members[0];
    if (!columns.has(ttl)) columns.set(ttl, []);
    columns.get(ttl).push(item);
  }
  const ordered = [...columns].sort(([one], [other]) => one - other);
  const highest = HIGH * Math.max(...ordered.map(([, column]) => column.length));
  const wide = Math.min(WIDE[1], Math.max(WIDE[0], (ASPECT * highest) / ordered.length));
  const places = ordered.map(() => 0);
  for (let place = 1; place < ordered.length; place += 1) {
    places[place] = places[place - 1] + wide * (ordered[place][0] > ordered[place - 1][0] + 1 ? 1.6 : 1);
  }
  const spread = (column) => column.forEach((item, place) => (item.y = (place - (column.length - 1) / 2) * HIGH));
  ordered.forEach(([, column], place) => {
    column.sort((one, other) => other.members.length - one.members.length);
    for (const item of column) item.x = places[place];
    spread(column);
  });
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const isForth = sweep % 2 === 0;
    for (const [, column] of isForth ? ordered : [...ordered].reverse()) {
      const middle = new Map(column.map((item) => {
        const ends = isForth ? item.in.map(({ a, count }) => [a, count]) : item.out.map(({ b, count }) => [b, count]);
        const weight = ends.reduce((sum, [, count]) => sum + count, 0);
        return [item, weight ? ends.reduce((sum, [end, count]) => sum + scene.items[end].y * count, 0) / weight : item.y];
      }));
      column.sort((one, other) => middle.get(one) - middle.get(other));
      spread(column);
    }
  }
  return ordered.map(([ttl], place) => ({ ttl, x: places[place] }));
}
