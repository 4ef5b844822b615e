/** What the topology knows: addresses and links, merged from answers of /links as they come. */

import { at } from "./units.js";

export class Graph {
  constructor() {
    this.places = new Map();
    this.addresses = [];
    this.links = [];
    this.byEnds = new Map();
    this.newest = null;
  }

  /** Take links in, new ones up to `most` in all; whether one was new. */
  merge(links, most) {
    const before = this.links.length;
    const seenAt = performance.now();
    for (const link of links) {
      const key = `${link.from} ${link.to}`;
      const known = this.byEnds.get(key);
      if (known) {
        Object.assign(known, link);
      } else if (this.links.length < most) {
        const from = this.#place(link.from, seenAt);
        const to = this.#place(link.to, seenAt);
        const made = { ...link, a: from.place, b: to.place };
        from.out.push(made);
        to.in.push(made);
        this.links.push(made);
        this.byEnds.set(key, made);
      }
      if (this.newest == null || at(link.last_seen) > at(this.newest)) this.newest = link.last_seen;
    }
    for (const address of this.addresses) {
      const all = [...address.in, ...address.out];
      address.count = Math.max(...all.map((link) => link.count));
      address.nodes = [...new Set(all.flatMap((link) => link.nodes))];
      address.lastSeen = Math.max(...all.map((link) => at(link.last_seen)));
    }
    this.#estimate();
    return this.links.length > before;
  }

  get(ip) {
    return this.addresses[this.places.get(ip)];
  }

  /** The addresses with the most links, at most `most` of them. */
  hubs(most) {
    const degree = (address) => address.in.length + address.out.length;
    return [...this.addresses].sort((one, other) => degree(other) - degree(one)).slice(0, most);
  }

  /** Ends of the links, two by two, for the layout. */
  ends() {
    return Uint32Array.from(this.links.flatMap((link) => [link.a, link.b]));
  }

  neighbours(address) {
    return [...new Set([...address.in.map((link) => link.a), ...address.out.map((link) => link.b)])].map((place) => this.addresses[place]);
  }

  #place(ip, seenAt) {
    let place = this.places.get(ip);
    if (place == null) {
      place = this.addresses.length;
      this.places.set(ip, place);
      this.addresses.push({ ip, place, in: [], out: [], seenAt, x: 0, y: 0 });
    }
    return this.addresses[place];
  }

  /** How far each address is, in round-trip time, from where the traceroutes begin: the differences along the usual way. */
  #estimate() {
    for (const address of this.addresses) address.rtt = null;
    const way = new Set();
    const far = (address) => {
      if (address.rtt != null) return address.rtt;
      way.add(address.place);
      const before = address.in.filter((link) => !way.has(link.a));
      const usual = before.reduce((best, link) => (best && best.count >= link.count ? best : link), null);
      address.rtt = usual ? far(this.addresses[usual.a]) + Math.max(0, usual.rtt_difference_ns ?? 0) : 0;
      way.delete(address.place);
      return address.rtt;
    };
    this.addresses.forEach(far);
  }
}
