/** The overview: is all well here and in the network, which targets are worst, who sends, what changed, what comes in. */

import { drawArrivals } from "./arrivals.js";
import { ask, refreshing } from "./ask.js";
import { changeList, chooseKind } from "./changelist.js";
import { onChoice } from "./chosen.js";
import { showCollector } from "./collector.js";
import { $, drawn, h, put, since, table, targetLink } from "./dom.js";
import { onNews, onResults } from "./frame.js";
import { askNetwork, silent } from "./network.js";
import { nodeList } from "./nodelist.js";
import { fill } from "./parts.js";
import { bucketOf, range } from "./range.js";
import { rangeBar } from "./rangebar.js";
import { chooseTargets, targetList } from "./targetlist.js";
import { count, iso, now } from "./units.js";
import { welcome } from "./welcome.js";

const REST_MS = 5000;
const DEAR_MS = 15_000;
const CHANGES_MS = 20_000; // so long it takes to find some
let stored = -1;
let measured = 0;
let lastHour = null;

const isEmpty = () => !measured && stored <= 0;

const HOUR_MS = 3_600_000;
const arrivals = { answer: null };
const showRange = rangeBar($("range"), { usualS: 3600 });
const redraw = drawn($("arrivals"), (width) => arrivals.answer && drawArrivals($("arrivals"), arrivals.answer, width));

async function askArrivals() {
  const chosen = range();
  const { from, to } = chosen ?? { from: now() - HOUR_MS, to: now() };
  const bucket = bucketOf(from, to);
  const since = Math.floor(from / 1000 / bucket) * bucket; // a minute is where its beginning is
  showRange({ from, to });
  arrivals.answer = await ask("/arrivals", { since: iso(since * 1000), until: iso(to), bucket });
  redraw();
  const isHour = (chosen?.last ?? (chosen ? 0 : 3600)) === 3600;
  const hour = isHour ? arrivals.answer : await ask("/arrivals", { since: iso(now() - HOUR_MS), until: iso(now()) });
  const sum = (name) => hour.buckets.reduce((total, bucket) => total + bucket[name], 0);
  lastHour = hour.buckets.length
    ? { results: sum("results"), failed: sum("failed"), loss: sum("sent") ? (100 * sum("lost")) / sum("sent") : 100 }
    : null;
}

/** The time range that was chosen, if one was, as questions have it. */
function inTime() {
  const chosen = range();
  return chosen ? { since: iso(chosen.from), until: iso(chosen.to) } : {};
}

async function askFailures() {
  const { failures } = await ask("/failures", { limit: 15, ...inTime() });
  put($("failures"), failures.length
    ? table("Targets of the newest failures", [
        ["Target", (failing) => targetLink(failing.ip)],
        ["Failures", (failing) => count(failing.count), "number"],
        ["Last", (failing) => since(failing.last_failed)],
        ["Nodes", (failing) => h("span", { title: failing.nodes.join(", ") }, count(failing.nodes.length)), "number"],
        ["Why", (failing) => h("span", { class: "text" }, failing.error ?? "no reply"), "wide"],
      ], failures)
    : h("p", { class: "quiet" }, isEmpty() ? "None yet." : range() ? "None in this time." : "None: every target has answered."));
}

const askTargets = targetList($("targets"));
const askNodes = nodeList($("nodes"), silent);
const askChanges = changeList($("changes"));
const showFilters = [chooseTargets(), chooseKind()];

const lists = refreshing(() => fill([[$("targets"), askTargets], [$("nodes"), askNodes]]), REST_MS);
const look = refreshing(() => fill([[$("arrivals"), askArrivals], [$("failures"), askFailures]]), DEAR_MS);
const judge = refreshing(() => fill([[$("network-lines"), askVerdict], [$("changes"), askChanges]]), CHANGES_MS);

async function askVerdict() {
  const before = [...silent].join("\n");
  measured = await askNetwork();
  $("welcome").hidden = !isEmpty();
  if ([...silent].join("\n") !== before) lists.soon(); // which says so of each
}

welcome();
for (const refresh of [lists, look, judge]) {
  refresh();
  onResults(refresh);
}
onChoice(() => {
  for (const show of showFilters) show();
  lists.soon();
  look.soon();
  judge.soon();
});
for (const show of showFilters) show();
onNews((news) => {
  stored = news.stats.total_results;
  if (stored > 0) $("welcome").hidden = true;
  showCollector(news, lastHour);
});
