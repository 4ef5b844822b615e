/** The state of the network: what is lost, what has changed, who is silent; each with a way to its list. */

import { ask } from "./ask.js";
import { choose } from "./chosen.js";
import { $, h, put, say } from "./dom.js";
import { compact, counted, iso, now } from "./units.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const ALL_LOST = 99.99;
const MOST_SILENT = 1000;
const OTHER_LISTS = { page: null, cursor: null, prefix: null, text: null, node: null, loss_over: null, kind: null, lasting: null, changes: null };

/** The nodes that are silent, by name. */
export const silent = new Set();

/** What is counted: in words, what it means, how much it matters, where its list is, and what is chosen there. */
const LINES = [
  { words: (count) => counted(count, "target") + " lost", meaning: "measured within a day, and none of all packets came back", state: "fail", list: "targets-title", choices: { loss_over: ALL_LOST } },
  { words: (count) => counted(count, "node") + " silent", meaning: "sent nothing for an hour, or for three times their longest gap", state: "fail", list: "nodes-title", choices: { "nodes-sort": null, "nodes-order": null, "nodes-page": null, "nodes-cursor": null } },
  { words: (count) => (count === 1 ? "1 loss goes on" : `${compact(count)} losses go on`), meaning: "by node and target: began, and have not ended", state: "warn", list: "changes-title", choices: { kind: "loss_began", lasting: true } },
  { words: (count) => counted(count, "round-trip time") + " shifted", meaning: "in the last hour", state: "warn", list: "changes-title", choices: { kind: "rtt_shifted" } },
  { words: (count) => counted(count, "route") + " changed", meaning: "in the last hour", state: "ok", list: "changes-title", choices: { kind: "route_changed" } },
];

async function silentNodes() {
  const [quiet, old] = await Promise.all([
    ask("/changes", { kind: "node_silent", lasting: true, limit: MOST_SILENT }),
    ask("/nodes", { last_heard_before: iso(now() - HOUR_MS), limit: MOST_SILENT }),
  ]);
  silent.clear();
  for (const { node } of [...quiet.changes, ...old.nodes]) silent.add(node);
  return silent.size;
}

const total = async (path, parameters) => (await ask(path, { ...parameters, limit: 1, total: true })).total;

/** Ask for all that is counted, and say it. */
export async function askNetwork() {
  const recently = iso(now() - HOUR_MS);
  const [measured, ...counts] = await Promise.all([
    total("/targets", {}),
    total("/targets", { loss_over: ALL_LOST, since: iso(now() - DAY_MS) }),
    silentNodes(),
    total("/changes", { kind: "loss_began", lasting: true }),
    total("/changes", { kind: "rtt_shifted", since: recently }),
    total("/changes", { kind: "route_changed", since: recently }),
  ]);
  const found = LINES.map((line, place) => ({ ...line, count: counts[place], state: counts[place] ? line.state : "ok" }));
  show(found, measured);
  return measured;
}

function show(found, measured) {
  const ill = found.filter(({ state }) => state !== "ok");
  const state = !measured ? "waiting" : (ill[0]?.state ?? "ok");
  $("network").dataset.state = state;
  say($("network-words"), !measured ? "Nothing has been measured yet" : ill.length ? ill.slice(0, 2).map((line) => line.words(line.count)).join(", ") : "The network is well");
  say($("network-more"), measured ? `${counted(measured, "target")} measured.` : "");
  const key = JSON.stringify(found.map((line) => line.count));
  if ($("network-lines").dataset.key === key) return;
  $("network-lines").dataset.key = key;
  put($("network-lines"), found.map((line) => h("li", { "data-state": line.state },
    h("span", { class: "mark", "aria-hidden": "true" }), h("a", { class: "name", href: `#${line.list}`, onclick: (event) => go(event, line) }, line.words(line.count)),
    h("span", { class: "unseen" }, ": "), h("span", { class: "quiet" }, line.meaning))));
}

/** Go to the list of what was counted. */
function go(event, { list, choices }) {
  event.preventDefault();
  choose({ ...OTHER_LISTS, ...choices });
  $(list).scrollIntoView();
  $(list).focus({ preventScroll: true });
}
