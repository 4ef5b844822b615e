/** Questions to the service. */

import { here } from "./place.js";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const AGAIN_MS = 5000;
const IN_VAIN = [400, 504]; // what was asked wrong, or takes too long
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The answer to a question, null when there is none of this name; asked again while the service cannot answer now. */
export async function ask(path, parameters = {}, tries = 4) {
  const response = await answered(path, parameters, tries);
  return response && response.json();
}

/** A page of a list, and where the next one goes on: a cursor, null on the last page. */
export async function askPage(path, parameters) {
  const response = await answered(path, parameters, 4);
  const [, next] = /<\?([^>]*)>; rel="next"/.exec(response.headers.get("Link")) ?? [];
  const following = new URLSearchParams(next);
  return { answer: await response.json(), cursor: following.get("cursor") ?? following.get("before") };
}

async function answered(path, parameters, tries) {
  const chosen = Object.entries(parameters).filter(([, value]) => value != null);
  const query = new URLSearchParams(chosen).toString();
  const url = here(query ? `${path}?${query}` : path);
  for (let left = tries; ; left -= 1) {
    let response;
    try {
      response = await fetch(url, { headers: { Accept: "application/json" } });
    } catch (error) {
      if (left <= 1) throw new Problem(0, "the service does not answer");
      await pause(2000);
      continue;
    }
    if (response.ok) return response;
    if (response.status === 404) return null;
    const problem = await response.json().catch(() => ({ detail: response.statusText }));
    if (response.status !== 503 || left <= 1) throw new Problem(response.status, problem.detail);
    await pause(1000 * Number(response.headers.get("Retry-After") ?? 1));
  }
}

const SLICE_MS = 20;
const ROWS_AT_ONCE = 100;

/** The rows of an answer as they come, some at a time: so a long one is drawn from its beginning, and none holds the page up. */
export async function* rows(path, parameters = {}) {
  const chosen = Object.entries(parameters).filter(([, value]) => value != null);
  const unreachable = () => new Problem(0, "the service does not answer");
  const response = await fetch(here(`${path}?${new URLSearchParams(chosen)}`), { headers: { Accept: "application/x-ndjson" } }).catch(() => {
    throw unreachable();
  });
  if (!response.ok) throw new Problem(response.status, (await response.json().catch(() => ({}))).detail ?? response.statusText);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let begun = performance.now();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read().catch(() => {
      throw unreachable();
    });
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (let first = 0; first < lines.length; first += ROWS_AT_ONCE) {
      yield lines.slice(first, first + ROWS_AT_ONCE).filter(Boolean).map((line) => JSON.parse(line));
      if (performance.now() - begun < SLICE_MS) continue;
      await pause(0);
      begun = performance.now();
    }
  }
}

/**
 * Runs `work` now and again when told so, never twice at once, and with a rest between, since each question makes the service
 * count what has come. `soon` cuts the rest short: for what a person has asked for.
 */
export function refreshing(work, restMs) {
  let running = false;
  let wanted = false;
  let hurries = false;
  let wake = () => {};
  async function refresh() {
    wanted = true;
    if (running) return;
    running = true;
    while (wanted) {
      wanted = false;
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Problem)) console.error(error);
        else if (!IN_VAIN.includes(error.status)) setTimeout(refresh, AGAIN_MS);
      }
      if (!hurries) await Promise.race([pause(restMs), new Promise((resolve) => (wake = resolve))]);
      hurries = false;
    }
    running = false;
  }
  refresh.soon = () => {
    hurries = running;
    refresh();
    wake();
  };
  return refresh;
}
