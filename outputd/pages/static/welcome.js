/** How to send the first result, as a person would write it. */

import { $ } from "./dom.js";

const facts = document.body.dataset;

export const resultsUrl = `${location.protocol}//${location.hostname}:${facts.resultsPort || "8081"}`;

/** A shell command that sends one result to this instance. */
function firstCommand() {
  const result = (stamp) =>
    `[{"ip":"192.0.2.1","sent":4,"received":4,"avg_rtt":15000000,"timestamp":"${stamp}",` +
    `"traceroute":{"method":"icmp","completed":true,"hops":[{"ttl":1,"ip":"198.51.100.1","rtt":2000000},{"ttl":2,"ip":"192.0.2.1","rtt":15000000}]}}]`;
  const token = facts.tokens ? ` -H "Authorization: Bearer $TOKEN"` : "";
  return `curl -H "X-Ping-Node: my-node"${token} -d '${result(`'$(date -u +%Y-%m-%dT%H:%M:%SZ)'`)}' ${resultsUrl}/results`;
}

/** Say it, to who may post. */
export function welcome() {
  $("first-steps").hidden = facts.may === "read";
  $("first-command").textContent = firstCommand();
  $("node-setting").textContent = `output_file: "${resultsUrl}/results"`;
  $("copy").addEventListener("click", copy);
}

async function copy({ target: button }) {
  try {
    await navigator.clipboard.writeText($("first-command").textContent);
    button.textContent = "Copied";
  } catch (error) {
    getSelection().selectAllChildren($("first-command"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
