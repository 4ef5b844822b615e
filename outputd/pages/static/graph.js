/**
 * What the topology knows: addresses and links, merged from answers of /links as they come. A private address is another
 * machine for each node, so it is one address a node.
 */

import { isPrivate, networks, system } from "./networks.js";
import { at } from "./units.js";

const MOST_SPLIT = 40_000;

export class Graph {
  #places = new Map();
  #byEnds = new Map();
  #private = new Map();

  constructor() {
    this.addresses = [];
    this.links = [];
    this.pairs = new Set(); // of addresses as /links has them
    this.newest = null;
  }

  /** Take links in, new ones up to `most` in all. */
  merge(links, most) {
    for (const link of links) {
      const ends = `${link.from}>${link.to}`;
      if (!this.pairs.has(ends) && this.pairs.size >= most) continue;
      this.pairs.add(ends);
      if (this.#isPrivate(link.from) || this.#isPrivate(link.to)) for (const node of link.nodes) this.#take(link, node, [node]);
      else this.#take(link, null, link.nodes);
      if (this.newest == null || at(link.last_seen) > at(this.newest)) this.newest = link.last_seen;
    }
  }

  /** An address as it is written, with its node where it is private; of several nodes the one with the most links. */
  get(text) {
    const exact = this.addresses[this.#places.get(text)];
    if (exact) return exact;
    const all = this.addresses.filter(({ ip }) => ip === text);
    return all.reduce((best, one) => (best && degree(best) >= degree(one) ? best : one), undefined);
  }

  /** Say how far each address is, in round-trip time, from where the traceroutes begin: the differences along the usual way. */
  estimate() {
    for (const address of this.addresses) address.rtt = null;
    for (const address of this.addresses) {
      const way = [];
      for (let here = address; here.rtt == null; here = this.addresses[here.usual.a]) {
        here.rtt = 0;
        way.push(here);
        if (!here.usual) break;
      }
      for (const here of way.reverse()) here.rtt = here.usual ? this.addresses[here.usual.a].rtt + Math.max(0, here.usual.difference) : 0;
    }
  }

  #isPrivate(ip) {
    let known = this.#private.get(ip);
    if (known == null) this.#private.set(ip, (known = isPrivate(ip)));
    return known;
  }

  #take(link, node, nodes) {
    const [from, to] = [link.from, link.to].map((ip) => (this.#isPrivate(ip) ? `${ip} ${node}` : ip));
    const ends = `${from}>${to}`;
    let known = this.#byEnds.get(ends);
    if (!known) {
      if (this.links.length >= MOST_SPLIT) return;
      const near = this.#place(from, link.from, node, system(link.from_asn, link.from_as_name));
      const far = this.#place(to, link.to, node, system(link.to_asn, link.to_as_name));
      known = { a: near.place, b: far.place, count: 0, difference: 0 };
      near.out.push(known);
      far.in.push(known);
      this.links.push(known);
      this.#byEnds.set(ends, known);
    }
    known.count = link.count;
    known.difference = link.rtt_difference_ns ?? 0;
    const far = this.addresses[known.b];
    if (far.usual == null || known.count > far.usual.count) far.usual = known;
    for (const end of [this.addresses[known.a], far]) {
      end.count = Math.max(end.count, link.count);
      end.lastSeen = Math.max(end.lastSeen, at(link.last_seen));
      for (const each of nodes) end.nodes.add(each);
    }
  }

  #place(key, ip, node, as) {
    let place = this.#places.get(key);
    if (place == null) {
      place = this.addresses.length;
      this.#places.set(key, place);
      const of = key === ip ? null : node;
      this.addresses.push({
        key, ip, node: of, place, networks: networks(ip, of, as), in: [], out: [], usual: null, count: 0, lastSeen: 0, rtt: 0, nodes: new Set(),
      });
    }
    return this.addresses[place];
  }
}

const degree = (address) => address.in.length + address.out.length;

/** Those of these addresses with the most links, at most `most` of them. */
export const hubs = (addresses, most) => [...addresses].sort((one, other) => degree(other) - degree(one)).slice(0, most);
