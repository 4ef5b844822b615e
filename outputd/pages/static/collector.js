/** The state of the collector: is all well, what comes in, into which files, and what is rejected. */

import { $, h, put, say, since, table, tile, time } from "./dom.js";
import { bytes, compact, count, now, percent, rate, span } from "./units.js";
import { resultsUrl } from "./welcome.js";

const CHECKS = {
  database: "Storing", disk: "Disk", rotation: "Rotation", input_service: "Hop feed", connections: "Connections",
  archive: "Archive", webhook: "Webhook", names: "Names",
};
const OPTIONAL = ["archive", "webhook"];
const isReader = document.body.dataset.may === "read"; // who may not download, and is offered nothing of it
const samples = [];

/** Show the news of the service, and the loss of the last hour. */
export function showCollector(news, lastHour) {
  verdict(news);
  tiles(news, lastHour);
  const key = JSON.stringify([news.files, news.rejected, news.stats.current_db_size]);
  if ($("files").dataset.key === key) return;
  $("files").dataset.key = key;
  files(news);
  rejected(news);
}

/** Say whether results are being stored, and if not, why and since when. */
function verdict(news) {
  const ill = Object.entries(news.checks).filter(([, check]) => check.status !== "ok");
  const failed = news.status !== "healthy";
  $("verdict").dataset.state = failed ? "fail" : ill.length ? "warn" : "ok";
  say($("verdict-words"), failed ? "Results are not being stored" : ill.length ? "The collector stores results, with a warning" : "The collector is well");
  say($("verdict-more"), `Up ${span((now() - Date.parse(news.started)) / 1000)}, version ${news.version}.`);
  const asked = Object.entries(news.checks).filter(([name, check]) => !OPTIONAL.includes(name) || check.reason !== "turned off");
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

function tiles(news, lastHour) {
  const { rotation, disk, database, input_service: feed } = news.checks;
  const age = rotation.age_seconds / rotation.max_age_seconds;
  const size = rotation.size_bytes / rotation.max_size_bytes;
  const rejects = Object.values(news.rejected).reduce((sum, value) => sum + value, 0);
  put($("tiles"),
    tile("Arriving", rate(ratePerSecond(news)), database.waiting_posts ? `${count(database.waiting_posts)} POSTs wait for the disk` : "no POST waits for the disk"),
    tile("Results", compact(news.stats.total_results), `${count(news.stats.total_results)} since the start`),
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
