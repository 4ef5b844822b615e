/** What is drawn of a graph: items, each an address or a group of them, and the edges between items. */

import { hubs } from "./graph.js";

const WIDTHS = 5;
const MAIN = 2; // edges of each item that stand out

export class Scene {
  #known = new Map();
  #homes = new Map(); // where an address was drawn last

  constructor() {
    this.items = [];
    this.edges = [];
  }

  /**
   * Draw these groups of a graph; items that were there before stay where they are, and those that were not are news at `seenAt`.
   * Whether an item or edge came or went.
   */
  build(graph, groups, seenAt) {
    const before = `${this.items.length} ${this.edges.length}`;
    const places = new Int32Array(graph.addresses.length);
    let kept = 0;
    this.items = groups.map((group, place) => {
      for (const address of group.members) places[address.place] = place;
      return this.#item(group, place, seenAt, () => (kept += 1));
    });
    this.#known = new Map(this.items.map((item) => [item.key, item]));
    const edges = new Map();
    for (const link of graph.links) {
      const [a, b] = [places[link.a], places[link.b]];
      if (a === b) continue;
      const ends = a * this.items.length + b;
      const edge = edges.get(ends);
      if (edge) edge.count += link.count;
      else edges.set(ends, { a, b, count: link.count, isMain: false });
    }
    this.edges = [...edges.values()];
    const most = Math.log(1 + Math.max(1, ...this.edges.map((edge) => edge.count)));
    for (const edge of this.edges) {
      edge.width = Math.min(WIDTHS - 1, Math.floor((WIDTHS * Math.log(1 + edge.count)) / most));
      this.items[edge.a].out.push(edge);
      this.items[edge.b].in.push(edge);
    }
    for (const item of this.items) {
      const own = [...item.in, ...item.out].sort((one, other) => other.count - one.count);
      for (const edge of own.slice(0, MAIN)) edge.isMain = true;
    }
    return kept < this.items.length || before !== `${this.items.length} ${this.edges.length}`;
  }

  /** The item that shows an address now. */
  of(address) {
    return this.#homes.get(address);
  }

  hubs(most) {
    return hubs(this.items, most);
  }

  neighbours(item) {
    return [...new Set([...item.in.map((edge) => edge.a), ...item.out.map((edge) => edge.b)])].map((place) => this.items[place]);
  }

  /** What the layout must know: places (NaN for none yet), edges and sizes. */
  shape() {
    return {
      places: Float32Array.from(this.items.flatMap(({ x, y }) => [x, y])),
      ends: Uint32Array.from(this.edges.flatMap(({ a, b }) => [a, b])),
      weights: Float32Array.from(this.edges.map(({ width }) => 0.4 + 0.15 * width)),
      radii: Float32Array.from(this.items.map(({ members }) => sizeOf(members.length))),
    };
  }

  #item(group, place, seenAt, keep) {
    const old = this.#known.get(group.name);
    const { members } = group;
    const home = old ?? this.#homes.get(members[0]);
    const item = old ?? { key: group.name, x: home?.x ?? NaN, y: home?.y ?? NaN, seenAt: home ? -Infinity : seenAt };
    if (old) keep();
    else if (home && !Number.isNaN(home.x)) { // beside where it was a part of another
      const angle = place * 2.399963;
      const far = 4 * Math.sqrt(1 + (place % 97));
      item.x += far * Math.cos(angle);
      item.y += far * Math.sin(angle);
    }
    const address = members.length === 1 ? members[0] : null;
    Object.assign(item, { place, members, address, within: group.within, in: [], out: [], label: address ? address.ip : group.name.replace(/ at TTL \d+$/, "") });
    for (const member of members) this.#homes.set(member, item);
    return item;
  }
}

/** How large an item is drawn that holds so many addresses. */
export const sizeOf = (members) => (members === 1 ? 5 : 7 + 2.1 * Math.sqrt(members));
