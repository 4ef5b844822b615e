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
      if (this.newest == null || link.last_seen > this.newest) this.newest = link.last_seen;
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

  /** How far each address is, in round-trip time, from where the traceroutes begin: the differences, added up. */
  #estimate() {
    for (const address of this.addresses) address.rtt = address.in.length ? Infinity : 0;
    let queue = this.addresses.filter((address) => address.rtt === 0);
    if (!queue.length && this.addresses.length) {
      this.addresses[0].rtt = 0;
      queue = [this.addresses[0]];
    }
    for (let turn = 0; queue.length && turn < 64; turn += 1) {
      const next = new Set();
      for (const address of queue) {
        for (const link of address.out) {
          const far = this.addresses[link.b];
          const rtt = address.rtt + Math.max(0, link.rtt_difference_ns ?? 0);
          if (rtt < far.rtt) {
            far.rtt = rtt;
            next.add(far);
          }
        }
      }
      queue = [...next];
    }
  }
}
