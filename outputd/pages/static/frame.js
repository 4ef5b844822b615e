/** What every page has: the search, the zone, and the news of the service. */

import { ask } from "./ask.js";
import { $, h, put, say } from "./dom.js";
import { listen } from "./keys.js";
import { here } from "./place.js";
import { inRange } from "./range.js";
import { isAddress, setClock, zone } from "./units.js";

const QUIET_MS = 10_000;
const AGAIN_MS = 5000;
const LATE_MS = 4000;
const EVERY_MS = 60_000;
const OFFER_MS = 250;
const MOST_OFFERED = 12;
const listeners = new Set();
let source = null;
let heardAt = 0;
let again = 0;

/** Call `hear` with each state of the service. */
export function onNews(hear) {
  listeners.add(hear);
}

/**
 * Call `look` when results have been stored, and once more a while after the last of them: what is counted over all files
 * may be late by some seconds.
 */
export function onResults(look) {
  let stored = -1;
  let late = 0;
  onNews((news) => {
    if (news.stats.total_results === stored) return;
    const first = stored < 0;
    stored = news.stats.total_results;
    if (!first) look();
    clearTimeout(late);
    late = setTimeout(look, LATE_MS);
  });
  setInterval(() => document.hidden || look(), EVERY_MS); // time goes on even when nothing comes in
}

function show(state, words) {
  const live = $("live");
  live.dataset.state = state;
  say(live.querySelector(".words"), words);
}

function connect() {
  clearTimeout(again);
  source?.close();
  source = null;
  if (document.hidden) return; // a browser has few connections for a host, and each page would hold one
  source = new EventSource(here("/events"));
  source.addEventListener("message", (event) => {
    heardAt = Date.now();
    show("live", "live");
    const news = JSON.parse(event.data);
    setClock(news.now);
    for (const hear of listeners) hear(news);
  });
  source.addEventListener("error", () => {
    show("away", "no connection, trying again");
    if (source?.readyState === EventSource.CLOSED) again = setTimeout(connect, AGAIN_MS);
  });
}

setInterval(() => {
  if (!document.hidden && heardAt && Date.now() - heardAt > QUIET_MS && source?.readyState === EventSource.OPEN) {
    heardAt = Date.now();
    connect(); // the other side went without a word
  }
}, 2000);

document.addEventListener("visibilitychange", connect);
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => event.persisted && connect());

let offering = 0;

/** Offer the busiest targets with what is being typed. */
function offer(typed) {
  clearTimeout(offering);
  offering = setTimeout(async () => {
    const { targets } = await ask("/targets", { text: typed, limit: MOST_OFFERED }, 1).catch(() => ({ targets: [] }));
    put($("known-targets"), targets.map(({ ip, name }) => h("option", { value: ip }, name)));
  }, OFFER_MS);
}

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.elements.ip;
  const ip = input.value.trim();
  const looksRight = isAddress(ip);
  input.setCustomValidity(looksRight ? "" : "An IPv4 or IPv6 address");
  if (looksRight) location.assign(inRange(here(`/targets/${encodeURIComponent(ip)}`)));
  else input.reportValidity();
});
$("search").addEventListener("input", (event) => {
  event.target.setCustomValidity("");
  if (event.target.value.trim()) offer(event.target.value.trim());
});

put($("zone"), `Times are in ${zone()}; hover over one for UTC.`);
listen();
connect();
