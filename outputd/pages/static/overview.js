/** The overview: is all well, what comes in, from whom, about whom, into which files. */

import { drawArrivals } from "./arrivals.js";
import { ask, refreshing } from "./ask.js";
import { onChoice } from "./chosen.js";
import { $, drawn, h, put, say, since, table, targetLink, tile, time } from "./dom.js";
import { onNews, onResults, suggest } from "./frame.js";
import { fill } from "./parts.js";
import { here } from "./place.js";
import { bucketOf, range } from "./range.js";
import { rangeBar } from "./rangebar.js";
import { at, bytes, compact, count, isAddress, iso, now, percent, rate, rtt, span } from "./units.js";

const CHECKS = { database: "Storing", disk: "Disk", rotation: "Rotation", input_service: "Hop feed", archive: "Archive" };
const MOST_TARGETS = 1000;
const SHOWN = 15;
const ALL_MS = 60_000; // all of them cost three times as much as those that are shown
const facts = document.body.dataset;
const isReader = facts.may === "read"; // who may not post or download, and is shown neither
const samples = [];
let stored = -1;
let totals = { results: 0 };
let lastHour = null;

// -- where results go, as a person would write it

const resultsUrl = `${location.protocol}//${location.hostname}:${facts.resultsPort || "8081"}`;

/** A shell command that sends one result to this instance. */
function firstCommand() {
  const result = (stamp) =>
    `[{"ip":"192.0.2.1","sent":4,"received":4,"avg_rtt":15000000,"timestamp":"${stamp}",` +
    `"traceroute":{"method":"icmp","completed":true,"hops":[{"ttl":1,"ip":"198.51.100.1","rtt":2000000},{"ttl":2,"ip":"192.0.2.1","rtt":15000000}]}}]`;
  const token = facts.tokens ? ` -H "Authorization: Bearer $TOKEN"` : "";
  return `curl -H "X-Ping-Node: my-node"${token} -d '${result(`'$(date -u +%Y-%m-%dT%H:%M:%SZ)'`)}' ${resultsUrl}/results`;
}

$("first-steps").hidden = isReader;
$("first-command").textContent = firstCommand();
$("node-setting").textContent = `output_file: "${resultsUrl}/results"`;
$("copy").addEventListener("click", async (event) => {
  const button = event.target;
  try {
    await navigator.clipboard.writeText($("first-command").textContent);
    button.textContent = "Copied";
  } catch (error) {
    getSelection().selectAllChildren($("first-command"));
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
});

// -- the state

function verdict(news) {
  const ill = Object.entries(news.checks).filter(([, check]) => check.status !== "ok");
  const failed = news.status !== "healthy";
  $("verdict").dataset.state = failed ? "fail" : ill.length ? "warn" : "ok";
  say($("verdict-words"), failed ? "Results are not being stored" : ill.length ? "Results are stored, with a warning" : "All is well");
  say($("verdict-more"), `Up ${span((now() - Date.parse(news.started)) / 1000)}, version ${news.version}.`);
  const asked = Object.entries(news.checks).filter(([name, check]) => name !== "archive" || check.reason !== "turned off");
  const lines = asked.map(([name, check]) => {
    const line = h("li", { "data-state": check.status }, h("span", { class: "mark", "aria-hidden": "true" }),
      h("span", { class: "name" }, CHECKS[name] ?? name), h("span", { class: "unseen" }, ": "),
      h("span", { class: "reason" }, check.reason ?? check.status));
    if (check.since) line.append(h("span", { class: "quiet" }, " ", since(check.since)));
    return line;
  });
  const key = JSON.stringify(Object.values(news.checks).map((check) => [check.status, check.reason]));
  if ($("checks").dataset.key !== key) {
    $("checks").dataset.key = key;
    put($("checks"), lines);
  }
}

function ratePerSecond(news) {
  const at = Date.parse(news.now);
  const total = news.stats.total_results;
  if (samples.length && total < samples.at(-1).total) samples.length = 0; // another process
  samples.push({ at, total });
  while (samples.length > 2 && at - samples[0].at > 10_000) samples.shift();
  const seconds = (at - samples[0].at) / 1000;
  return seconds > 0.5 ? (total - samples[0].total) / seconds : null;
}

function tiles(news) {
  const { rotation, disk, database, input_service: feed } = news.checks;
  const age = rotation.age_seconds / rotation.max_age_seconds;
  const size = rotation.size_bytes / rotation.max_size_bytes;
  const rejects = Object.values(news.rejected).reduce((sum, value) => sum + value, 0);
  put($("tiles"),
    tile("Arriving", rate(ratePerSecond(news)), database.waiting_posts ? `${count(database.waiting_posts)} POSTs wait for the disk` : "no POST waits for the disk"),
    tile("Results in all files", compact(totals.results), `${count(news.stats.total_results)} since the start`),
    tile("Loss, last hour", lastHour ? percent(lastHour.loss) : "–", lastHour ? `${count(lastHour.failed)} of ${count(lastHour.results)} without any reply` : "nothing arrived"),
    tile("New hops", compact(news.stats.hops_discovered), feed.reason === "turned off" ? "since the start; the feed is turned off" : `since the start; ${count(feed.waiting_hops)} wait for input_service`),
    tile("Current file", bytes(rotation.size_bytes), `a new one after ${bytes(Math.max(0, rotation.max_size_bytes - rotation.size_bytes))} more, or in ${span(Math.max(0, rotation.max_age_seconds - rotation.age_seconds))}`, Math.max(age, size)),
    tile("Free on disk", bytes(disk.free_bytes), `${count(rotation.files)} of ${count(rotation.keep_files)} files kept`),
    tile("Rejected items", compact(rejects), rejects ? "by reason below" : "none since the start"),
  );
}

function files(news) {
  const current = news.stats.current_db_file;
  put($("files"), table("Result files, newest first", [
    ["File", (file) => [h("code", null, file.name), file.name === current ? h("span", { class: "badge" }, "current") : null]],
    ["Made", (file) => time(file.created)],
    ["Size", (file) => bytes(file.name === current ? news.stats.current_db_size : file.size_bytes), "number"],
    ...(isReader ? [] : [[h("span", { class: "unseen" }, "Download"), (file) => h("a", { href: `${resultsUrl}/dump${file.name === current ? "" : `?file=${encodeURIComponent(file.name)}`}`, "aria-label": `Download ${file.name}` }, "Download")]]),
  ], [...news.files].reverse()));
}

function rejected(news) {
  const reasons = Object.entries(news.rejected);
  put($("rejected"), reasons.length
    ? table("Rejected items by field, since the start", [["Field", ([field]) => h("code", null, field)], ["Items", ([, items]) => count(items), "number"]], reasons)
    : h("p", { class: "quiet" }, "No item was rejected."));
}

// -- what the files say

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

function clockOffset(seconds) {
  if (seconds == null) return "–";
  const text = Math.abs(seconds) < 0.005 ? "0 s" : `${seconds > 0 ? "+" : ""}${span(seconds)}`;
  return Math.abs(seconds) > 60 ? h("span", { class: "warned", title: "its clock is wrong, or its results waited" }, text) : text;
}

async function askNodes() {
  const { nodes } = await ask("/nodes");
  totals = { results: nodes.reduce((sum, node) => sum + node.results, 0) };
  $("welcome").hidden = totals.results > 0 || stored > 0;
  const heard = (node) => (node.last_heard ? at(node.last_heard) : 0);
  nodes.sort((one, other) => heard(other) - heard(one));
  put($("nodes"), nodes.length
    ? table("Nodes, most recently heard first", [
        ["Node", (node) => h("span", { class: "name" }, node.node)],
        ["Last heard", (node) => since(node.last_heard)],
        ["Rate", (node) => rate(node.results_per_s), "number"],
        ["Results", (node) => count(node.results), "number"],
        ["Rejected", (node) => count(node.rejected), "number"],
        ["Clock", (node) => clockOffset(node.clock_offset_s), "number"],
      ], nodes)
    : h("p", { class: "quiet" }, "No node has sent anything yet."));
}

async function askFailures() {
  const failures = await ask("/recent", { failed: true, limit: 8 });
  put($("failures"), failures.length
    ? table("Newest results without any reply", [
        ["Target", (result) => targetLink(result.ip)],
        ["Measured", (result) => since(result.timestamp)],
        ["Why", (result) => h("span", { class: "text" }, result.error ?? `${count(result.sent)} sent, none came back`), "wide"],
      ], failures)
    : h("p", { class: "quiet" }, stored > 0 || totals.results ? "None: every target has answered." : "None yet."));
}

let targets = [];
let allAt = -ALL_MS;
function showTargets() {
  const wanted = $("target-filter").value.trim().toLowerCase();
  const chosen = wanted ? targets.filter((target) => target.ip.includes(wanted)) : targets;
  const shown = chosen.slice(0, SHOWN);
  const all = targets.length < MOST_TARGETS ? "" : ` of the ${count(MOST_TARGETS)} busiest`;
  const address = isAddress(wanted) ? h("p", null, "Perhaps ", targetLink(wanted), " is not among the busiest.") : null;
  put($("targets"), shown.length
    ? [table("Targets, the busiest first", [
        ["Target", (target) => targetLink(target.ip)],
        ["Results", (target) => count(target.results), "number"],
        ["Loss", (target) => h("span", { class: target.loss_percent >= 50 ? "warned" : null }, percent(target.loss_percent)), "number"],
        ["Last RTT", (target) => rtt(target.last_rtt_ns), "number"],
        ["Last seen", (target) => since(target.last_seen)],
        ["Nodes", (target) => h("span", { class: "text", title: target.nodes.join(", ") }, target.nodes.length > 3 ? `${target.nodes.slice(0, 3).join(", ")} and ${target.nodes.length - 3} more` : target.nodes.join(", ")), "wide"],
      ], shown),
      chosen.length > SHOWN ? h("p", { class: "quiet" }, `${SHOWN} of ${count(chosen.length)}${all}. `, h("a", { href: here("/targets.csv?limit=100000") }, "All as CSV")) : null]
    : targets.length ? [h("p", { class: "quiet" }, "No target matches."), address] : h("p", { class: "quiet" }, "Nothing has been measured yet."));
}
$("target-filter").addEventListener("input", showTargets);

/** Ask for all once in a while, and while they are filtered; else for those that are shown, which go before the others. */
async function askTargets() {
  const isAll = $("target-filter").value.trim() !== "" || targets.length <= SHOWN || performance.now() - allAt >= ALL_MS;
  const { targets: found } = await ask("/targets", { limit: isAll ? MOST_TARGETS : SHOWN });
  const known = new Set(found.map((target) => target.ip));
  targets = [...found, ...(isAll ? [] : targets.filter((target) => !known.has(target.ip)))].slice(0, MOST_TARGETS);
  if (isAll) {
    allAt = performance.now();
    suggest(targets.map((target) => target.ip));
  }
  showTargets();
}

const refresh = refreshing(
  () => fill([[$("arrivals"), askArrivals], [$("nodes"), askNodes], [$("failures"), askFailures], [$("targets"), askTargets]]),
  3000,
);
refresh();
onResults(refresh);
onChoice(() => refresh.soon());
onNews((news) => {
  stored = news.stats.total_results;
  if (stored > 0) $("welcome").hidden = true;
  verdict(news);
  tiles(news);
  const key = JSON.stringify([news.files, news.rejected, news.stats.current_db_size]);
  if ($("files").dataset.key !== key) {
    $("files").dataset.key = key;
    files(news);
    rejected(news);
  }
});
