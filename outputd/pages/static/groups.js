/** Groups of addresses by the networks that hold them: so few that all can be seen, and each can be opened. */

import { isSystem, PRIVATE } from "./networks.js";

const OPENED_AT_ONCE = 250;
const FEW_NODES = 24;

/** Addresses by their network of one depth; those that lie no deeper stay alone. */
function parted(addresses, depth) {
  const found = new Map();
  for (const address of addresses) {
    const name = address.networks[depth] ?? address.key;
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(address);
  }
  return [...found].map(([name, members]) => ({ name, members, depth }));
}

/** The narrowest network that holds all of a group; a system says more than its only network. */
function narrowed({ name, members, depth }) {
  const [{ networks }] = members;
  if (depth < 0 || isSystem(name)) return { name, members, depth };
  while (depth + 1 < networks.length && members.every((address) => address.networks[depth + 1] === networks[depth + 1])) depth += 1;
  return { members, depth, name: networks[depth] };
}

/** The parts of a group: networks in it, the widest of which there are several; else its addresses. */
function within({ members, depth }) {
  const deepest = Math.max(...members.map(({ networks }) => networks.length));
  for (let below = depth + 1; below < deepest; below += 1) {
    const parts = parted(members, below);
    if (parts.length > 1) return parts;
  }
  return alone(members);
}

/** The widest networks; the smallest of them are one when there are more than `most`. */
function widest(addresses, most, others) {
  const networks = parted(addresses, 0).sort((one, other) => other.members.length - one.members.length);
  if (networks.length <= most) return networks;
  const small = networks.splice(most - 1).flatMap(({ members }) => members);
  return [...networks, { name: others, members: small, depth: -1 }];
}

const alone = (addresses) => addresses.map((address) => ({ name: address.key, members: [address], within: null }));

/**
 * Divide addresses into groups, [{name, members, within}], about `most` of them: the largest is divided as long as there is
 * room. Those whose names are in `opened` are divided whatever the room; `within` is the opened group that a part is of.
 * Small networks that are too many are one group, whose name is `others`.
 */
export function groups(addresses, most, opened, others = "other networks") {
  if (addresses.length <= most) return alone(addresses);
  const done = [];
  const open = [];
  const put = (parts, outer) => {
    for (const part of parts) {
      const nodes = part.name === PRIVATE ? parted(part.members, 1) : [];
      if (nodes.length > 1 && nodes.length <= FEW_NODES) put(nodes, outer);
      else if (part.members.length === 1) done.push({ ...alone(part.members)[0], within: outer });
      else open.push({ ...narrowed(part), within: outer });
    }
  };
  put(widest(addresses, most, others), null);
  let size = open.length + done.length;
  while (open.length) {
    const largest = open.reduce((best, group, place) => (group.members.length > open[best].members.length ? place : best), 0);
    const [group] = open.splice(largest, 1);
    const isOpened = opened.has(group.name);
    const parts = isOpened && group.members.length <= OPENED_AT_ONCE ? alone(group.members) : within(group);
    if (!isOpened && size + parts.length - 1 > most) {
      done.push(group);
      continue;
    }
    if (!isOpened) size += parts.length - 1;
    put(parts, isOpened ? group.name : group.within);
  }
  return done;
}
