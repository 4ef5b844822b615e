/** Groups of addresses by the networks that hold them: so few that all can be seen, and each can be opened. */

import { PRIVATE } from "./networks.js";

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

/** The narrowest network that holds all of a group. */
function narrowed({ members, depth }) {
  const [{ networks }] = members;
  while (depth + 1 < networks.length && members.every((address) => address.networks[depth + 1] === networks[depth + 1])) depth += 1;
  return { members, depth, name: networks[depth] };
}

const alone = (addresses) => addresses.map((address) => ({ name: address.key, members: [address], within: null }));

/**
 * Divide addresses into groups, [{name, members, within}], about `most` of them: the largest is divided as long as there is
 * room. Those whose names are in `opened` are divided whatever the room; `within` is the opened group that a part is of.
 */
export function groups(addresses, most, opened) {
  if (addresses.length <= most) return alone(addresses);
  const done = [];
  const open = [];
  let size = 0;
  const put = (parts, within) => {
    for (const part of parts) {
      const parts = part.name === PRIVATE ? parted(part.members, 1) : [];
      if (parts.length > 1 && parts.length <= FEW_NODES) put(parts, within);
      else if (part.members.length === 1) done.push({ ...alone(part.members)[0], within });
      else open.push({ ...narrowed(part), within });
    }
  };
  put(parted(addresses, 0), null);
  size = open.length + done.length;
  while (open.length) {
    const largest = open.reduce((best, group, place) => (group.members.length > open[best].members.length ? place : best), 0);
    const [group] = open.splice(largest, 1);
    const isOpened = opened.has(group.name);
    const isLast = group.depth + 1 >= Math.max(...group.members.map((address) => address.networks.length));
    const parts = isLast || (isOpened && group.members.length <= OPENED_AT_ONCE) ? alone(group.members) : parted(group.members, group.depth + 1);
    if (!isOpened && size + parts.length - 1 > most) {
      done.push(group);
      continue;
    }
    if (!isOpened) size += parts.length - 1;
    put(parts, isOpened ? group.name : group.within);
  }
  return done;
}
