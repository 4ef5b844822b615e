/** What is known of an address beside the results: its name, and the network that it is in. */

import { h, targetLink } from "./dom.js";
import { system } from "./networks.js";
import { isAddress } from "./units.js";

/** Labels by address, of the answers of /paths and /trace, which have them as lists beside those of their addresses. */
export function labelsOf(paths, hops) {
  const labels = new Map();
  const take = (ips, row, list) => ips.forEach((ip, place) => {
    if (ip != null) labels.set(ip, { name: row[`${list}_name`]?.[place], asn: row[`${list}_asn`]?.[place], as_name: row[`${list}_as_name`]?.[place] });
  });
  for (const path of paths) take(path.hops, path, "hop");
  for (const hop of hops) take(hop.addresses.map(({ ip }) => ip), hop, "address");
  return labels;
}

/** Name and network, null when neither is known. */
export function label({ name, asn, as_name: network } = {}) {
  const known = [name, system(asn, network)].filter(Boolean);
  return known.length ? h("span", { class: "label text" }, known.join(" · ")) : null;
}

/** An address as a link to its page, with its label. */
export const address = (ip, labels) => [isAddress(ip) ? targetLink(ip) : h("span", { class: "text" }, ip), label(labels.get(ip))];
