/** Addresses as numbers: which are private, and the networks that hold them. */

const RANGES = [["10.0.0.0", 8], ["100.64.0.0", 10], ["127.0.0.0", 8], ["169.254.0.0", 16], ["172.16.0.0", 12], ["192.168.0.0", 16], ["fc00::", 7], ["fe80::", 10]];
const LENGTHS = { 4: [8, 12, 16, 20, 24, 28], 8: [16, 24, 32, 40, 48, 64] };

/** The name of all that are private. */
export const PRIVATE = "private addresses";

/** The parts of an address, four of 8 bits or eight of 16; null where it is none. */
function parts(ip) {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(ip)) return ip.split(".").map(Number);
  if (!/^[0-9a-f:]+$/i.test(ip) || !ip.includes(":")) return null;
  const [head, tail] = ip.split("::").map((text) => (text ? text.split(":").map((part) => parseInt(part, 16)) : []));
  if (!tail) return head.length === 8 ? head : null;
  const silent = 8 - head.length - tail.length;
  return silent < 0 ? null : [...head, ...Array(silent).fill(0), ...tail];
}

/** The beginning of a network of so many bits. */
function begin(ip, bits) {
  const wide = ip.length === 4 ? 8 : 16;
  return ip.map((part, place) => {
    const kept = Math.min(wide, Math.max(0, bits - place * wide));
    return part & (((1 << wide) - 1) ^ ((1 << (wide - kept)) - 1));
  });
}

function printed(ip, bits) {
  if (ip.length === 4) return `${ip.join(".")}/${bits}`;
  const shown = ip.slice(0, ip.findLastIndex(Boolean) + 1).map((part) => part.toString(16));
  return `${shown.join(":")}::/${bits}`;
}

const ranges = RANGES.map(([ip, bits]) => [parts(ip), bits]);

/** Whether an address means another machine in each network that uses it. */
export function isPrivate(ip) {
  const mine = parts(ip);
  return mine != null && ranges.some(([range, bits]) => range.length === mine.length && begin(mine, bits).every((part, place) => part === range[place]));
}

/** The name of an autonomous system, null where none is known. */
export const system = (number, name) => (number == null ? null : `AS${number}${name ? ` ${name}` : ""}`);

/** Whether a network is an autonomous system. */
export const isSystem = (name) => /^AS\d/.test(name);

/**
 * Names of the networks that hold an address, from wide to narrow, the first the system where one is known; those of a private
 * address are its node's.
 */
export function networks(ip, node, as = null) {
  const mine = parts(ip);
  if (!mine) return ["other names"];
  const names = LENGTHS[mine.length].map((bits) => printed(begin(mine, bits), bits));
  if (as != null && node == null) return [as, ...names];
  return node == null ? names : [PRIVATE, `private, ${node}`, ...names.map((name) => `${name}, ${node}`)];
}
